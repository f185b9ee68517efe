"""Distortions follow the soft modes: their wave vectors, their symmetry, and their energy gain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tiny import perovskite, rock_salt
from toy_oracles import OffCentre

from lcoms.oracles.analytic import AnalyticOracle, best_distance
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.phonons.distortions import distortions
from lcoms.phonons.harmonic import PhononConfig, compute_phonons
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import shortest_distance

EDGE = 3.0  # angstrom


class Pairing(EnergyOracle):
    """A simple cubic lattice in which neighbors lower the energy by moving towards each other and raise it by shearing.

    The longitudinal modes at (0, 0, 1/2) and its equivalents are the only soft ones.
    """

    name = "pairing"

    def check(self, compositions: Iterable[Composition]) -> None:
        """Everything is known."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [self._one(crystal) for crystal in crystals]

    def _one(self, crystal: Crystal) -> Evaluation:
        n = np.rint(np.linalg.norm(crystal.lattice, axis=1) / EDGE).astype(int)
        sites = np.rint(crystal.frac_coords * n).astype(int)
        moved = (crystal.frac_coords * n - sites) * EDGE
        at = {tuple(site % n): i for i, site in enumerate(sites)}
        forces = np.zeros_like(moved)
        for i, site in enumerate(sites):
            for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
                apart = moved[at[tuple((site + step) % n)]] - moved[i]
                forces[i] += apart * np.where(step != 0, -0.3, 1.0)
        return Evaluation(0.0, forces, np.zeros((3, 3)))


def simple_cubic() -> Crystal:
    return Crystal(np.eye(3) * EDGE, np.zeros((1, 3)), np.array([11]))


def test_a_mode_at_the_zone_boundary_doubles_the_cell_and_moves_neighbours_against_each_other() -> None:
    phonons = compute_phonons(simple_cubic(), Pairing(), PhononConfig(least_edge=6.0))
    (soft,) = phonons.soft
    assert sorted(np.abs(soft.wave_vector)) == [0, 0, 0.5]
    (found,) = distortions(phonons, amplitude=0.2)
    assert found.crystal.n_atoms == 2
    assert found.crystal.volume == pytest.approx(2 * EDGE**3)
    assert shortest_distance(found.crystal.lattice, found.crystal.frac_coords) == pytest.approx(EDGE - 0.4)
    assert found.space_group == 123  # P4/mmm: pairs along z


def test_waves_that_repeat_only_after_many_cells_are_not_followed() -> None:
    phonons = compute_phonons(simple_cubic(), Pairing(), PhononConfig(least_edge=6.0))
    for denominator, n in ((6, 1), (7, 0)):
        mode = replace(phonons.soft[0], primitive_q=np.array([1 / denominator, 0, 0]))
        assert len(distortions(replace(phonons, soft=(mode,)))) == n


def test_degenerate_modes_give_crystals_of_the_subgroups_along_axes_and_diagonals() -> None:
    cubic = compute_phonons(perovskite(), OffCentre(), PhononConfig(least_edge=1.0))
    assert [mode.degeneracy for mode in cubic.soft] == [3]
    groups = [one.space_group for one in distortions(cubic)]
    assert groups == [99, 38, 160]  # P4mm, Amm2, R3m: the ferroelectric phases of BaTiO3
    assert all(one.crystal.n_atoms == 5 for one in distortions(cubic))


def test_a_stable_crystal_is_not_distorted_and_no_more_are_made_than_wanted() -> None:
    salt = rock_salt(2 * float(best_distance(11, 17)))
    assert distortions(compute_phonons(salt, AnalyticOracle(), PhononConfig(least_edge=3.0))) == []
    assert len(distortions(compute_phonons(perovskite(), OffCentre(), PhononConfig(least_edge=1.0)), most=2)) == 2


def test_elements_without_a_stable_isotope_have_masses() -> None:
    phonons = compute_phonons(perovskite(numbers=(94, 43, 8)), OffCentre(43), PhononConfig(least_edge=1.0))
    assert phonons.masses[0] == pytest.approx(244, abs=1)
    assert phonons.masses[1] == pytest.approx(98, abs=1)
