"""CIFs as written by programs and people: the intended crystal, a sentence on each correction, or a rejection."""

from __future__ import annotations

import numpy as np
import pytest
from cif_cases import require_remark

from lcoms.structure.cif import read_cif
from lcoms.structure.reading import Reading, Topic
from lcoms.structure.symmetry import space_group_number

MGO = ("Mg1 Mg 0 0 0", "O1 O 0.5 0.5 0.5")
BI2TE3 = ("Te1 Te 0 0 0", "Bi1 Bi 0.399 0.399 0.399", "Te2 Te 0.792 0.792 0.792")
BI2TE3_HEXAGONAL = ("Te1 Te 0 0 0", "Bi1 Bi 0 0 0.399", "Te2 Te 0 0 0.792")
ZRO2 = ("Zr1 Zr 0.2754 0.2083 0.0395", "O1 O 0.07 0.3447 0.3317", "O2 O 0.4496 0.4792 0.7569")
CALCITE = ("Ca1 Ca 0 0 0", "C1 C 0.25 0.25 0.25", "O1 O 0.5068 -0.0068 0.25")
COLUMNS = "label type_symbol fract_x fract_y fract_z"
LABELS = "label fract_x fract_y fract_z"
OCCUPIED = f"{COLUMNS} occupancy"
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'\n_symmetry_Int_Tables_number 225\n"
P1 = "_symmetry_space_group_name_H-M 'P 1'\n"
SQUARE = (4.21, 4.21, 4.21, 90, 90, 90)
RHOMBOHEDRAL = (10.476, 10.476, 10.476, 24.166, 24.166, 24.166)
HEXAGONAL = (4.386, 4.386, 30.497, 90, 90, 120)
ZIRCONIA = (5.145, 5.311, 5.208, 90, 90, 99.23)


def cif(sites: tuple[str, ...], symmetry: str = FM3M, cell: tuple[float, ...] = SQUARE, columns: str = COLUMNS) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    parameters = "".join(f"_cell_{name} {value}\n" for name, value in zip(names, cell, strict=True))
    header = "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns.split())
    return f"data_x\n{parameters}{symmetry}{header}" + "\n".join(sites) + "\n"


def name(text: str) -> str:
    return f"_symmetry_space_group_name_H-M '{text}'\n"


def number(value: int) -> str:
    return f"_symmetry_Int_Tables_number {value}\n"


def without_angles(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if "angle" not in line)


def operations(*triplets: str) -> str:
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{triplet}'\n" for triplet in triplets)


def read(text: str) -> Reading:
    (reading,) = read_cif(text)
    return reading


def assert_read(text: str, formula: str, group: int) -> Reading:
    reading = read(text)
    assert reading.crystal is not None, reading.error
    assert reading.crystal.composition.formula == formula
    assert space_group_number(reading.crystal, symprec=0.01) == group
    return reading


@pytest.mark.parametrize(
    "symmetry",
    [
        name("F m -3 m"), name("Fm-3m"), name("F m 3 m"), name("F M 3 M"), name("F_m_-3_m"), name("F 4/m -3 2/m"),
        name("Fm3\u0305m"), name("F m \\bar{3} m"), number(225), '_space_group_name_Hall "-F 4 2 3"\n',
        "_space_group.name_H-M_alt 'F m -3 m'\n", "_space_group_name_Schoenflies Oh^5\n", name("F m -3 m (225)"),
        name("Fm-3m (No. 225)"), name("F m -3 m, #225"), name("225"), "_symmetry_space_group_name_H-M \"'F m -3 m'\"\n",
    ],
)  # fmt: skip
def test_one_space_group_in_all_its_spellings(symmetry: str) -> None:
    assert assert_read(cif(MGO, symmetry), "Mg4O4", 225).warnings == ()


@pytest.mark.parametrize(
    ("symmetry", "cell", "sites", "formula", "group"),
    [
        (name("R -3 m"), RHOMBOHEDRAL, BI2TE3, "Bi2Te3", 166),
        (name("R -3 m :R"), RHOMBOHEDRAL, BI2TE3, "Bi2Te3", 166),
        (number(166), RHOMBOHEDRAL, BI2TE3, "Bi2Te3", 166),
        (name("R -3 m H"), HEXAGONAL, BI2TE3_HEXAGONAL, "Bi6Te9", 166),
        (name("R -3 m :H"), HEXAGONAL, BI2TE3_HEXAGONAL, "Bi6Te9", 166),
        (name("R-3m"), HEXAGONAL, BI2TE3_HEXAGONAL, "Bi6Te9", 166),
        (name("R -3 c RS"), (6.36, 6.36, 6.36, 46.1, 46.1, 46.1), CALCITE, "Ca2C2O6", 167),
        (name("P 21/b"), ZIRCONIA, ZRO2, "Zr4O8", 14),
        (name("P2(1)/b"), ZIRCONIA, ZRO2, "Zr4O8", 14),
        (name("C 2/c"), (4.6837, 3.4226, 5.1288, 90, 99.54, 90), ("Cu1 Cu .25 .25 0", "O1 O 0 .4184 .25"), "Cu4O4", 15),
    ],
)
def test_axes_are_those_that_fit_the_cell(
    symmetry: str, cell: tuple[float, ...], sites: tuple[str, ...], formula: str, group: int
) -> None:
    assert_read(cif(sites, symmetry, cell), formula, group)


def test_a_number_with_another_unique_axis_is_told_by_the_atoms_and_said() -> None:
    reading = assert_read(cif(ZRO2, number(14), ZIRCONIA), "Zr4O8", 14)
    assert "P 1 1 21/b fits the atoms better" in reading.warnings[0]


@pytest.mark.parametrize("symmetry", [name("F d -3 m"), name("F d 3 m"), number(227)])
@pytest.mark.parametrize("place", ["0 0 0", "0.125 0.125 0.125"])
def test_an_origin_that_is_not_stated_is_told_by_the_atoms(symmetry: str, place: str) -> None:
    assert_read(cif((f"Si1 Si {place}",), symmetry, (5.431, 5.431, 5.431, 90, 90, 90)), "Si8", 227)


@pytest.mark.parametrize(("code", "place"), [("1", "0.1 0.2 0.3"), ("2", "0.1 0.2 0.3")])
def test_an_origin_may_be_stated_by_its_code(code: str, place: str) -> None:
    site = (f"Si1 Si {place}",)
    coded = number(222) + f"_space_group_IT_coordinate_system_code {code}\n"
    found, wanted = (read(cif(site, text, (8, 8, 8, 90, 90, 90))) for text in (coded, name(f"P n -3 n :{code}")))
    assert found.remarks == wanted.remarks
    assert found.crystal is not None
    assert wanted.crystal is not None
    np.testing.assert_array_equal(found.crystal.frac_coords, wanted.crystal.frac_coords)


def test_spinel_on_the_second_origin() -> None:
    sites = ("Mg1 Mg .125 .125 .125", "Al1 Al .5 .5 .5", "O1 O .2624 .2624 .2624")
    assert_read(cif(sites, name("F d -3 m"), (8.083, 8.083, 8.083, 90, 90, 90)), "Mg8Al16O32", 227)


@pytest.mark.parametrize("ending", [":1", "S", "(origin choice 1)", ", origin choice 1", "(O1)"])
def test_a_stated_origin_counts_whatever_the_atoms_look_like(ending: str) -> None:
    reading = read(cif(("Si1 Si 0.125 0.125 0.125",), name(f"F d -3 m {ending}"), (5.431, 5.431, 5.431, 90, 90, 90)))
    assert reading.crystal is not None
    assert reading.crystal.n_atoms == 16


@pytest.mark.parametrize(
    ("text", "topic", "said"),
    [
        (cif(MGO, FM3M + operations("x,y,z")), Topic.SYMMETRY, "listed operations contradict the space group F m -3 m"),
        (cif(MGO, FM3M + operations("x,y,z", "-x,-y,-z")), Topic.SYMMETRY, "listed operations contradict"),
        (cif(MGO, P1 + number(225)), Topic.SYMMETRY, "contradict one another: space group P 1 is 1 but number 225"),
        (cif(MGO, name("F m -3 m (221)")), Topic.SYMMETRY, "space group F m -3 m is 225 but number 221"),
        (cif(MGO, ""), Topic.SYMMETRY, "no symmetry is stated"),
        (cif(MGO, FM3M + operations("x,y,z", "y,z,x")), Topic.SYMMETRY, "operations are not a group"),
        (cif(MGO, name("F foo") + number(225)), Topic.SYMMETRY, "'F foo' is not understood"),
        (cif(MGO, FM3M, (4.21, 4.21, 4.23, 90, 90, 90)), Topic.SYMMETRY, "departs from the symmetry of F m -3 m"),
        (cif(MGO, FM3M + "_chemical_formula_sum 'H2 Mg O'\n"), Topic.FORMULA, "the formula sum H2 O Mg differs"),
        (cif(MGO, FM3M + "_chemical_formula_sum 'Mg O'\n_cell_formula_units_Z 3\n"), Topic.FORMULA, "states Z = 3"),
        (cif(MGO, FM3M + "_cell_volume 80\n"), Topic.CELL, "but the file states 80"),
        (cif((MGO[0] + " 1.02(3)", MGO[1] + " 1"), FM3M, columns=OCCUPIED), Topic.OCCUPANCY, "occupancy 1.02"),
        (cif((MGO[0], "Mg2 Mg 0 0 0", MGO[1]), P1), Topic.MERGED, "listed more than once are counted once: Mg2"),
        (cif(("Mg1 Mg 0 0 0.0004", MGO[1])), Topic.MOVED, "1 site moved onto special positions, Mg1 by 0.0017"),
        (cif((*MGO, "H1 D .25 .25 .25")), Topic.ELEMENT, "D is read as H"),
        (cif(("MG1 MG 0 0 0", MGO[1])), Topic.ELEMENT, "MG is read as Mg"),
        (cif((*MGO, "X1 Va .25 .25 .25")), Topic.LEFT_OUT, "empty sites hold no atom and are left out: X1"),
        (cif((*(f"{site} d" for site in MGO), "C1 C .25 .25 .25 dum"), columns=f"{COLUMNS} calc_flag"), Topic.LEFT_OUT,
         "dummy sites are left out: C1"),
        (cif(MGO, FM3M, (421, 421, 421, 90, 90, 90)), Topic.CELL, "check the units of the cell"),
        (cif(("Mg1 Mg 0 0 0 8", "O1 O .5 .5 .5 4"), columns=f"{COLUMNS} symmetry_multiplicity"), Topic.SYMMETRY,
         "site Mg1 gives 4 atoms, but the file states a multiplicity of 8"),
        (cif(MGO, operations("x,y,z", "-x,-y,-z") + "loop_\n_space_group_symop_operation_xyz\nx,y,z\n"), Topic.SYMMETRY,
         "two lists of operations contradict one another"),
        (cif(BI2TE3, name("R -3 m :H"), RHOMBOHEDRAL), Topic.SYMMETRY, "the cell does not fit R -3 m:H, which"),
        (cif(("Mg1 Mg 0 0 0 0", "O1 O .5 .5 .5 2"), columns=f"{COLUMNS} attached_hydrogens"), Topic.FORMULA,
         "2 hydrogen atoms are attached to sites without coordinates"),
        (cif(MGO, name("?")), Topic.SYMMETRY, "no symmetry is stated"),
    ],
)  # fmt: skip
def test_what_is_mended_or_contradicts_is_said(text: str, topic: Topic, said: str) -> None:
    require_remark(read(text), topic, said)


@pytest.mark.parametrize(
    ("text", "topic", "said"),
    [
        (cif(("Mg1 Mg 0 0 0", "O1 O 0 0 0")), Topic.TOO_CLOSE, "Mg1 and O1 lie 0.00 angstrom apart"),
        (cif(MGO, name("F foo")), Topic.SYMMETRY, "'F foo' is not understood; give its number or its operations."),
        (cif(MGO, FM3M, (4.2, 4.4, 4.9, 90, 90, 90)), Topic.SYMMETRY, "the cell cannot have the symmetry of F m -3 m"),
        (cif(MGO, operations("x,y,z", "y,z,x")), Topic.SYMMETRY, "not a group: some are missing or wrong"),
        (cif(MGO, "loop_\n_space_group_symop_ssg_operation_algebraic\nx1,x2,x3,x4\n"), Topic.SYMMETRY, "superspace"),
        (cif(MGO).replace("_cell_length_a 4.21\n", ""), Topic.CELL, "_cell_length_a is missing"),
        (cif(MGO).replace("_a 4.21", "_a 4,21"), Topic.CELL, "_cell_length_a is '4,21'"),
        (cif(MGO).replace("_a 4.21", "_a 4.21\n_cell_length_a 5"), Topic.UNREADABLE, "_cell_length_a is given twice"),
        (cif((*MGO, "H1 H ? ? ?")), Topic.COORDINATES, "site H1 has no coordinates"),
        (cif((*MGO, "O2 OH .25 .25 .25")), Topic.UNKNOWN_ELEMENT, "OH is not an element"),
        (cif(("Mg 0 0 0", "Wat1 .5 .5 .5"), P1, columns=LABELS), Topic.UNKNOWN_ELEMENT, "Wat1"),
        (cif(("CA1 0 0 0",), P1, columns=LABELS), Topic.UNKNOWN_ELEMENT, "may mean two elements"),
        (cif((MGO[0] + " 0.9", MGO[1] + " 1"), columns=OCCUPIED), Topic.PARTLY_OCCUPIED, "Mg at Mg1 has occupancy 0.9"),
        (cif((MGO[0] + " 0.5", "V1 Va 0 0 0 0.5", MGO[1] + " 1"), columns=OCCUPIED), Topic.PARTLY_OCCUPIED, "0.5"),
        (cif(("Mg1 Mg 0 0 0 .", "O2 O .9 .5 .5 1", "O3 O .5 .9 .5 2"), P1, columns=f"{COLUMNS} disorder_group"),
         Topic.PARTLY_OCCUPIED, "O2 and O3 are alternatives (disorder groups 1 and 2)"),
        (without_angles(cif(("Zn1 Zn 1/3 2/3 0",), name("P 63 m c"), (3.25, 3.25, 5.21, 90, 90, 120))), Topic.SYMMETRY,
         "_cell_angle_alpha, _cell_angle_beta, _cell_angle_gamma not given; taken as 90 degrees."),
        ("data_x\n_cell_length_a 4\n", Topic.COORDINATES, "data block x has a cell and no atoms"),
        ("", Topic.COORDINATES, "no data block has a cell and atoms"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str, topic: Topic, said: str) -> None:
    reading = read(text)
    assert reading.crystal is None
    assert reading.error is not None
    assert reading.error.topic == topic
    assert said in reading.error.sentence


def test_all_atoms_listed_beside_operations_are_counted_once() -> None:
    places = ("0 0 0", ".5 .5 0", ".5 0 .5", "0 .5 .5")
    sites = tuple(f"Mg{i} Mg {place}" for i, place in enumerate(places))
    assert_read(cif((*sites, "O1 O .5 .5 .5")), "Mg4O4", 225)


def test_all_atoms_listed_beside_the_identity_do_not_contradict_the_name() -> None:
    metal = ("0 0 0", ".5 .5 0", ".5 0 .5", "0 .5 .5")
    oxygen = (".5 .5 .5", "0 0 .5", "0 .5 0", ".5 0 0")
    sites = [f"Mg{i} Mg {x}" for i, x in enumerate(metal)] + [f"O{i} O {x}" for i, x in enumerate(oxygen)]
    assert assert_read(cif(tuple(sites), FM3M + operations("x,y,z")), "Mg4O4", 225).warnings == ()


def test_rounded_thirds_are_thirds() -> None:
    sites = ("Mo1 Mo 0.3330 0.6670 0.25", "S1 S 0.33300 0.66600 0.621")
    reading = assert_read(cif(sites, name("P 63/m m c"), (3.16, 3.16, 12.3, 90, 90, 120)), "Mo2S4", 194)
    assert reading.crystal is not None
    np.testing.assert_allclose(reading.crystal.frac_coords[0], [1 / 3, 2 / 3, 0.25], atol=1e-9)


def test_the_formula_sum_decides_what_a_label_means() -> None:
    text = cif(("CA1 0 0 0", "OW1 .5 .5 .5"), FM3M + "_chemical_formula_sum 'Ca O'\n", columns=LABELS)
    assert_read(text, "Ca4O4", 225)


def test_one_element_in_two_states_fills_a_site() -> None:
    sites = ("Fe1 Fe2+ 0 0 0 0.33", "Fe2 Fe3+ 0 0 0 0.67", "O1 O2- .5 .5 .5 .")
    assert "merged" in assert_read(cif(sites, columns=OCCUPIED), "Fe4O4", 225).warnings[0]


@pytest.mark.parametrize("value", [".", "?"])
def test_an_occupancy_that_is_not_given_is_one(value: str) -> None:
    assert_read(cif((f"{MGO[0]} {value}", f"{MGO[1]} 1"), columns=OCCUPIED), "Mg4O4", 225)


def test_angles_that_are_not_given_are_right_and_said() -> None:
    assert "taken as 90 degrees" in assert_read(without_angles(cif(MGO)), "Mg4O4", 225).warnings[0]


def test_one_of_two_alternatives_with_occupancy_zero_makes_an_ordered_crystal() -> None:
    sites = ("Mg1 Mg 0 0 0 . .", "O1 O .5 .5 .5 1 1", "O2 O .9 .5 .5 2 0")
    assert_read(cif(sites, P1, columns=f"{COLUMNS} disorder_group occupancy"), "MgO", 221)
    assert_read(cif(("Mg1 Mg 0 0 0 1", "O1 O .5 .5 .5 1"), columns=f"{COLUMNS} disorder_group"), "Mg4O4", 225)


def test_disorder_groups_of_different_assemblies_are_no_alternatives() -> None:
    sites = ("Mg1 Mg 0 0 0 A 1", "O1 O .5 .5 .5 B 2")
    assert_read(cif(sites, columns=f"{COLUMNS} disorder_assembly disorder_group"), "Mg4O4", 225)


def test_cartesian_coordinates_need_the_cell() -> None:
    sites = ("Mg1 Mg 0 0 0", "O1 O 2.105 2.105 2.105")
    assert_read(cif(sites, P1, columns=COLUMNS.replace("fract", "Cartn")), "MgO", 221)


def test_cif_2_with_dots_lists_and_triple_quotes() -> None:
    head = "#\\#CIF_2.0\n"
    extra = "_x.y '''a 'b'\nc'''\n_x.z [1 [2 3]]\n_x.t {'a':1}\n"
    dotted = cif(MGO).replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site.")
    assert_read(head + dotted.replace("data_x\n", "data_x\n" + extra), "Mg4O4", 225)


def test_magnetic_cells_hold_all_atoms_and_lose_their_moments() -> None:
    symmetry = (
        "loop_\n_space_group_symop_magn_operation.id\n_space_group_symop_magn_operation.xyz\n"
        "1 x,y,z,+1\n2 -x,-y,-z,-1\n"
        "loop_\n_space_group_symop_magn_centering.id\n_space_group_symop_magn_centering.xyz\n"
        "1 x,y,z,+1\n2 x+1/2,y+1/2,z,+1\n3 x+1/2,y,z+1/2,-1\n4 x,y+1/2,z+1/2,-1\n"
        "loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\nMg1 1.9(1)\n"
    )
    assert assert_read(cif(MGO, symmetry), "Mg4O4", 225).warnings == ("magnetic moments are not kept.",)


def test_every_block_is_read_or_accounted_for() -> None:
    bad = cif(("Mg1 Mg 0 0 0", "O1 O 0 0 0")).replace("data_x", "data_bad")
    alone = "data_alone\n_cell_length_a 4\n"
    readings = read_cif("data_global\n_journal_year 1999\n" + bad + cif(MGO) + alone)
    assert [(reading.name, reading.crystal is None) for reading in readings] == [("bad", True), ("x", False)]
    assert "data block alone has a cell and no atoms" in readings[0].warnings[-1]
