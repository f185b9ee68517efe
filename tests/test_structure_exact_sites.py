"""Crystals given by the free parameters of their groups are recovered exactly; near symmetry is not imposed."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure.crystal import Crystal
from lcoms.structure.exact_sites import (
    MOST_MOVED,
    crystal_of,
    exact_sites,
    free_parameters,
    moved_by_symmetry,
    own_tolerance,
)
from lcoms.structure.lattice import lattice_from_parameters
from lcoms.structure.matching import STRICT, rmsd
from lcoms.structure.symmetric_cell import constrained
from lcoms.structure.symmetry import space_group_number
from lcoms.structure.wyckoff import orbit_points, primitive_basis, wyckoff_positions

GROUPS = (1, 2, 5, 9, 14, 15, 19, 36, 43, 60, 62, 70, 82, 88, 96, 109, 122, 136, 141, 146, 148, 155, 161, 166, 167, 173)
MORE_GROUPS = (176, 182, 186, 190, 194, 198, 205, 212, 214, 216, 220, 225, 227, 230)
NACL = Crystal(2.8 * (np.ones((3, 3)) - np.eye(3)), np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]), np.array([11, 17]))


def made(number: int, seed: int = 0) -> Crystal:
    """Return a crystal with atoms on the general and the most special position of a group, in a cell of its system."""
    rng = np.random.default_rng([number, seed])
    lengths, angles = constrained(number, rng.uniform(9, 13, 3), rng.uniform(75, 105, 3))
    positions = list(wyckoff_positions(number).values())
    frac, numbers = [], []
    for position, z in ((positions[-1], 8), (positions[0], 26)):
        shifts, directions = orbit_points(number, position.letter)
        frac.append(shifts + directions @ (position.free.T @ rng.uniform(0.05, 0.45, 3)))
        numbers += [z] * len(shifts)
    lattice = primitive_basis(number) @ lattice_from_parameters(lengths, angles)
    return Crystal(lattice, np.concatenate(frac), np.array(numbers))


@pytest.mark.parametrize("number", GROUPS + MORE_GROUPS)
def test_a_crystal_comes_back_from_its_sites(number: int) -> None:
    crystal = made(number)
    sites = exact_sites(crystal, symprec=0.01)
    assert sites is not None
    again = crystal_of(sites)
    assert sites.space_group == space_group_number(crystal, symprec=0.01)
    assert space_group_number(again, symprec=1e-4) == sites.space_group
    assert again.n_atoms == crystal.n_atoms
    assert rmsd(crystal, again, STRICT) == pytest.approx(0, abs=1e-5)
    assert again.volume == pytest.approx(crystal.volume, rel=1e-6)


def test_a_doubled_cell_comes_back_primitive() -> None:
    frac = np.concatenate([NACL.frac_coords, NACL.frac_coords + np.array([1, 0, 0])]) / [2, 1, 1]
    doubled = Crystal(NACL.lattice * [[2], [1], [1]], frac, np.tile(NACL.atomic_numbers, 2))
    sites = exact_sites(doubled, symprec=0.01)
    assert sites is not None
    assert sites.space_group == 225
    assert crystal_of(sites).n_atoms == 2


def test_what_the_crystal_system_fixes_is_not_free() -> None:
    assert free_parameters(2) == ((0, 1, 2), (0, 1, 2))
    assert free_parameters(14) == ((0, 1, 2), (1,))
    assert free_parameters(62) == ((0, 1, 2), ())
    assert free_parameters(166) == ((0, 2), ())
    assert free_parameters(225) == ((0,), ())


def test_symmetry_moves_the_atoms_of_a_symmetric_crystal_nowhere() -> None:
    moved = moved_by_symmetry(NACL, symprec=0.1)
    assert moved is not None
    assert max(moved) < 1e-9


def test_a_small_distortion_is_the_crystals_own_and_noise_is_not() -> None:
    def with_shift(by: float) -> Crystal:
        return Crystal(
            NACL.lattice,
            NACL.frac_coords + np.array([[by / NACL.lattice[0].max(), 0, 0], [0, 0, 0]]),
            NACL.atomic_numbers,
        )

    assert space_group_number(with_shift(0.05), symprec=0.1) == 225
    moved = moved_by_symmetry(with_shift(0.05), symprec=0.1)
    assert moved is not None
    assert moved[0] > MOST_MOVED
    kept = own_tolerance(with_shift(0.05))
    assert kept is not None
    assert space_group_number(with_shift(0.05), symprec=kept) != 225
    assert own_tolerance(with_shift(0.002)) == 0.1
