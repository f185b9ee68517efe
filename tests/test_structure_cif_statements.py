"""CIFs with statements that contradict one another or the atoms, and labels of more than one atom."""

from __future__ import annotations

import pytest
from cif_cases import require_remark
from test_structure_cif_traps import COLUMNS, CUBE, FM3M, LABELS, SALT, cif, operations, read

from lcoms.structure.reading import Topic

MONOCLINIC = (5.145, 5.208, 5.311, 90, 99.23, 90)
ZIRCONIA = ("Zr1 Zr 0.2754 0.0395 0.2083", "O1 O 0.07 0.3317 0.3447", "O2 O 0.4496 0.7569 0.4792")
P21C = ("x,y,z", "-x,y+1/2,-z+1/2", "-x,-y,-z", "x,-y+1/2,z+1/2")
P21N = ("x,y,z", "-x+1/2,y+1/2,-z+1/2", "-x,-y,-z", "x+1/2,-y+1/2,z+1/2")
NAME, NEW_NAME = "_symmetry_space_group_name_H-M", "_space_group_name_H-M_alt"
NEW_LIST = "loop_\n_space_group_symop_operation_xyz\n'x, y, z'\n'-x, 1/2+y, 1/2-z'\n'-x,-y,-z'\n'x, 1/2-y, 1/2+z'\n"


def zirconia(symmetry: str) -> str:
    return cif(ZIRCONIA, symmetry, MONOCLINIC)


def labelled(label: str, more: str = "") -> str:
    return cif((f"'{label}' 0 0 0", "Zr1 .5 .5 .5"), FM3M + more, CUBE, LABELS)


@pytest.mark.parametrize(
    ("text", "topic", "said"),
    [
        (cif(SALT, f"{NEW_NAME} 'F m -3 m'\n{NAME} 'P 1'\n"), Topic.SYMMETRY,
         "contradict one another: space group F m -3 m is 225 but space group P 1 is 1"),
        (cif(SALT, "_space_group_IT_number 225\n_symmetry_Int_Tables_number 221\n"), Topic.SYMMETRY,
         "contradict one another: number 225 but number 221"),
        (cif(SALT, "_space_group_name_Hall '-F 4 2 3'\n_symmetry_space_group_name_Hall 'P 1'\n"), Topic.SYMMETRY,
         "contradict one another: Hall symbol -F 4 2 3 is 225 but Hall symbol P 1 is 1"),
        (cif(SALT, "_space_group_IT_number 225\n_space_group_name_Schoenflies Oh^1\n"), Topic.SYMMETRY,
         "contradict one another: number 225 but number 221"),
        (zirconia(f"{NEW_NAME} 'P 1 21/c 1'\n{NAME} 'P 1 21/n 1'\n"), Topic.SYMMETRY, "are different settings"),
        (zirconia(f"{NAME} 'P 1 21/c 1'\n_space_group_name_Hall '-P 2yn'\n"), Topic.SYMMETRY, "different settings"),
        (zirconia(f"{NAME} 'P 1 21/n 1'\n{operations(*P21C)}"), Topic.SYMMETRY,
         "the listed operations are those of P 1 21/c 1, which contradicts P 1 21/n 1; the list is read."),
        (zirconia(operations(*P21N) + NEW_LIST), Topic.SYMMETRY, "two lists of operations contradict one another"),
        (cif(SALT, f"{FM3M}_chemical_formula_sum 'Na Cl'\n_chemical_formula_moiety 'Na 1+, Cl 1-, H2 O'\n"),
         Topic.FORMULA, "the formula H2 O Na Cl differs"),
        (cif(SALT, f"{FM3M}_chemical_formula_weight 76.46\n"), Topic.FORMULA, "formula units of 76.46 g/mol"),
        (cif(SALT, f"{FM3M}loop_\n_atom_type_symbol\n_atom_type_number_in_cell\nNa+ 4\nCl- 4\nH 8\n"), Topic.FORMULA,
         "the file states H8 Na4 Cl4 in the cell"),
        (cif((f"{SALT[0]} 48", f"{SALT[1]} 24"), columns=f"{COLUMNS} site_symmetry_order"), Topic.SYMMETRY,
         "site Cl1 gives 4 atoms, but the file states a multiplicity of 8, by its symmetry order"),
        (cif((f"{SALT[0]} 8c", f"{SALT[1]} 4b"), columns=f"{COLUMNS} Wyckoff_symbol"), Topic.SYMMETRY,
         "site Na1 gives 4 atoms, but the file states a multiplicity of 8"),
        (cif(SALT, cell=(10.658, 10.658, 10.658, 90, 90, 90)), Topic.CELL, "6.3 times the volume that is usual"),
        (cif(("Na/K1 Na 0 0 0", SALT[1])), Topic.ELEMENT, "the label Na/K1 names two elements; the type symbol Na"),
        (cif(SALT, f"_space_group_centring_type F\n{operations('x,y,z', '-x,-y,-z')}"), Topic.SYMMETRY,
         "the file states the centring F, but the symmetry that is read, the listed operations, has another"),
        (labelled("CN1"), Topic.ELEMENT, "the label CN1 is read as C."),
        (labelled("O(H)"), Topic.FORMULA, "the label O(H) is that of water or hydroxide"),
        (labelled("O-H"), Topic.FORMULA, "the label O-H is that of water or hydroxide"),
        (labelled("O1W"), Topic.FORMULA, "the label O1W is that of water or hydroxide"),
        (labelled("O(2)H"), Topic.FORMULA, "the label O(2)H is that of water or hydroxide"),
    ],
)  # fmt: skip
def test_contradictions_are_said(text: str, topic: Topic, said: str) -> None:
    require_remark(read(text), topic, said)


@pytest.mark.parametrize(
    "text",
    [
        cif(SALT, f"{NEW_NAME} 'F m -3 m'\n{NAME} 'F 4/m -3 2/m'\n_space_group_name_Schoenflies Oh^5\n"),
        cif(SALT, f"{NEW_NAME} 'F m -3 m'\n{NAME} '?'\n_space_group_IT_number 225\n_symmetry_Int_Tables_number 225\n"),
        cif(SALT, "_space_group_symbol 'F m -3 m'\n_space_group_centring_type F\n"),
        cif(SALT, "_symmetry_space_group_name_HM 'F m 3 m'\n_space_group_Patterson_name_H-M 'F m -3 m'\n"),
        cif(SALT, f"{NAME} 'F m -3 m :1'\n"),
        cif(SALT, f"{NAME} 'Fm-3m Z'\n"),
        cif(SALT, "_symmetry_Int_Tables_number 225.0\n"),
        cif(("Na1 Na ? ? ? 0 0 0", "Cl1 Cl . . . 2.82 2.82 2.82"), columns=f"{COLUMNS} Cartn_x Cartn_y Cartn_z"),
        zirconia(f"{NAME} 'P 21/c'\n_space_group_name_Hall '-P 2ybc'\n_space_group_IT_number 14\n"),
        zirconia(f"{NAME} 'P 21/c'\n{operations(*P21C)}{NEW_LIST}"),
        cif(ZIRCONIA[:1], operations(*P21C), MONOCLINIC).replace("_z\n", "_z\n_atom_site_symmetry_multiplicity\n")
        .replace("0.2083\n", "0.2083 1\n"),  # SHELXL-97
        cif((f"{SALT[0]} 48", f"{SALT[1]} 48"), columns=f"{COLUMNS} site_symmetry_order"),
        cif((f"{SALT[0]} a", f"{SALT[1]} 4b"), columns=f"{COLUMNS} Wyckoff_symbol"),
        cif(SALT, f"{FM3M}_chemical_formula_weight 58.44\n_cell_formula_units_Z 4\n"),
        cif(SALT, f"{FM3M}_chemical_formula_weight 58.44\n"),
        cif(SALT, f"{FM3M}loop_\n_atom_type_symbol\n_atom_type_number_in_cell\nNa 4\nCl 4\n"),
        labelled("OCo", "_chemical_formula_sum 'O Zr'\n"),
        labelled("CaM2", "_chemical_formula_sum 'Ca Zr'\n"),
        labelled("FeM1"),
        labelled("Sn4+"),
    ],
)  # fmt: skip
def test_statements_that_agree_need_no_word(text: str) -> None:
    assert read(text).crystal is not None, read(text).error
    assert read(text).warnings == ()


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Fe/Mg", "names two elements"), ("Si,Al", "names two elements"), ("Fe0.5Mg0.5", "names two elements"),
        ("FeMg", "names two elements"), ("La1Sr1", "names two elements"), ("Al-Si", "names two elements"),
        ("NH4", "a group of atoms"), ("H2O", "a group of atoms"), ("SO4", "a group of atoms"),
        ("T1", "a tetrahedral site or tritium"),
    ],
)  # fmt: skip
def test_labels_of_more_than_one_atom_are_refused(label: str, said: str) -> None:
    reading = read(labelled(label))
    assert reading.crystal is None, reading.warnings
    assert reading.error is not None
    assert (reading.error.topic, said in reading.error.sentence) == (Topic.UNKNOWN_ELEMENT, True), reading.error


def test_a_type_symbol_with_a_fraction_is_refused() -> None:
    reading = read(cif(("Fe1 Fe0.5 0 0 0", SALT[1])))
    assert reading.error is not None
    assert "the type symbol Fe0.5 holds a fraction" in reading.error.sentence


@pytest.mark.parametrize("name", ["occupancy", "site_occupancy", "occupance", "occ", "sof"])
def test_occupancies_under_any_name_are_read(name: str) -> None:
    reading = read(cif((f"{SALT[0]} 0.5", f"{SALT[1]} 1"), columns=f"{COLUMNS} {name}"))
    assert reading.error is not None
    assert reading.error.topic == Topic.PARTLY_OCCUPIED


@pytest.mark.parametrize(
    ("formula", "agrees"), [("Na199 Cl", True), ("Na0.995 Cl0.005", True), ("Na0.99 Cl0.01", True), ("Na", False)]
)
def test_one_atom_of_a_large_cell_is_not_missed(formula: str, agrees: bool) -> None:
    places = [(i, j, k) for i in range(10) for j in range(10) for k in range(2)]
    sites = (
        f"{'Na' if at else 'Cl'} {'Na' if at else 'Cl'} 0.{i} 0.{j} {k / 2}" for at, (i, j, k) in enumerate(places)
    )
    text = cif(
        tuple(sites),
        f"_symmetry_space_group_name_H-M 'P 1'\n_chemical_formula_sum '{formula}'\n",
        (33, 33, 6.6, 90, 90, 90),
    )
    assert (not any("formula sum" in said for said in read(text).warnings)) == agrees
