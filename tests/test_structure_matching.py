"""The same structure in another cell or orientation matches; another structure or composition does not."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from symmetry_cases import other_cell, random_rotation, shuffled, supercell
from tiny import caesium_chloride, perovskite, prototypes, rock_salt, shaken, wurtzite, zinc_blende

from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import LOOSE, STRICT, matches, rmsd


def turned(crystals: list[Crystal]) -> list[Crystal]:
    rotation = random_rotation().numpy()
    return [Crystal(c.lattice @ rotation, c.frac_coords + 0.27, c.atomic_numbers) for c in crystals]


@pytest.mark.parametrize("tolerance", [LOOSE, STRICT])
@pytest.mark.parametrize("other", [turned, other_cell, supercell, lambda c: shuffled(c)[0]])
def test_the_same_structure_told_in_another_way_matches(other, tolerance) -> None:
    crystals = list(prototypes().values())
    for one, two in zip(crystals, other(crystals), strict=True):
        assert matches(one, two, tolerance)
        assert rmsd(one, two, tolerance) == pytest.approx(0.0, abs=1e-6)


def test_different_structures_of_one_composition_differ() -> None:
    salts = [rock_salt(5.4, (30, 16)), caesium_chloride(3.3, (30, 16)), zinc_blende(5.41, (30, 16))]
    salts.append(wurtzite(3.82, 6.26, 0.375, (30, 16)))
    for i, one in enumerate(salts):
        for j, two in enumerate(salts):
            assert matches(one, two, STRICT) == (i == j)
            assert (rmsd(one, two, STRICT) is not None) == (i == j)


def test_strict_tolerances_are_the_defaults_of_pymatgen() -> None:
    default = StructureMatcher().as_dict()
    assert (STRICT.ltol, STRICT.stol, STRICT.angle_tol) == tuple(
        default[name] for name in ("ltol", "stol", "angle_tol")
    )
    assert (LOOSE.ltol, LOOSE.stol, LOOSE.angle_tol) == (0.3, 0.5, 10.0)


def test_strict_refuses_what_lies_between_its_displacement_and_a_wider_one() -> None:
    crystal = caesium_chloride(3.4, (11, 17))
    length = (crystal.volume / 2) ** (1 / 3)
    for share, match in ((0.29, True), (0.31, False), (0.39, False)):  # of each atom, with the mean taken off
        off = crystal.frac_coords + np.array([[0, 0, 0], [2 * share * length / 3.4 / 3**0.5] * 3])
        assert matches(Crystal(crystal.lattice, off % 1.0, crystal.atomic_numbers), crystal, STRICT) == match


def test_compositions_must_be_equal_up_to_formula_units() -> None:
    assert not matches(rock_salt(), rock_salt(numbers=(19, 17)), LOOSE)
    assert rmsd(rock_salt(), rock_salt(numbers=(19, 17)), LOOSE) is None
    assert rmsd(rock_salt(), perovskite(), LOOSE) is None


def test_volumes_are_scaled_and_displacements_measured() -> None:
    assert matches(rock_salt(5.0), rock_salt(6.5), STRICT)
    crystal = wurtzite()
    moved = crystal.frac_coords + np.array([[0.2, 0, 0]] + [[0, 0, 0]] * 3) @ np.linalg.inv(crystal.lattice)
    # One of four atoms by 0.2 angstrom, with the mean taken off: rms 0.2 sqrt(3) / 4.
    expected = 0.2 * 3**0.5 / 4 / (crystal.volume / 4) ** (1 / 3)
    found = rmsd(Crystal(crystal.lattice, moved, crystal.atomic_numbers), crystal, STRICT)
    assert found == pytest.approx(expected, rel=1e-3)


def test_loose_forgives_what_strict_does_not() -> None:
    """The tolerances of the published match rates do not even distinguish rock salt from zinc blende."""
    salt, blende = rock_salt(5.4, (30, 16)), zinc_blende(5.41, (30, 16))
    assert matches(salt, blende, LOOSE)
    assert not matches(salt, blende, STRICT)
    noisy = shaken(wurtzite(), 0.1, 1)
    assert matches(noisy, wurtzite(), STRICT)
