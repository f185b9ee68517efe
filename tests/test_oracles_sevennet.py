"""SevenNet returns the values of the package sevenn, alone and in a batch; other crystals get a status."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tiny import perovskite, rock_salt, shaken, wurtzite, zinc_blende

from lcoms.core.errors import OracleError
from lcoms.oracles import installed, sevennet_network
from lcoms.oracles import sevennet as module
from lcoms.oracles.registry import DEFAULT_ORACLE, default_further, make_oracle
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import ExactSites, crystal_of
from lcoms.structure.io import to_ase

pytest.importorskip("sevenn", reason="the extra sevennet is not installed")

from lcoms.oracles.sevennet import SevenNetOracle
from lcoms.oracles.sevennet_network import spherical_harmonics


@pytest.fixture(scope="module")
def oracle() -> SevenNetOracle:
    return SevenNetOracle()


def crystals() -> list[Crystal]:
    """Return ionic and covalent crystals, distorted ones, and one atom whose images are its only neighbors."""
    shaken_ones = [
        shaken(crystal, 0.1, seed)
        for seed, crystal in enumerate([rock_salt(), wurtzite(), perovskite(), zinc_blende(3.57, (6, 6))])
    ]
    return [*shaken_ones, Crystal(4.2 * np.eye(3), np.zeros((1, 3)), np.array([55]))]


def test_energies_forces_and_stresses_are_sevennets_own(oracle: SevenNetOracle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        theirs = SevenNetCalculator("7net-l3i5", device="cpu")
    for crystal, one in zip(crystals(), oracle.evaluate(crystals()), strict=True):
        atoms = to_ase(crystal)
        atoms.calc = theirs
        assert one.ok
        assert one.energy / crystal.n_atoms == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-5)
        np.testing.assert_allclose(one.forces, atoms.get_forces(), atol=1e-4)
        np.testing.assert_allclose(one.stress, atoms.get_stress(voigt=False), atol=1e-5)
    assert max(np.abs(one.forces).max() for one in oracle.evaluate(crystals())) > 1


def test_energies_alone_are_the_same(oracle: SevenNetOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [one.energy for one in oracle.evaluate(crystals())]
    assert oracle.energies(crystals()) == pytest.approx(whole, abs=1e-5)
    monkeypatch.setattr(module, "MAX_EDGES_ALONE", 1)  # each crystal by itself
    assert oracle.energies(crystals()) == pytest.approx(whole, abs=1e-5)
    assert len(list(module._chunks(crystals(), {}, 1))) == len(crystals())
    monkeypatch.setattr(sevennet_network, "EDGES_AT_ONCE", 7)
    assert oracle.energies(crystals()) == pytest.approx(whole, abs=1e-5)


def test_features_of_equivalent_atoms_are_rotations_of_one_another(oracle: SevenNetOracle) -> None:
    half = wurtzite().frac_coords * np.array([1, 1, 0.5])
    doubled = Crystal(
        wurtzite().lattice * np.array([[1.0], [1.0], [2.0]]),
        np.concatenate([half, half + np.array([0, 0, 0.5])]),
        np.tile(wurtzite().atomic_numbers, 2),
    )
    free = np.array([0.47, 0.413, 0.267, 0.119])
    chiral = ExactSites(154, (("a", 14), ("c", 8)), free, np.array([4.91, 4.91, 5.4]), np.array([90.0, 90, 120]))
    symmetric = [rock_salt(), perovskite(), zinc_blende(3.57, (6, 6)), doubled, crystal_of(chiral)]
    whole = [one.energy for one in oracle.evaluate(symmetric)]
    assert oracle.energies(symmetric) == pytest.approx(whole, abs=2e-5)
    assert [len(oracle._orbits([crystal])[0].atoms) for crystal in symmetric] == [2, 3, 1, 2, 2]
    fewest = oracle._orbits([rock_salt()])[0]
    assert len(fewest.center) < 10  # of about 100


def test_an_atom_without_neighbours_has_an_energy_and_no_force(oracle: SevenNetOracle) -> None:
    [far] = oracle.evaluate([Crystal(20 * np.eye(3), np.zeros((1, 3)), np.array([11]))])
    [farther] = oracle.evaluate([Crystal(30 * np.eye(3), np.zeros((1, 3)), np.array([11]))])
    assert far.ok
    assert far.energy == farther.energy
    assert not far.forces.any()


def test_what_cannot_be_handled_gets_a_status_and_no_number(oracle: SevenNetOracle) -> None:
    polonium = rock_salt(numbers=(84, 8))
    twice = Crystal(5 * np.eye(3), np.array([[0, 0, 0], [0.01, 0, 0]]), np.array([11, 17]))
    dense = Crystal(0.5 * np.eye(3), np.zeros((1, 3)), np.array([11]))
    found = oracle.evaluate([polonium, rock_salt(), twice, dense])
    assert [one.ok for one in found] == [False, True, False, False]
    assert "Po" in found[0].status
    assert "closer than 0.1 angstrom" in found[2].status
    assert "dense" in found[3].status
    assert np.isnan(oracle.energies([polonium, rock_salt(), twice, dense])).tolist() == [True, False, True, True]
    with pytest.raises(OracleError, match="does not know Po"):
        oracle.check([polonium.composition, Composition.from_formula("NaCl")])


def test_energies_that_are_not_finite_are_failures(oracle: SevenNetOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = oracle._network.atom_energies
    monkeypatch.setattr(oracle._network, "atom_energies", lambda *inputs: sound(*inputs) * torch.inf)
    assert np.isnan(oracle.energies([rock_salt()])).all()
    assert not oracle.evaluate([rock_salt()])[0].ok


def test_spherical_harmonics_are_orthonormal() -> None:
    """Their mean products on a sphere are the identity; a third-order quadrature in the angles is exact."""
    heights, weights = np.polynomial.legendre.leggauss(8)
    angles = np.arange(16) * np.pi / 8
    across = np.sqrt(1 - heights**2)[:, None]
    points = np.stack(
        [across * np.cos(angles), np.repeat(heights[:, None], 16, axis=1), across * np.sin(angles)], axis=-1
    )
    values = torch.cat(spherical_harmonics(torch.from_numpy(points.reshape(-1, 3))), dim=-1).numpy()
    share = np.repeat(weights / 2 / 16, 16)
    np.testing.assert_allclose(values.T @ (share[:, None] * values), np.eye(16), atol=1e-12)


def test_it_is_made_by_name_and_asked_beside_the_default_only() -> None:
    assert make_oracle("sevennet:l3i5").name == make_oracle("sevennet").name == "sevennet:l3i5"
    with pytest.raises(OracleError, match="no oracle 'sevennet:best'"):
        make_oracle("sevennet:best")
    assert default_further(DEFAULT_ORACLE) == ("sevennet:l3i5",)
    assert default_further("analytic") == ()


def test_without_the_package_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda _name: None)
    with pytest.raises(OracleError, match=r'pip install "lcoms\[sevennet\]"'):
        SevenNetOracle()
