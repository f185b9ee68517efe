"""Constraints: contradictions are reported before any work, and excluded crystals are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, candidate_of, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.oracles.hull import HullPlace
from lcoms.page.facts import density
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import (
    groups_in_effect,
    groups_of_system,
    promising,
    read_space_groups,
    satisfying,
    volume_of_density,
)
from lcoms.prediction.contradictions import check_constraints
from lcoms.prediction.hulls import predicted_hull
from lcoms.prediction.in_cell import in_known_cell, nearest_cell_first
from lcoms.prediction.known_cell import KnownCell, read_cell
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.random_symmetric import RandomSymmetricSpec, draw_crystals
from lcoms.prediction.spec import ConstraintSpec, PredictionSpec
from lcoms.prediction.structure_types import StructureType, crystals_of_type, is_of_type, read_structure_type
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_cif
from lcoms.structure.lattice import lattice_from_parameters
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number

SALT = Composition.from_formula("NaCl")


def test_space_groups_are_read_as_numbers_and_symbols() -> None:
    assert read_space_groups(["62", "Pnma", "P6_3/mmc", " F m -3 m "]) == (62, 194, 225)
    for wrong in ("0", "231", "Foo", "", "2.5"):
        with pytest.raises(ConfigError, match="is not a space group"):
            read_space_groups([wrong])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Pmn2(1)", 31), ("P2(1)2(1)2(1)", 19), ("P2\u2081/c", 14), ("P2_{1}/c", 14), ("P$2_1$/c", 14), ("P21/a", 14),
        ("I2/a", 15), ("P 1 21/n 1", 14), ("R-3m:H", 166), ("R -3 m R", 166), ("F d -3 m O2", 227), ("Fd-3m S", 227),
        ("Fm3\u0305m", 225), (r"Fm\bar{3}m", 225), ("P\u22121", 2), ("P\u00af1", 2), ("F 4/m -3 2/m", 225),
        ("P 2_1/n 2_1/m 2_1/a", 62), ("Fm-3m (225)", 225), ("225 (Fm-3m)", 225), ("No. 225", 225), ("166:H", 166),
        ("Oh^5", 225), ("D_{6h}^{4}", 194), ("-P 2ybc", 14), ("-F 4 2 3", 225), ("C2", 5), ("H3", 146), ("Aem2", 39),
    ],
)  # fmt: skip
def test_space_groups_are_read_in_all_their_spellings(text: str, number: int) -> None:
    assert read_space_groups([text]) == (number,)


@pytest.mark.parametrize("text", ["Fm-3m (216)", "225 (F-43m)", "F43m", "m-3m", "62.441", "P", "cubic", "T1", "-1"])
def test_what_is_no_space_group_or_two_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a space group"):
        read_space_groups([text])


def test_systems_cover_all_groups_once() -> None:
    names = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "Cubic")
    assert [g for name in names for g in groups_of_system(name)] == list(range(1, 231))
    with pytest.raises(ConfigError, match="rhombic"):
        groups_of_system("rhombic")


def test_the_density_of_rock_salt_gives_its_volume() -> None:
    assert volume_of_density(2.163, SALT) == pytest.approx(44.87, abs=0.05)


def test_the_density_that_is_shown_is_the_one_that_can_be_asked_for() -> None:
    crystal = rock_salt()
    assert volume_of_density(density(crystal), SALT) == pytest.approx(crystal.volume)


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        (ConstraintSpec(space_groups=(230,)), "Ia-3d"),
        (ConstraintSpec(volume=0.5), "formula unit"),
        (ConstraintSpec(volume=5000.0), "formula unit"),
        (ConstraintSpec(density=900.0), "density"),
    ],
)
def test_what_no_crystal_can_satisfy_is_told_before_any_work(constraints: ConstraintSpec, said: str) -> None:
    with pytest.raises(FormulaError, match=said):
        check_constraints(constraints, SALT, 10)
    check_constraints(ConstraintSpec(space_groups=(230, 225)), SALT, 10)


def test_values_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        ConstraintSpec(volume=40.0, density=2.0)
    with pytest.raises(ConfigError, match="positive"):
        ConstraintSpec(volume=-1.0)
    with pytest.raises(ConfigError, match="not a space group"):
        ConstraintSpec(space_groups=(231,))


def test_candidates_that_contradict_are_left_out_and_counted() -> None:
    salt = candidate_of(rock_salt())
    caesium, zinc = candidate_of(caesium_chloride(3.2, (11, 17))), candidate_of(zinc_blende(6.1, (11, 17)))
    kept, left = satisfying([salt, caesium, zinc], ConstraintSpec(space_groups=(225, 216)), SALT)
    assert kept == [salt, zinc]
    assert left.sentences() == ["1 candidate of other space groups was left out."]
    kept, left = satisfying([salt, caesium, zinc], ConstraintSpec(volume=44.9, tolerance=0.05), SALT)
    assert kept == [salt]
    assert (left.space_group, left.volume) == (0, 2)
    assert satisfying([salt], ConstraintSpec(), SALT)[0] == [salt]


def test_a_prediction_within_a_group_has_no_other(tiny_weights: Path) -> None:
    bundle = WeightBundle.load(tiny_weights)
    spec = spec_for(Options(starts=6, steps=1, relax=False, space_groups=(225,)))
    found = Predictor(bundle, spec).predict("NaCl")
    assert found.candidates
    assert {candidate.space_group for candidate in found.candidates} == {225}
    with pytest.raises(FormulaError, match="Ia-3d"):
        Predictor(bundle, spec_for(Options(relax=False, space_groups=(230,), max_atoms=10))).check(SALT)


CUBE = (5.64, 5.64, 5.64, 90.0, 90.0, 90.0)


@pytest.mark.parametrize(
    "cell",
    [
        CUBE,
        (3.988, 3.988, 3.988, 60.0, 60.0, 60.0),  # the primitive cell
        (3.988, 3.988, 3.988, 90.0, 60.0, 120.0),  # another basis of it
    ],
)
def test_rock_salt_has_its_cell_in_any_setting(cell: tuple[float, ...]) -> None:
    known = KnownCell(cell, 0.02)
    assert known.fits(rock_salt(), relaxed=True)
    assert not known.fits(rock_salt(6.0), relaxed=True)
    assert known.fits(rock_salt(6.0), relaxed=False)
    assert not known.fits(caesium_chloride(3.2, (11, 17)), relaxed=False)
    assert not known.fits(wurtzite(numbers=(11, 17)), relaxed=False)


@pytest.mark.parametrize("cell", [CUBE, (3.988, 3.988, 3.988, 60.0, 60.0, 60.0)])
def test_a_crystal_is_strained_into_the_known_cell_in_any_setting(cell: tuple[float, ...]) -> None:
    (strained,) = in_known_cell([rock_salt(5.8)], KnownCell(cell, 0.05))
    assert matches(strained, rock_salt(), STRICT)
    assert strained.volume == pytest.approx(rock_salt(5.64).volume, rel=1e-3)


def test_a_strain_into_a_cell_keeps_the_symmetry_and_no_other_lattice_is_touched() -> None:
    brick = KnownCell((5.6, 5.7, 5.65, 90.0, 90.0, 90.0), 0.05)
    (strained,) = in_known_cell([rock_salt(5.8)], brick)
    assert space_group_number(strained) == 225
    assert strained.volume == pytest.approx(np.prod(brick.parameters[:3]) / 4, rel=1e-2)
    other = caesium_chloride(3.2, (11, 17))
    assert in_known_cell([other], brick) == [other]


def test_a_supercell_of_a_more_symmetric_crystal_keeps_its_atoms() -> None:
    salt = rock_salt(5.8)
    halves = [(salt.frac_coords + shift) / np.array([1, 1, 2]) for shift in (np.zeros(3), np.array([0, 0, 1]))]
    lattice = salt.lattice * np.array([[1.0], [1.0], [2.0]])
    double = Crystal(lattice, np.concatenate(halves), np.tile(salt.atomic_numbers, 2))
    assert in_known_cell([double], KnownCell((5.6, 5.7, 5.65, 90.0, 90.0, 90.0), 0.05)) == [double]


def test_a_crystal_whose_symmetry_forbids_the_cell_comes_after_one_that_allows_it() -> None:
    brick = KnownCell((5.6, 5.64, 5.68, 90.0, 90.0, 90.0), 0.05)
    cubic = replace(candidate_of(rock_salt(5.64)), score=-1.01)
    lattice = rock_salt(5.64).lattice * np.array([5.6, 5.64, 5.68]) / 5.64
    free = replace(cubic, score=-1.0, crystal=replace(rock_salt(), lattice=lattice))
    assert [one.score for one in nearest_cell_first([cubic, free], None, score_error=0.03)] == [-1.01, -1.0]
    first, second = nearest_cell_first([cubic, free], brick, score_error=0.03)
    assert first.crystal is free.crystal
    assert first.score == pytest.approx(-1.0, abs=1e-4)
    assert second.score == pytest.approx(-1.01 + 0.015 * (0.04 / 5.64 * 2**0.5 / 0.005) ** 2, abs=2e-3)


def test_a_cell_gives_the_lattices_of_the_groups_that_allow_it() -> None:
    cube, brick = KnownCell(CUBE, 0.03), KnownCell((5.4, 7.6, 5.3, 90.0, 90.0, 90.0), 0.03)
    assert [round(abs(np.linalg.det(one)), 1) for one in cube.lattices(225)] == [44.9]
    assert [round(abs(np.linalg.det(one)), 1) for one in cube.lattices(221)] == [179.4]
    assert not cube.lattices(194)
    assert brick.lattices(62)
    assert brick.lattices(136)  # 5.4 and 5.3 are equal within 3 %
    assert not brick.lattices(225)
    corundum = KnownCell((4.76, 4.76, 12.99, 90.0, 90.0, 120.0), 0.03)
    assert {round(abs(np.linalg.det(one))) for one in corundum.lattices(167)} == {85}


def test_units_of_a_cell_follow_the_volumes_of_the_elements() -> None:
    known = KnownCell(CUBE, 0.03)
    assert 4 in known.units(SALT, usual=True)
    assert 1 in known.primitive_units(SALT, usual=True)
    assert 60 not in known.units(SALT)
    assert [round(abs(np.linalg.det(one)), 1) for one in known.lattices_of(225, SALT)] == [44.9]
    assert known.lattices_of(225, SALT.scaled(4)) == []


def test_a_cell_is_read_with_spaces_or_commas() -> None:
    assert read_cell("5.4, 7.6 5.3,90 90 90") == (5.4, 7.6, 5.3, 90.0, 90.0, 90.0)


def test_structure_types_are_told_by_names_and_files(tmp_path: Path) -> None:
    salt, zinc = rock_salt(), zinc_blende(6.1, (11, 17))
    for name in ("B1", "rock salt", "halite", "AB_cF8_225_a_b"):
        assert is_of_type(salt, 225, [read_structure_type(name)])
        assert not is_of_type(zinc, 216, [read_structure_type(name)])
    (tmp_path / "a.cif").write_text(to_cif(zinc_blende()))
    of_file = read_structure_type(str(tmp_path / "a.cif"))
    assert (of_file.name, of_file.space_group) == ("a.cif", 216)
    assert is_of_type(zinc, 216, [of_file])
    assert not is_of_type(salt, 225, [of_file])


def test_a_structure_type_gives_its_crystals_with_the_elements_in_all_ways() -> None:
    volumes = np.full(104, 20.0)
    found = [c for _, c in crystals_of_type(StructureType("Cubic Perovskite"), perovskite().composition, volumes)]
    assert len(found) == 2  # strontium and titanium exchanged
    assert {space_group_number(crystal) for crystal in found} == {221}
    salts = [c for _, c in crystals_of_type(StructureType("B1"), SALT, volumes)]
    assert [c.volume for c in salts] == [pytest.approx(StructureType("B1").templates()[0].crystal.volume)]


def test_prototypes_choose_groups_and_contradict_candidates() -> None:
    salt, zinc = candidate_of(rock_salt()), candidate_of(zinc_blende(6.1, (11, 17)))
    b1 = (StructureType("B1"),)
    assert groups_in_effect(ConstraintSpec(prototypes=b1), SALT) == (225,)
    assert groups_in_effect(ConstraintSpec(prototypes=b1, space_groups=(225, 216)), SALT) == (225,)
    kept, left = satisfying([salt, zinc], ConstraintSpec(prototypes=b1), SALT)
    assert (kept, left.sentences()) == ([salt], ["1 candidate of other prototypes was left out."])
    kept, left = satisfying([salt, zinc], ConstraintSpec(exclude_prototypes=b1), SALT)
    assert (kept, left.sentences()) == ([zinc], ["1 candidate of excluded prototypes was left out."])


def test_cells_and_energies_contradict_candidates() -> None:
    salt, zinc = candidate_of(rock_salt()), candidate_of(zinc_blende(6.1, (11, 17)))
    kept, left = satisfying([salt, zinc], ConstraintSpec(cell=CUBE), SALT)
    assert (kept, left.sentences()) == ([salt], ["1 candidate with other cells was left out."])
    low, high = replace(salt, energy_above_lowest=0.0), replace(zinc, energy_above_lowest=0.2)
    kept, left = satisfying([low, high], ConstraintSpec(max_e_above=0.1), SALT)
    assert (kept, left.sentences()) == ([low], ["1 candidate too high in energy was left out."])
    unstable = replace(low, hull=HullPlace(0.3, ()))
    assert satisfying([unstable], ConstraintSpec(max_e_above=0.1), SALT)[0] == []


def test_no_limit_refers_to_a_hull_that_is_known_only_after_the_choice() -> None:
    limited = PredictionSpec(constraints=ConstraintSpec(max_e_above=0.1))
    with pytest.raises(ConfigError, match="max_e_above cannot refer to the hull of the phases predicted together"):
        predicted_hull([], limited)


def test_decoded_crystals_of_the_groups_asked_for_come_first() -> None:
    salt, zinc = candidate_of(rock_salt()).decoded, candidate_of(zinc_blende(6.1, (11, 17))).decoded
    kept, left = promising([zinc, salt], ConstraintSpec(space_groups=(225,)), SALT)
    assert (kept, left.sentences()) == ([salt, zinc], [])
    kept, left = promising([zinc, salt], ConstraintSpec(volume=44.9), SALT)
    assert (kept, left.volume) == ([salt], 1)


def test_the_volume_asked_for_under_pressure_is_that_of_the_compressed_crystal() -> None:
    salt, caesium = candidate_of(rock_salt()).decoded, candidate_of(caesium_chloride(2.4, (11, 17))).decoded
    small = ConstraintSpec(volume=31.0)  # per formula unit, compressed from 44.9
    assert promising([salt], small, SALT)[0] == []
    assert promising([salt, caesium], small, SALT, pressure=40.0)[0] == [salt]
    huge = ConstraintSpec(volume=15.0)
    assert promising([salt], huge, SALT, pressure=40.0)[0] == []  # no solid is compressed so far


def test_a_prediction_in_a_cell_has_no_other(tiny_weights: Path) -> None:
    bundle = WeightBundle.load(tiny_weights)
    options = Options(starts=6, steps=1, relax=False, cell=CUBE, prototypes=(StructureType("B1"),))
    found = Predictor(bundle, spec_for(options)).predict("NaCl")
    lattice = lattice_from_parameters(np.array(CUBE[:3]), np.array(CUBE[3:]))
    assert found.candidates
    for candidate in found.candidates:
        assert candidate.space_group == 225
        assert candidate.crystal.volume == pytest.approx(np.linalg.det(lattice) / 4, rel=0.15)
    assert found.decoded.crystals
    for decoded in found.decoded.crystals:
        assert decoded.crystal.volume == pytest.approx(np.linalg.det(lattice) / 4, rel=1e-3)


def test_random_symmetric_crystals_are_drawn_in_the_known_cell() -> None:
    known = KnownCell(CUBE, 0.03)
    config = RandomSymmetricSpec(n=5, drawn=5, closest=0.5)
    frequencies = np.bincount([225, 221], minlength=231)
    random = np.random.default_rng(0)
    drawn = draw_crystals([(SALT, 1.0, 60.0)], frequencies, config, random, lattices=known.lattices_of)
    assert drawn
    for one in drawn:
        assert isinstance(one.crystal, Crystal)
        assert known.fits(one.crystal, relaxed=True)
