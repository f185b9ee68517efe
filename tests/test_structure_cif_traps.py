"""CIFs from which a wrong crystal could be read without a word: incomplete lists, several models, missing atoms."""

from __future__ import annotations

import pytest
from cif_cases import require_remark

from lcoms.structure.cif import read_cif
from lcoms.structure.reading import Reading, Topic

SALT = ("Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5")
COLUMNS = "label type_symbol fract_x fract_y fract_z"
LABELS = "label fract_x fract_y fract_z"
CARTESIAN = "label type_symbol Cartn_x Cartn_y Cartn_z"
P1 = "_symmetry_space_group_name_H-M 'P 1'\n"
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'\n"
CUBE = (5.64, 5.64, 5.64, 90, 90, 90)
MONOCLINIC = (7.0, 5.6, 6.0, 90, 100, 90)
C2 = ("x,y,z", "-x,y,-z", "x+1/2,y+1/2,z", "-x+1/2,y+1/2,-z")


def cif(sites: tuple[str, ...], symmetry: str = FM3M, cell: tuple[float, ...] = CUBE, columns: str = COLUMNS) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    parameters = "".join(f"_cell_{name} {value}\n" for name, value in zip(names, cell, strict=True))
    header = "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns.split())
    return f"data_x\n{parameters}{symmetry}{header}" + "\n".join(sites) + "\n"


def operations(*triplets: str) -> str:
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{triplet}'\n" for triplet in triplets)


def silicon(symmetry: str) -> str:
    return cif(("Si1 Si 0.1 0.2 0.3",), symmetry, MONOCLINIC)


def read(text: str) -> Reading:
    (reading,) = read_cif(text)
    return reading


@pytest.mark.parametrize(
    "symmetry",
    [
        operations(*C2),
        operations(*(triplet.replace("-", "\u2212") for triplet in C2)),
        operations(*(f"{i} {triplet}" for i, triplet in enumerate(C2, 1))),
        operations(*(f"{triplet}," for triplet in C2)),
        "_symmetry_equiv_pos_as_xyz\n;\n" + "\n".join(C2) + "\n;\n",
        operations("x,y,z", "-x,y,-z", "1/2 + X, .5 + Y, Z", "1/2 - X, .5 + Y, -Z"),
    ],
)
def test_operations_in_all_their_spellings(symmetry: str) -> None:
    reading = read(silicon(symmetry))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.n_atoms, reading.warnings) == (4, ())


@pytest.mark.parametrize(
    ("plain", "copied"), [("-0.5", "\u22120.5"), ("-0.5", "\u20130.5"), (" ", "\u00a0"), (" ", "\u2009")]
)
def test_minus_signs_and_spaces_of_web_pages_are_read(plain: str, copied: str) -> None:
    text = cif(("Na1 Na 0 0 0", "Cl1 Cl -0.5 0.5 0.5"))
    reading = read(text.replace(plain, copied))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


def test_a_list_that_lacks_only_the_identity_is_completed_and_it_is_said() -> None:
    reading = read(silicon(operations(*C2[1:])))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.n_atoms == 4
    assert reading.warnings == ("the list of operations lacks the identity x,y,z, which is added.",)


@pytest.mark.parametrize("occupancy", ["0.97(3)", "1.1", "0.95(10)", "1.05"])
def test_occupancies_within_their_uncertainty_of_one_are_one(occupancy: str) -> None:
    reading = read(cif((f"{SALT[0]} {occupancy}", f"{SALT[1]} 1"), columns=f"{COLUMNS} occupancy"))
    assert reading.crystal is not None, reading.error
    assert [remark.topic for remark in reading.remarks] == [Topic.OCCUPANCY]


@pytest.mark.parametrize(
    ("text", "topic", "said"),
    [
        (cif(("Ow1 0 0 0", "Cl1 .5 .5 .5"), columns=LABELS), Topic.ELEMENT, "the label Ow1 is read as O."),
        (cif(("Na1 0 0 0", "OH .5 .5 .5"), columns=LABELS), Topic.FORMULA, "water or hydroxide"),
        (cif(("Na1 Na 0 0 0", "OW1 O .5 .5 .5")), Topic.FORMULA, "the label OW1 is that of water or hydroxide"),
        (cif(("K1 Na 0 0 0", SALT[1])), Topic.ELEMENT, "the label K1 and the type symbol Na name different elements"),
        (cif(("H1 2H 0 0 0", SALT[1])), Topic.ELEMENT, "2H is read as H."),
        (cif(SALT, f"{FM3M}_chemical_formula_moiety 'Na 1+, Cl 1-, H2 O'\n"), Topic.FORMULA, "the formula H2 O Na Cl"),
        (cif(SALT, f"{FM3M}_chemical_formula_structural 'Na Cl (H2 O)2'\n"), Topic.FORMULA, "the formula H4 O2 Na Cl"),
        (cif(SALT, f"{FM3M}_exptl_crystal_density_diffrn 3.5\n"), Topic.FORMULA, "density of 2.16 g/cm3, but"),
        (cif(SALT, f"{FM3M}_cell_formula_units_Z 3\n"), Topic.FORMULA, "are not Z = 3 formula units"),
        (cif((SALT[0], "Cl1 Cl 2.82 2.82 2.82"), P1), Topic.CELL, "coordinate of 2.82; check that it is not in angstr"),
        (cif((f"{SALT[0]} 0 0 0", f"{SALT[1]} 1 1 1"), columns=f"{COLUMNS} Cartn_x Cartn_y Cartn_z"), Topic.SYMMETRY,
         "the fractional and the Cartesian coordinates contradict"),
        (cif(SALT, f"{FM3M}loop_\n_atom_site_displace_Fourier_atom_site_label\nNa1\n"), Topic.LEFT_OUT, "modulation"),
    ],
)  # fmt: skip
def test_what_may_be_missing_or_meant_otherwise_is_said(text: str, topic: Topic, said: str) -> None:
    require_remark(read(text), topic, said)


@pytest.mark.parametrize(
    "text",
    [
        cif(SALT, f"{FM3M}_chemical_formula_moiety 'Na 1+, Cl 1-'\n_exptl_crystal_density_diffrn 2.16\n"),
        cif(SALT, f"{FM3M}_chemical_formula_sum '?'\n_cell_formula_units_Z 4\n"),
        cif(("B1 Na 0 0 0", "C1 Cl .5 .5 .5"), f"{FM3M}_chemical_formula_sum 'Cl Na'\n"),
        cif((f"{SALT[0]} 0 0 0", f"{SALT[1]} 2.82 2.82 2.82"), columns=f"{COLUMNS} Cartn_x Cartn_y Cartn_z"),
        cif(("O1 O 0 0 0", "OW1 O .5 .5 .5"), f"{FM3M}_chemical_formula_sum 'O'\n"),
    ],
)
def test_statements_that_agree_need_no_word(text: str) -> None:
    assert read(text).crystal is not None
    assert read(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "topic", "said"),
    [
        (silicon(operations("x1,x2,x3,x4", "-x1,-x2,-x3,-x4")), Topic.SYMMETRY, "4 components in 'x1,x2,x3,x4'"),
        (silicon(operations("\u03b1,y,z")), Topic.SYMMETRY, "unexpected characters in"),
        (silicon("loop_\n_space_group_symop_generator_xyz\nx,y,z\n-x,y,-z\n"), Topic.SYMMETRY, "only generators"),
        (cif(("Na1 0 0 0", "H2O1 .5 .5 .5"), columns=LABELS), Topic.UNKNOWN_ELEMENT, "is that of a group of atoms"),
        (cif(("Na0.5 0 0 0", "Cl1 .5 .5 .5"), columns=LABELS), Topic.UNKNOWN_ELEMENT, "holds a fraction"),
        (silicon("_space_group_ssg_name 'P m(00g)'\n"), Topic.SYMMETRY, "a modulated structure in superspace"),
        (silicon("loop_\n_space_group_symop_magn_OG_operation.xyz\nx,y,z,+1\n"), Topic.SYMMETRY, "not listed"),
        (cif(SALT, f"{FM3M}loop_\n_atom_site_occ_special_func_atom_site_label\nNa1\n"), Topic.PARTLY_OCCUPIED,
         "the occupancies are modulated"),
        (cif(SALT, f"{P1}loop_\n_cell_subsystem_code\n_cell_subsystem_matrix_W_1_1\n1 1\n2 1\n"), Topic.SYMMETRY,
         "a composite of subsystems"),
        (cif((f"{SALT[0]} 0.6(5)", f"{SALT[1]} 1"), columns=f"{COLUMNS} occupancy"), Topic.PARTLY_OCCUPIED, "0.6"),
        (cif((f"{SALT[0]} 100", f"{SALT[1]} 1"), columns=f"{COLUMNS} occupancy"), Topic.PARTLY_OCCUPIED,
         "the occupancy of site Na1 is 100, which is not possible"),
        (cif(("1 Na 0 0 0 1", "2 Cl 2.8 2.8 2.8 1", "1 Na 0 0 1 2", "2 Cl 2.8 2.8 2.9 2"), P1,
             columns=f"{CARTESIAN} pdbx_PDB_model_num"), Topic.SEVERAL, "holds 2 models"),
        (cif(("1 Na 0 0 0 .", "2 Cl 2.8 2.8 2.8 A", "3 Cl 2.8 2.8 0.9 B"), P1, columns=f"{CARTESIAN} label_alt_id"),
         Topic.PARTLY_OCCUPIED, "2 and 3 are alternatives"),
        (cif(SALT, "", columns=COLUMNS) + "data_symmetry\n" + FM3M, Topic.SYMMETRY, "but data block symmetry does"),
        (cif(SALT).replace("_cell_length_a 5.64\n", "loop_\n_cell_length_a\n5.64 5.70\n"), Topic.UNREADABLE,
         "_cell_length_a has 2 values, such as '5.64' and '5.70'"),
    ],
)  # fmt: skip
def test_what_would_give_another_crystal_is_refused(text: str, topic: Topic, said: str) -> None:
    reading = read(text)
    assert reading.crystal is None, reading.warnings
    assert reading.error is not None
    assert (reading.error.topic, said in reading.error.sentence) == (topic, True), reading.error


def test_atoms_in_save_frames_are_read_or_accounted_for() -> None:
    frame = cif(SALT).replace("data_x\n", "save_phase\n") + "save_\n"
    readings = read_cif(f"{cif(SALT)}{frame}")
    assert [reading.name for reading in readings] == ["x", "x, save frame phase"]
    assert all(reading.crystal is not None for reading in readings)


def test_a_number_alone_whose_atoms_favour_another_cell_choice_is_said() -> None:
    zirconia = ("Zr1 Zr 0.2083 -0.0395 0.2754", "O1 O 0.3447 -0.3317 0.07", "O2 O 0.4792 -0.7569 0.4496")
    cell = (5.317, 5.212, 5.150, 90, 99.23, 90)
    assert read(cif(zirconia, "_symmetry_space_group_name_H-M 'P 1 21/a 1'\n", cell)).warnings == ()
    reading = read(cif(zirconia, "_symmetry_Int_Tables_number 14\n", cell))
    assert [remark.topic for remark in reading.remarks] == [Topic.ORIGIN]
    assert "P 1 21/c 1 is taken, though P 1 21/a 1 would fit the atoms better" in reading.warnings[0]
