"""Symmetry of CIFs under unusual names, in unusual lists, and as codes of settings."""

from __future__ import annotations

import pytest
from cif_cases import case, images, require_remark, same_places
from cif_cases import cif as one_site
from test_structure_cif_traps import COLUMNS, FM3M, SALT, cif, operations, read, silicon

from lcoms.structure.cif import read_cif
from lcoms.structure.reading import Topic
from lcoms.structure.space_group_names import Setting, all_settings, lacks_marks, number_of_group, settings_named

TWO = ("x,y,z", "-x,-y,-z")
CENTERING = ("x,y,z,+1", "x+1/2,y+1/2,z,+1", "x+1/2,y,z+1/2,+1", "x,y+1/2,z+1/2,-1")
MAGNETIC = "_space_group_symop_magn_operation.xyz"
NUMBER, CODE = "_space_group_IT_number", "_space_group.IT_coordinate_system_code"
ORTHORHOMBIC = (7.3, 8.1, 9.4, 90, 90, 90)


def listed(tag: str, triplets: tuple[str, ...]) -> str:
    return f"loop_\n{tag}\n" + "".join(f"'{triplet}'\n" for triplet in triplets)


@pytest.mark.parametrize(
    "symmetry",
    [
        "_symmetry_equiv_pos_as_xyz 'x,y,z; -x,-y,-z'\n",
        "_symmetry_equiv_pos_as_xyz 'x,y,z | -x,-y,-z'\n",
        "_symmetry_equiv_pos_as_xyz '(x,y,z) (-x,-y,-z)'\n",
        "_symmetry_equiv_pos_as_xyz 'x,y,z -x,-y,-z'\n",
        operations("(x,y,z)", "(-x,-y,-z)"),
        operations("x1,x2,x3", "-x1,-x2,-x3"),
        operations("x,y,z", "-x,-y,-z", "?"),
        listed("_symmetry_operation_xyz", TWO),
        listed("_magnetic_space_group_symop_operation_xyz", ("x,y,z,+1", "-x,-y,-z,-1")),
        "_space_group_symop_operation_xyz ?\n" + operations(*TWO),
        "_symmetry_space_group_name_H-M ?\n" + listed("_space_group.magn_symop_operation_xyz", TWO),
    ],
)
def test_lists_of_operations_in_all_their_forms(symmetry: str) -> None:
    reading = read(silicon(symmetry))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.n_atoms == 2
    assert [remark for remark in reading.remarks if remark.topic == Topic.SYMMETRY] == []


@pytest.mark.parametrize(
    "symmetry",
    [
        f"{MAGNETIC} 'x,y,z,+1; -x,-y,-z,+1'\n_space_group_symop_magn_centering.xyz '{'; '.join(CENTERING)}'\n",
        operations(*TWO) + listed("_space_group_symop_magn_centering.xyz", CENTERING),
    ],
)
def test_centring_translations_are_not_lost(symmetry: str) -> None:
    reading = read(cif(SALT, symmetry))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


@pytest.mark.parametrize(
    "stated",
    ["_symmetry_space_group_name_H-M '*C -1'\n", "_symmetry_space_group_name_H-M 'F -4 d 2'\n", f"{NUMBER} 0\n",
     "_space_group_name_Hall 'P nonsense'\n"],
)  # fmt: skip
def test_a_list_is_read_whatever_the_name(stated: str) -> None:
    reading = read(silicon(stated + operations(*TWO)))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.n_atoms == 2
    assert reading.remarks[0].topic == Topic.SYMMETRY


def test_a_number_is_not_read_in_another_centring_than_that_of_the_name() -> None:
    stated = f"_symmetry_space_group_name_H-M 'B 1 21/c 1'\n{NUMBER} 14\n"
    reading = read(silicon(stated))
    assert reading.error is not None
    assert "is that of no known setting of number 14; give its operations." in reading.error.sentence
    require_remark(read(silicon(stated + operations(*TWO))), Topic.SYMMETRY, "which contradicts number 14")


@pytest.mark.parametrize("setting", [s for s in all_settings() if s.number in (62, 15)], ids=lambda s: s.name)
def test_codes_state_the_setting(setting: Setting) -> None:
    parameters, place = case(setting, seed=1)
    (reading,) = read_cif(one_site(parameters, place, f"{NUMBER} {setting.number}\n{CODE} {setting.axes or 'abc'}\n"))
    assert reading.crystal is not None, reading.error
    assert same_places(reading.crystal.frac_coords, images(setting, place))


def test_a_code_is_no_name() -> None:
    reading = read(silicon(f"{CODE} b1\n{NUMBER} 14\n"))
    assert reading.crystal is not None, reading.error
    assert not any("contradict" in text for text in reading.warnings)


def test_a_reference_setting_that_is_to_be_transformed_is_refused() -> None:
    stated = f"_space_group.name_H-M_ref 'P n m a'\n{NUMBER} 62\n_space_group.transform_Pp_abc"
    atoms = ("Si1 Si 0.112 0.131 0.347",)
    assert read(cif(atoms, f"{stated} 'a,b,c;0,0,0'\n", ORTHORHOMBIC)).crystal is not None
    reading = read(cif(atoms, f"{stated} 'b,c,a;0,0,0'\n", ORTHORHOMBIC))
    assert reading.error is not None
    assert "stated by a transformation of the axes only" in reading.error.sentence


@pytest.mark.parametrize(("name", "number"), [("Fm3-m", 225), ("R3-m", 166), ("P4-3m", 215), ("I 4- 3 d", 220)])
def test_bars_behind_their_digit(name: str, number: int) -> None:
    assert number_of_group(name) == number


@pytest.mark.parametrize(("name", "number"), [("P63mmc", 194), ("P42mnm", 136), ("I42d", 122), ("C2c", 15)])
def test_names_without_bars_and_slashes_are_those_of_one_group(name: str, number: int) -> None:
    assert lacks_marks(name)
    assert {setting.number for setting in settings_named(name)} == {number}
    assert number_of_group(name) == 0  # as an option it must be complete


@pytest.mark.parametrize("name", ["P42m", "P-", "Pnma1"])
def test_names_of_two_groups_or_none_are_not_understood(name: str) -> None:
    assert settings_named(name) == []


def test_a_name_without_its_slash_is_said() -> None:
    reading = read(silicon("_symmetry_space_group_name_H-M P21c\n"))
    require_remark(reading, Topic.SYMMETRY, "the space group name 'P21c' is read as P 1 21/c 1.")


def test_superspace_is_named_also_in_magnetic_files() -> None:
    reading = read(silicon("loop_\n_space_group_symop_magn_ssg_operation.algebraic\nx1,x2,x3,x4,+1\n"))
    assert reading.error is not None
    assert "superspace" in reading.error.sentence


@pytest.mark.parametrize(
    ("system", "agrees"), [("cubic", True), ("isometric", True), ("monoclinic", False), ("?", True), ("other", True)]
)
def test_another_crystal_system_is_said(system: str, agrees: bool) -> None:
    reading = read(cif(SALT, f"{FM3M}_symmetry_cell_setting {system}\n", columns=COLUMNS))
    assert reading.crystal is not None, reading.error
    assert (reading.warnings == ()) == agrees


def test_a_weight_that_the_formula_sum_does_not_have_is_said() -> None:
    stated = f"{FM3M}_chemical_formula_sum 'Cl Na'\n_chemical_formula_weight"
    assert read(cif(SALT, f"{stated} 58.44\n")).warnings == ()
    assert read(cif(SALT, f"{stated} 233.77\n")).warnings == ()
    require_remark(read(cif(SALT, f"{stated} 76.46\n")), Topic.FORMULA, "does not weigh 76.46 g/mol, as is stated")


@pytest.mark.parametrize(
    ("triplets", "n_atoms"),
    [
        (tuple(f"x+{i}/5,y,z" for i in range(5)), 5),
        (tuple(f"x,y+{i}/16,z" for i in range(16)), 16),
        (("x,y,z", "0.123-x,0.456-y,-z"), 2),
        (("x,y,z", "x+.50000,y,z"), 2),
    ],
)
def test_translations_may_have_any_denominator(triplets: tuple[str, ...], n_atoms: int) -> None:
    cell = (25.0, 64.0, 7.0, 90, 90, 90)
    reading = read(cif(("Si1 Si 0.02 0.03 0.2",), operations(*triplets), cell))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.n_atoms == n_atoms


@pytest.mark.parametrize("number", ["'No. 225'", "'225 (Fm-3m)'", "'#225'", "'F m -3 m'", "'225, F m -3 m'"])
def test_numbers_in_all_their_spellings(number: str) -> None:
    reading = read(cif(SALT, f"{NUMBER} {number}\n"))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


def test_a_bar_as_journals_write_it() -> None:
    assert number_of_group("F m \\=3 m") == 225


def test_a_centring_that_a_list_of_all_atoms_does_not_have_is_said() -> None:
    p1 = f"{operations('x,y,z')}_space_group_centring_type F\n"
    require_remark(read(cif(SALT, p1)), Topic.SYMMETRY, "the file states the centring F")
    faces = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    every = [f"{el}{i} {el} {x + s} {y + s} {z + s}" for el, s in (("Na", 0), ("Cl", 0.5)) for i, (x, y, z) in
             enumerate(faces)]  # fmt: skip
    reading = read(cif(tuple(every), p1))
    assert reading.crystal is not None, reading.error
    assert reading.warnings == ()


@pytest.mark.parametrize("name", ["225 F4/m-32/m, Fm-3m, Oh-5", "Fm-3m, cubic", "225, F m -3 m"])
def test_names_with_numbers_and_notes(name: str) -> None:
    reading = read(cif(SALT, f"_symmetry_space_group_name_H-M '{name}'\n"))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


def test_cartesian_axes_under_the_names_of_the_pdb() -> None:
    factors = {(1, 2): 0.177305, (2, 1): 0.177305, (3, 3): 0.177305}
    axes = "".join(
        f"_atom_sites.fract_transf_matrix[{i}][{j}] {factors.get((i, j), 0)}\n" for i in (1, 2, 3) for j in (1, 2, 3)
    )
    atoms = ("Na1 Na 0 0 0", "Cl1 Cl 2.82 0 0")
    p1 = "_symmetry_space_group_name_H-M 'P 1'\n"
    reading = read(cif(atoms, p1 + axes, columns=COLUMNS.replace("fract", "Cartn")))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.frac_coords[1] == pytest.approx([0.0, 0.5, 0.0], abs=1e-4)


@pytest.mark.parametrize(
    "stated",
    ["_chemical_formula_structural 'Cu2 O'\n", "_chemical_formula_weight 143.09\n_cell_formula_units_Z 2\n",
     "_exptl_crystal_density_diffrn 6.1\n"],
)  # fmt: skip
def test_formulas_weight_and_density_decide_on_the_origin_without_a_formula_sum(stated: str) -> None:
    group = "_symmetry_space_group_name_H-M 'P n -3 m'\n"
    for atoms in (("Cu1 Cu .25 .25 .25", "O1 O 0 0 0"), ("Cu1 Cu 0 0 0", "O1 O .25 .25 .25")):
        reading = read(cif(atoms, group + stated, (4.27, 4.27, 4.27, 90, 90, 90)))
        assert reading.crystal is not None, reading.error
        assert reading.crystal.composition.formula == "Cu4O2"
