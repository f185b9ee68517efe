"""CHGNet returns the values of the package chgnet, alone and in a batch; other crystals get a status."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from tiny import perovskite, rock_salt, shaken, wurtzite, zinc_blende

from lcoms.core.errors import OracleError
from lcoms.oracles import chgnet as module
from lcoms.oracles import chgnet_orbits, installed
from lcoms.oracles.base import Evaluation
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_pymatgen
from lcoms.structure.operations import operations_of

pytest.importorskip("chgnet", reason="the extra chgnet is not installed")

from lcoms.oracles.chgnet import ChgnetOracle
from lcoms.oracles.chgnet_graph import BondGraph, bond_graph
from lcoms.oracles.chgnet_orbits import orbit_graph
from lcoms.relax import RelaxConfig, relax_crystals

GIGAPASCAL = 160.21766208  # CHGNet's own value of 1 eV/angstrom^3
SKEWED = Crystal(
    np.array([[3.0, 0, 0], [7.5, 3.1, 0], [0.4, 5.0, 4.2]]),
    np.array([[0.1, 0, 0.3], [0.6, 0.4, 0.9]]),
    np.array([3, 9]),
)
LONE = Crystal(
    np.array([[3.0, 0.2, 0.1], [0.5, 4.0, 0.3], [0.7, 0.9, 5.0]]),
    np.array([[0, 0, 0], [0.13, 0.21, 0.37], [0.44, 0.71, 0.23]]),
    np.array([3, 9, 17]),
)  # without symmetry


@pytest.fixture(scope="module")
def oracle() -> ChgnetOracle:
    return ChgnetOracle("r2scan")


def crystals() -> list[Crystal]:
    """Return ionic and covalent crystals, with and without angles, of one to ten atoms, and a thin skewed cell."""
    doubled = Crystal(
        rock_salt().lattice * np.array([[2.0], [1.0], [1.0]]),
        np.concatenate([rock_salt().frac_coords * [0.5, 1, 1], rock_salt().frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]),
        np.tile(rock_salt().atomic_numbers, 2),
    )
    diamond = zinc_blende(3.57, (6, 6))
    lonely = Crystal(4.2 * np.eye(3), np.zeros((1, 3)), np.array([55]))  # neighbours, but none within 3 angstrom
    shaken_ones = [shaken(c, 0.1, seed) for seed, c in enumerate([doubled, wurtzite(), perovskite(), diamond])]
    return [*shaken_ones, lonely, SKEWED]


def same(one: Evaluation, other: Evaluation) -> bool:
    return (one.energy, one.forces.tobytes(), one.stress.tobytes()) == (
        other.energy, other.forces.tobytes(), other.stress.tobytes()
    )  # fmt: skip


@pytest.mark.parametrize("weights", module.WEIGHTS)
def test_energies_forces_and_stresses_are_chgnets_own(weights: str) -> None:
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from chgnet.model import CHGNet

        theirs = CHGNet.load(model_name=weights, use_device="cpu", verbose=False)
        expected = [theirs.predict_structure(to_pymatgen(crystal), task="efs") for crystal in crystals()]
    ours = ChgnetOracle(weights).evaluate(crystals())
    for crystal, one, other in zip(crystals(), ours, expected, strict=True):
        assert one.ok
        assert one.energy / crystal.n_atoms == pytest.approx(float(other["e"]), abs=1e-5)
        np.testing.assert_allclose(one.forces, other["f"], atol=1e-4)
        np.testing.assert_allclose(one.stress, other["s"] / GIGAPASCAL, atol=1e-4)
    assert max(np.abs(one.forces).max() for one in ours) > 1


def test_forces_and_stress_are_slopes_of_the_energy(oracle: ChgnetOracle) -> None:
    crystal, h = crystals()[1], 2e-3
    [at] = oracle.evaluate([crystal])
    move = np.random.default_rng(0).normal(size=crystal.frac_coords.shape)
    strain = np.array([[0.5, 0.2, 0.1], [0.2, -0.3, 0.4], [0.1, 0.4, 0.8]])
    moved = [
        Crystal(crystal.lattice, crystal.frac_coords + shift, crystal.atomic_numbers)
        for shift in (-h * move @ np.linalg.inv(crystal.lattice), h * move @ np.linalg.inv(crystal.lattice))
    ]
    strained = [
        Crystal(crystal.lattice @ (np.eye(3) + sign * h * strain), crystal.frac_coords, crystal.atomic_numbers)
        for sign in (-1, 1)
    ]
    low, high = (e.energy for e in oracle.evaluate(moved))
    assert (high - low) / (2 * h) == pytest.approx(-(at.forces * move).sum(), abs=0.02)
    low, high = (e.energy for e in oracle.evaluate(strained))
    assert (high - low) / (2 * h) == pytest.approx(crystal.volume * (at.stress * strain).sum(), abs=0.05)
    np.testing.assert_allclose(at.forces.sum(axis=0), 0, atol=1e-5)


def test_numbers_are_the_same_to_the_last_bit_alone_and_among_others(oracle: ChgnetOracle) -> None:
    cells = [shaken(crystal, 0.05, seed) for seed in range(4) for crystal in crystals()]
    alone = [oracle.evaluate([crystal])[0] for crystal in cells]
    for size in (2, 3, 5, 8, 24):
        together = [e for i in range(0, len(cells), size) for e in oracle.evaluate(cells[i : i + size])]
        assert all(map(same, together, alone)), size
    many = oracle.evaluate(cells * 4)
    assert all(map(same, many, alone * 4))
    config = RelaxConfig(fmax=0.1, max_steps=8)
    whole = relax_crystals(cells[:6], oracle, config)
    for crystal, result in zip(cells[:6], whole, strict=True):
        [single] = relax_crystals([crystal], oracle, config)
        assert single.energy == result.energy
        assert single.crystal.frac_coords.tobytes() == result.crystal.frac_coords.tobytes()


def test_energies_alone_are_the_same_and_nan_where_there_is_none(oracle: ChgnetOracle) -> None:
    cells = [*crystals(), BROKEN["too dense"], rock_salt()]
    whole = [one.energy for one in oracle.evaluate(cells)]
    np.testing.assert_array_equal(oracle.energies(cells), whole)
    assert np.isnan(whole[-2])


def test_the_order_of_atoms_and_the_cell_do_not_matter(oracle: ChgnetOracle) -> None:
    crystal = crystals()[2]
    order = [4, 2, 0, 3, 1]
    permuted = Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order])
    doubled = Crystal(
        crystal.lattice * np.array([[1.0], [2.0], [1.0]]),
        np.concatenate([crystal.frac_coords * [1, 0.5, 1], crystal.frac_coords * [1, 0.5, 1] + [0, 0.5, 0]]),
        np.tile(crystal.atomic_numbers, 2),
    )
    one, two, three = oracle.evaluate([crystal, permuted, doubled])
    assert two.energy == pytest.approx(one.energy, abs=1e-5)
    np.testing.assert_allclose(two.forces, one.forces[order], atol=1e-4)
    assert three.energy == pytest.approx(2 * one.energy, abs=2e-5)
    np.testing.assert_allclose(three.forces[5:], one.forces, atol=1e-4)
    np.testing.assert_allclose(three.stress, one.stress, atol=1e-5)


@pytest.mark.parametrize("crystal", [rock_salt(), wurtzite(), perovskite(), zinc_blende(3.57, (6, 6))])
def test_equivalent_atoms_and_bonds_are_computed_once(
    crystal: Crystal, oracle: ChgnetOracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystal = Crystal(crystal.lattice * 1.05, crystal.frac_coords, crystal.atomic_numbers)
    doubled = Crystal(
        crystal.lattice * np.array([[1.0], [2.0], [1.0]]),
        np.concatenate([crystal.frac_coords * [1, 0.5, 1], crystal.frac_coords * [1, 0.5, 1] + [0, 0.5, 0]]),
        np.tile(crystal.atomic_numbers, 2),
    )
    graph = bond_graph(doubled)
    assert isinstance(graph, BondGraph)
    assert orbit_graph(graph, operations_of(doubled)).n_rows < orbit_graph(graph).n_rows / 3
    [once] = oracle.evaluate([doubled])
    monkeypatch.setattr(module, "operations_of", lambda _: operations_of(LONE))
    [each] = oracle.evaluate([doubled])
    assert once.energy == pytest.approx(each.energy, abs=2e-5)
    np.testing.assert_allclose(once.forces, each.forces, atol=1e-4)
    np.testing.assert_allclose(once.stress, each.stress, atol=1e-5)
    assert np.abs(each.stress).max() > 1e-3


BROKEN = {
    "no neighbour": Crystal(30 * np.eye(3), np.array([[0, 0, 0], [0.1, 0, 0], [0.5] * 3]), np.array([11, 17, 18])),
    "1 of 1 atoms": Crystal(9 * np.eye(3), np.zeros((1, 3)), np.array([11])),
    "closer than": Crystal(5 * np.eye(3), np.array([[0, 0, 0], [0.001, 0, 0]]), np.array([11, 17])),
    "too dense": Crystal(0.4 * np.eye(3), np.zeros((1, 3)), np.array([11])),
    "thousands of angles": Crystal(1.2 * np.eye(3), np.zeros((1, 3)), np.array([11])),
    "too flat": Crystal(np.diag([1e-3, 300.0, 300.0]), np.zeros((1, 3)), np.array([11])),
    "beyond Pu": rock_salt(numbers=(95, 17)),
}  # fmt: skip


def test_a_graph_reused_between_steps_equals_one_made_anew(
    oracle: ChgnetOracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small moves and strains keep the bonds; larger ones, other elements and another symmetry need a new graph."""
    monkeypatch.setattr(chgnet_orbits, "_KNOWN", {})
    start = wurtzite()
    strained = Crystal(start.lattice * 1.0001, start.frac_coords, start.atomic_numbers)
    moved = Crystal(
        start.lattice * 1.0001,
        start.frac_coords + [[0, 0, 1e-4 * (z > 10)] for z in start.atomic_numbers],
        start.atomic_numbers,
    )
    exchanged = Crystal(start.lattice, start.frac_coords, start.atomic_numbers[::-1])
    far = Crystal(start.lattice * 1.1, start.frac_coords, start.atomic_numbers)
    lower = shaken(start, 1e-3, 0)
    made = []
    for crystal in (start, strained, moved, exchanged, far, lower, start):
        [found] = oracle.evaluate([crystal])
        made.append(len(chgnet_orbits._KNOWN))
        with monkeypatch.context() as patch:
            patch.setattr(chgnet_orbits, "_KNOWN", {})
            [anew] = oracle.evaluate([crystal])
        assert found.energy == anew.energy
        np.testing.assert_array_equal(found.forces, anew.forces)
        np.testing.assert_array_equal(found.stress, anew.stress)
    assert made == [1, 1, 1, 2, 3, 4, 4]


def test_only_the_latest_graphs_are_remembered(oracle: ChgnetOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chgnet_orbits, "_KNOWN", {})
    monkeypatch.setattr(chgnet_orbits, "KEPT", 3)
    oracle.evaluate([rock_salt(length) for length in np.linspace(3.5, 7.5, 9)])
    assert len(chgnet_orbits._KNOWN) == 3


@pytest.mark.parametrize("reason", BROKEN)
def test_what_has_no_graph_gets_a_status_and_stops_nobody(reason: str, oracle: ChgnetOracle) -> None:
    good = shaken(rock_salt(), 0.05)
    before, broken, after = oracle.evaluate([good, BROKEN[reason], good])
    assert same(before, after)
    assert same(before, oracle.evaluate([good])[0])
    assert not broken.ok
    assert reason in broken.status
    assert broken.status.endswith(".")
    assert broken.forces.shape == (BROKEN[reason].n_atoms, 3)
    assert np.isnan(broken.energy)
    assert np.isnan(broken.stress).all()
    assert not oracle.evaluate([BROKEN[reason]])[0].ok


def test_nothing_at_all_is_nothing(oracle: ChgnetOracle) -> None:
    assert oracle.evaluate([]) == []


def test_elements_are_checked_beforehand(oracle: ChgnetOracle) -> None:
    oracle.check([Composition.from_formula("NaCl"), Composition.from_formula("PuO2")])
    with pytest.raises(OracleError, match="not Am, Cm"):
        oracle.check([Composition.from_formula(f) for f in ("NaCl", "CmO2", "AmO2")])


def test_loading_is_silent_and_leaves_threads_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = make_oracle("chgnet:0.3.0")
        assert made.name == "chgnet:0.3.0"
        assert made.evaluate([rock_salt()])[0].ok
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OracleError, match=r"r2scan and 0\.3\.0"):
        ChgnetOracle("0.1.0")
    monkeypatch.setitem(module.WEIGHTS, "r2scan", "pretrained/none.pth.tar")
    with pytest.raises(OracleError, match=r"install chgnet 0\.4\.2"):
        ChgnetOracle("r2scan")
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    with pytest.raises(OracleError, match=r'pip install "lcoms\[chgnet\]"'):
        ChgnetOracle("r2scan")
