"""Soft modes are named by the points of the zone, listed once for equivalent wave vectors, and say which atoms move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.phonons.harmonic import PhononConfig, Phonons, compute_phonons
from lcoms.phonons.modes import _motion
from lcoms.structure.crystal import Composition, Crystal

EDGE = 3.0  # angstrom
HEXAGONAL = np.array([[EDGE, 0, 0], [-EDGE / 2, EDGE * 3**0.5 / 2, 0], [0, 0, 4.5]])
TETRAGONAL = np.diag([EDGE, EDGE, EDGE + 0.4])


class Lattice(EnergyOracle):
    """Atoms of a lattice with springs k / 2 |K (u_i - u_j)|^2, K a diagonal matrix for each step to a neighbour."""

    name = "lattice"

    def __init__(self, lattice: NDArray[np.float64], springs: dict[tuple[int, int, int], tuple[float, ...]]) -> None:
        self.lattice = lattice
        self.springs = springs | {(-a, -b, -c): k for (a, b, c), k in springs.items()}

    def check(self, compositions: Iterable[Composition]) -> None:
        """Everything is known."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [self._one(crystal) for crystal in crystals]

    def _one(self, crystal: Crystal) -> Evaluation:
        edges = np.linalg.norm(self.lattice, axis=1)
        n = np.rint(np.linalg.norm(crystal.lattice, axis=1) / edges).astype(int)
        sites = np.rint(crystal.frac_coords * n).astype(int)
        moved = (crystal.frac_coords * n - sites) @ self.lattice
        at = {tuple(site % n): i for i, site in enumerate(sites)}
        forces = np.zeros_like(moved)
        for i, site in enumerate(sites):
            for step, stiffness in self.springs.items():
                forces[i] += np.array(stiffness) * (moved[at[tuple((site + step) % n)]] - moved[i])
        return Evaluation(0.0, forces, np.zeros((3, 3)))


def sheet(edge: float) -> Phonons:
    """Return the phonons of hexagonal layers whose neighbours move against each other along the axis."""
    plane, axis = (0.8, 0.8, -0.4), (1.5, 1.5, 1.5)
    oracle = Lattice(HEXAGONAL, {(1, 0, 0): plane, (0, 1, 0): plane, (1, 1, 0): plane, (0, 0, 1): axis})
    crystal = Crystal(HEXAGONAL, np.zeros((1, 3)), np.array([11]))
    return compute_phonons(crystal, oracle, PhononConfig(least_edge=edge))


def test_equivalent_points_of_a_hexagonal_zone_are_one() -> None:
    found = sheet(5.5)
    assert found.repeats == (2, 2, 2)
    assert [mode.point.split()[0] for mode in found.soft] == ["M"]
    assert found.soft[0].motion == "Na along z"


def test_a_point_on_the_way_to_m_is_not_called_k() -> None:
    found = sheet(8.5)
    assert found.repeats == (3, 3, 2)
    assert found.soft[0].point == "K (1/3, 1/3, 0)"
    assert sorted(np.abs(found.soft[0].wave_vector)) == pytest.approx([0, 1 / 3, 1 / 3])
    assert len(found.soft) == 2
    assert found.soft[1].point.startswith("(")


def test_points_along_different_axes_are_two_though_their_frequencies_are_equal() -> None:
    """Springs that are soft by the same amount along a and along c of a tetragonal lattice."""
    plane, axis = (-0.2, 1.0, 1.0), (1.0, 1.0, -0.2)
    oracle = Lattice(TETRAGONAL, {(1, 0, 0): plane, (0, 1, 0): (1.0, -0.2, 1.0), (0, 0, 1): axis})
    crystal = Crystal(TETRAGONAL, np.zeros((1, 3)), np.array([11]))
    found = compute_phonons(crystal, oracle, PhononConfig(least_edge=5.5))
    vectors = {(*sorted(np.abs(mode.wave_vector[:2])), abs(mode.wave_vector[2])) for mode in found.soft}
    assert vectors == {(0, 0, 0.5), (0, 0.5, 0)}
    assert len(found.soft) == 2


def test_the_lighter_of_two_atoms_with_equal_shares_of_an_eigenvector_moves() -> None:
    phonons: Any = SimpleNamespace(primitive=SimpleNamespace(numbers=[1, 82], masses=[1.0, 207.0]))
    both = np.zeros((6, 1), dtype=np.complex128)
    both[[0, 3]] = np.sqrt(0.5)
    assert _motion(phonons, both) == "H along x"
    both[[1, 4]] = np.sqrt(0.5)
    assert _motion(phonons, both) == "H normal to z"


def test_the_largest_force_is_that_of_the_atom_furthest_from_its_minimum() -> None:
    places = np.array([[0, 0, 0], [0.5, 0.45, 0.5], [0.1, 0.5, 0.05]])
    crystal = Crystal(np.diag([4.0, 4.3, 4.6]), places, np.array([11, 17, 11]))
    lengths = np.linalg.norm(AnalyticOracle().evaluate([crystal])[0].forces, axis=1)
    assert lengths.max() > 1.1 * lengths.min()
    found = compute_phonons(crystal, AnalyticOracle(), PhononConfig(least_edge=1.0))
    assert found.largest_force == pytest.approx(lengths.max())
