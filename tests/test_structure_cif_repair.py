"""CIF text that people can read and parsers cannot: missing quotes and headers, odd uncertainties, other encodings."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_structure_cif_traps import COLUMNS, FM3M, SALT, cif, read

from lcoms.structure.cif_block import uncertain_number
from lcoms.structure.io import read_file

UNQUOTED = "loop_\n_symmetry_equiv_pos_site_id\n_symmetry_equiv_pos_as_xyz\n1 x, y, z\n2 -x, 1/2 + y, -z\n"
PLAIN = "loop_\n_symmetry_equiv_pos_as_xyz\n x, y, z\n -x, y+1/2, -z\n"


@pytest.mark.parametrize(
    "text",
    [
        cif(SALT).removeprefix("data_x\n"),
        cif(SALT).replace("data_x", "data_NaCl rock salt"),
        cif(SALT, FM3M.replace("'", "")),
        cif(
            SALT,
            f"{FM3M}_publ_section_title\n;\n_not quoted here\n;\n_note see data of O'Neill\n".replace("'F", "F", 1),
        ),
        cif(SALT, f"_chemical_name_common Kochsalz \u00e4\n{FM3M}"),
    ],
)
def test_quotes_and_headers_may_be_missing(text: str) -> None:
    reading = read(text)
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


def test_a_block_name_with_spaces_is_kept() -> None:
    assert read(cif(SALT).replace("data_x", "data_NaCl rock salt")).name == "NaCl_rock_salt"


@pytest.mark.parametrize("symmetry", [UNQUOTED, PLAIN])
def test_operations_need_no_quotes(symmetry: str) -> None:
    reading = read(cif(("Si1 Si 0.1 0.2 0.3",), symmetry, (4, 4, 4, 90, 90, 90)))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.n_atoms == 2


def test_what_cannot_be_repaired_is_refused_with_its_line() -> None:
    reading = read(cif(SALT).replace("0.5 0.5 0.5", "0.5 0.5"))
    assert reading.error is not None
    assert "line 9 (loop_): Wrong number of values" in reading.error.sentence


@pytest.mark.parametrize(
    ("text", "value", "uncertainty"),
    [
        ("5.640(2)", 5.64, 0.002), ("5.640(-)", 5.64, 0.0), ("5.640()", 5.64, 0.0), ("5.640(**)", 5.64, 0.0),
        ("5.640(-1)", 5.64, 0.0), ("5.640(0.003)", 5.64, 0.003), ("5.640 ( 2)", 5.64, 0.002),
        ("5.640\u00b10.003", 5.64, 0.003), ("5.640 +/- 0.003", 5.64, 0.003), ("5.64(a)", None, 0.0),
        ("5,64", None, 0.0),
    ],
)  # fmt: skip
def test_uncertainties_in_all_their_spellings(text: str, value: float | None, uncertainty: float) -> None:
    assert uncertain_number(text) == (value, pytest.approx(uncertainty))


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        (b"length_a 5", b"length_a\xa05"),
        (b"Cl 0.5", b"Cl \x960.5"),
        (b"\n", b"\r\r\n"),
        (b"loop_", b"\x0cloop_"),
        (b"data_x", b"# K\xf6nig\ndata_x"),
    ],
)
def test_characters_of_windows_and_of_printers_are_read(tmp_path: Path, plain: bytes, odd: bytes) -> None:
    file = tmp_path / "x.cif"
    file.write_bytes(cif(SALT).encode().replace(plain, odd) + b"\0\0")
    (reading,) = read_file(file)
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ((5.64, 5.64, 5.64, 1.5708, 1.5708, 1.5708), "are as small as radians; give them in degrees"),
        ((0.564, 0.564, 0.564, 90, 90, 90), "give the lengths of the cell in angstrom, not in nm"),
    ],
)
def test_other_units_are_refused(cell: tuple[float, ...], said: str) -> None:
    reading = read(cif(SALT, cell=cell))
    assert reading.error is not None
    assert said in reading.error.sentence


def test_coordinates_times_10000_are_refused() -> None:
    reading = read(cif((SALT[0], "Cl1 Cl 5000(2) 5000(2) 5000(2)")))
    assert reading.error is not None
    assert "a fractional coordinate of 5000; give coordinates as fractions" in reading.error.sentence


@pytest.mark.parametrize(("symbol", "formula"), [("PO4", ""), ("NO3", ""), ("CO", "_chemical_formula_sum 'Na C O'\n")])
def test_a_type_symbol_of_a_group_is_no_other_element(symbol: str, formula: str) -> None:
    reading = read(cif((SALT[0], f"X1 {symbol} 0.5 0.5 0.5"), FM3M + formula))
    assert reading.error is not None
    assert f"the type symbol {symbol} is that of a group of atoms" in reading.error.sentence


@pytest.mark.parametrize("symbol", ["Na(I)", "Na+I", "Na1+"])
def test_oxidation_states_are_no_elements(symbol: str) -> None:
    reading = read(cif((f"Na1 {symbol} 0 0 0", SALT[1]), columns=COLUMNS))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


@pytest.mark.parametrize(
    ("length", "angle"), [("5.64\u00c5", "90\u00b0"), ("'5.64 A'", "'90 deg'"), ("5.64", "90.0(-)")]
)
def test_units_of_the_cell_may_be_written_out(length: str, angle: str) -> None:
    reading = read(cif(SALT).replace("a 5.64", f"a {length}").replace("alpha 90", f"alpha {angle}"))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Na4Cl4", ())


def test_other_units_of_the_cell_are_named() -> None:
    reading = read(cif(SALT).replace("a 5.64", "a '0.564 nm'"))
    assert reading.error is not None
    assert "_cell_length_a is '0.564 nm'; give it in angstrom" in reading.error.sentence
