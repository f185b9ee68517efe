"""Nearly symmetric crystals are symmetrized, others are left unchanged."""

from __future__ import annotations

import logging

import moyopy
import numpy as np
import pytest
from tiny import (
    breathing_perovskite,
    caesium_chloride,
    perovskite,
    prototypes,
    rock_salt,
    shaken,
    wurtzite,
    zinc_blende,
)

from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches, rmsd
from lcoms.structure.symmetry import (
    HANDED,
    TOLERANCE_LADDER,
    conventional,
    operations_per_atom,
    same_space_group,
    space_group_number,
    space_group_order,
    space_group_symbol,
    symmetrise,
)
from lcoms.structure.symmetry_search import moyo_dataset

GROUPS = {"rock salt": 225, "caesium chloride": 221, "zinc blende": 216, "wurtzite": 186, "perovskite": 221}


def without_symmetry() -> Crystal:
    frac = [[0.0, 0, 0], [0.31, 0.22, 0.43], [0.62, 0.57, 0.14], [0.14, 0.71, 0.78]]
    lattice = [[4.1, 0, 0], [0.7, 4.9, 0], [0.5, 0.9, 5.6]]
    return Crystal(np.array(lattice), np.array(frac), np.array([3, 14, 8, 9]))


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("seed", range(3))
def test_shaken_crystals_are_put_back_on_their_group(name: str, seed: int) -> None:
    exact = prototypes()[name]
    noisy = shaken(exact, 0.04, seed)
    assert space_group_number(noisy, symprec=1e-3) == 1
    found = symmetrise(noisy)
    assert found.space_group == GROUPS[name]
    assert space_group_number(found.crystal, symprec=1e-4) == GROUPS[name]
    assert found.crystal.composition == exact.composition
    assert found.crystal.volume == pytest.approx(noisy.volume, rel=1e-2)
    assert matches(found.crystal, exact, STRICT)
    before, after = rmsd(noisy, exact, STRICT), rmsd(found.crystal, exact, STRICT)
    assert before is not None
    assert after is not None
    assert after < before


def test_an_exact_crystal_stays_as_it_is() -> None:
    for name, crystal in prototypes().items():
        found = symmetrise(crystal)
        assert (found.space_group, found.symprec) == (GROUPS[name], TOLERANCE_LADDER[0])
        assert rmsd(found.crystal, crystal, STRICT) == pytest.approx(0.0, abs=1e-6)
        assert found.crystal.n_atoms == crystal.n_atoms


def test_moyopy_is_not_asked_where_it_may_never_end() -> None:
    assert moyo_dataset(rock_salt(), symprec=0.1).number == 225
    with pytest.raises(ValueError, match=r"may never end at a tolerance of 0\.2"):
        moyo_dataset(rock_salt(), symprec=0.2)


def test_a_further_search_leaves_the_log_levels_as_they_are() -> None:
    """Each change of a level clears the caches of all loggers."""
    moyo_dataset(rock_salt(), symprec=0.1)
    root = logging.getLogger()
    root.isEnabledFor(logging.ERROR)
    before = dict(root._cache)
    moyo_dataset(rock_salt(), symprec=0.1)
    assert before
    assert before.items() <= root._cache.items()


def test_a_crystal_without_symmetry_stays_p1() -> None:
    crystal = without_symmetry()
    found = symmetrise(crystal)
    assert found.space_group == 1
    assert rmsd(found.crystal, crystal, STRICT) == pytest.approx(0.0, abs=1e-6)
    assert space_group_number(crystal) == 1


@pytest.mark.parametrize("seed", range(20))
def test_composition_volume_and_distances_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice([3, 8, 22], size=int(rng.integers(1, 7))))
    crystal = Crystal(np.eye(3) * 4.5 + rng.normal(size=(3, 3)) * 0.3, rng.random((len(numbers), 3)), numbers)
    if shortest_distance(crystal.lattice, crystal.frac_coords) < 0.5:
        return
    found = symmetrise(crystal)
    assert found.crystal.composition.reduced == crystal.composition.reduced
    per_atom = [c.volume / c.n_atoms for c in (found.crystal, crystal)]
    assert per_atom[0] == pytest.approx(per_atom[1], rel=0.12)
    shortest = [shortest_distance(c.lattice, c.frac_coords) for c in (found.crystal, crystal)]
    assert shortest[0] > 0.8 * shortest[1] - 1e-6


def test_rungs_that_would_merge_or_squeeze_atoms_are_passed_over() -> None:
    """Two atoms of one species 0.3 angstrom apart would be merged at the loosest tolerance."""
    pair = Crystal(np.eye(3) * 4.0, np.array([[0.0, 0, 0], [0.075, 0, 0], [0.5, 0.5, 0.5]]), np.array([8, 8, 20]))
    found = symmetrise(pair)
    assert found.crystal.composition == pair.composition
    assert shortest_distance(found.crystal.lattice, found.crystal.frac_coords) > 0.24
    lattice = np.array([[3.62, -0.02, -0.1], [0.05, 3.31, 0.12], [0.32, 0.01, 3.31]])
    frac = np.array([[0.171, 0.651, 0.118], [0.313, 0.638, 0.227], [0.112, 0.88, 0.261]])
    crystal = Crystal(lattice, frac, np.array([3, 3, 8]))
    squeezed, kept = (symmetrise(crystal, ladder=(0.4, 0.3, 0.2), closest=closest) for closest in (0.0, 0.8))
    shortest = [shortest_distance(s.crystal.lattice, s.crystal.frac_coords) for s in (squeezed, kept)]
    assert shortest == pytest.approx([0.427, 0.649], abs=1e-3)
    assert (squeezed.symprec, kept.symprec) == (0.4, 0.2)
    assert symmetrise(rock_salt(), ladder=()).space_group == 1
    noisy = shaken(zinc_blende(), 0.05, 1)
    assert symmetrise(noisy, strain=-1.0).crystal is noisy


def test_conventional_cells() -> None:
    assert conventional(rock_salt()).n_atoms == 8
    np.testing.assert_allclose(conventional(rock_salt()).lattice, 5.64 * np.eye(3), atol=1e-6)
    assert conventional(zinc_blende()).n_atoms == 8
    assert [conventional(c).n_atoms for c in (caesium_chloride(), perovskite(), wurtzite())] == [2, 5, 4]
    for crystal in prototypes().values():
        assert matches(conventional(crystal), crystal, STRICT)


def test_symbols() -> None:
    symbols = [space_group_symbol(n) for n in (1, 14, 15, 186, 216, 221, 225, 227)]
    assert symbols == ["P1", "P2_1/c", "C2/c", "P6_3mc", "F-43m", "Pm-3m", "Fm-3m", "Fd-3m"]
    assert not [n for n in range(3, 16) if "1" in space_group_symbol(n).replace("_1", "")]


def test_a_tolerance_that_is_large_beside_the_cell_is_no_trap() -> None:
    """One symmetry library never returns for this cell at 0.5 angstrom."""
    lattice = [[4.475, -0.019, -0.298], [-2.21, 3.886, 0.089], [-1.034, -0.256, 15.055]]
    frac_coords = [
        [0.055, 0.557, 0.823], [0.245, 0.202, 0.567], [0.437, 0.88, 0.362], [0.858, 0.942, 0.068],
        [0.944, 0.526, 0.621], [0.181, 0.602, 0.04], [0.657, 0.87, 0.716], [0.461, 0.24, 0.92],
        [0.813, 0.552, 0.426], [0.584, 0.306, 0.194],
    ]  # fmt: skip
    numbers = np.array([90] * 4 + [48] * 2 + [31] * 4)
    found = symmetrise(Crystal(np.array(lattice), np.array(frac_coords), numbers))
    assert found.space_group == 8


def test_a_subgroup_has_fewer_operations_an_atom_by_its_index() -> None:
    """Translations count: the breathing cell has a group of higher order, but half the symmetry."""
    whole, halved = perovskite(), breathing_perovskite(0.02)
    assert (space_group_number(whole), space_group_number(halved, symprec=0.01)) == (221, 225)
    assert space_group_order(225) > space_group_order(221)
    assert operations_per_atom(whole, 221) == 48 / 5
    assert operations_per_atom(halved, 225) == 48 / 10
    for name, crystal in prototypes().items():
        found = symmetrise(crystal)
        dataset = moyopy.MoyoDataset(
            moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.atomic_numbers.tolist())
        )
        cell = len(dataset.std_cell.numbers) / len(dataset.prim_std_cell.numbers)
        operations = len(dataset.operations) / len(dataset.prim_std_cell.numbers)
        assert operations_per_atom(found.crystal, found.space_group) == pytest.approx(operations), name
        assert space_group_order(found.space_group) == pytest.approx(len(dataset.operations) * cell), name


def test_mirror_images_are_one_structure() -> None:
    lattice = np.array([[4.366, 0, 0], [-2.183, 2.183 * 3**0.5, 0], [0, 0, 4.954]])
    frac = np.array([[0.225, 0, 1 / 3], [0, 0.225, 2 / 3], [-0.225, -0.225, 0]])
    selenium = Crystal(lattice, frac, np.array([34] * 3))
    mirrored = Crystal(lattice, frac * [1, 1, -1], selenium.atomic_numbers)
    groups = space_group_number(selenium), space_group_number(mirrored)
    assert sorted(groups) == [152, 154]
    assert same_space_group(*groups)
    assert matches(selenium, mirrored, STRICT)
    assert not same_space_group(152, 153)
    assert same_space_group(225, 225)


def test_every_pair_of_mirror_images_has_symbols_that_differ_in_the_screw_axis() -> None:
    for first, second in HANDED:
        one, other = space_group_symbol(first), space_group_symbol(second)
        assert sum(a != b for a, b in zip(one, other, strict=True)) == 1
        assert space_group_order(first) == space_group_order(second)
    assert len(HANDED) == 11
