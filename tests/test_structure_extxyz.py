"""Frames of extended XYZ files: all are read or reported."""

from __future__ import annotations

import pytest

from lcoms.structure.extxyz import read_extxyz
from lcoms.structure.reading import Topic

HEADER = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
SALT = f"2\n{HEADER}Na 0 0 0\nCl 2 2 2\n"
SYLVITE = SALT.replace("Na", "K")


def formulas(text: str) -> list[str]:
    return ["" if one.crystal is None else one.crystal.composition.formula for one in read_extxyz(text)]


def test_frames_behind_blank_lines_are_read() -> None:
    assert formulas(SALT + "\n\n" + SYLVITE + "\n") == ["NaCl", "KCl"]


def test_a_bad_frame_does_not_end_the_rest() -> None:
    assert formulas(SALT.replace("Na 0 0 0", "Na 0 0 z") + SYLVITE) == ["", "KCl"]


def test_a_frame_cut_short_is_accounted_for() -> None:
    assert formulas(SALT + "5\n" + HEADER + "Na 0 0 0\n") == ["NaCl", ""]


def test_fortran_exponents_and_deuterium() -> None:
    text = SALT.replace('"4 0', '"4.0D+00 0').replace("2 2 2", "2.0d0 2 2").replace("Na", "D")
    (reading,) = read_extxyz(text)
    assert reading.crystal is not None
    assert (reading.crystal.composition.formula, reading.warnings) == ("HCl", ("D is read as H.",))


@pytest.mark.parametrize(("typed", "symbol"), [("NA", "Na"), ("na", "Na"), ("CO", "Co"), ("T", "H")])
def test_odd_capitals_and_isotopes_are_said(typed: str, symbol: str) -> None:
    for text in (SALT, SALT.replace("Properties=species:S:1:pos:R:3 ", "")):
        (reading,) = read_extxyz(text.replace("Na", typed))
        assert reading.crystal is not None, reading.error
        assert reading.warnings == (f"{typed} is read as {symbol}.",)


def test_odd_capitals_are_said_in_any_column() -> None:
    text = SALT.replace("species:S:1:pos:R:3", "id:I:1:pos:R:3:species:S:1")
    (reading,) = read_extxyz(text.replace("Na 0 0 0", "1 0 0 0 CO").replace("Cl 2 2 2", "2 2 2 2 Cl"))
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("CoCl", ("CO is read as Co.",))


@pytest.mark.parametrize("name", ["magmoms", "magmom", "initial_magmoms", "magnetic_moments", "spin"])
def test_magnetic_moments_are_said(name: str) -> None:
    text = SALT.replace("pos:R:3", f"pos:R:3:{name}:R:1").replace("0 0 0\n", "0 0 0 1\n").replace("2 2 2", "2 2 2 1")
    (reading,) = read_extxyz(text)
    assert reading.warnings == ("magnetic moments are not kept.",)


def test_charges_are_said() -> None:
    (reading,) = read_extxyz(SALT.replace("Properties", "charge=1 Properties"))
    assert reading.warnings == ("the charge of the cell, 1, is not kept.",)


def test_constraints_are_said() -> None:
    text = (
        SALT.replace("pos:R:3", "pos:R:3:move_mask:L:1").replace("0 0 0\n", "0 0 0 T\n").replace("2 2 2\n", "2 2 2 F\n")
    )
    (reading,) = read_extxyz(text)
    assert reading.warnings == ("constraints on atoms are not kept: all atoms may move.",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SALT.replace("species:S:1:", "").replace("Na ", "").replace("Cl ", ""), "without element symbols"),
        (SALT.replace("Na", "X"), "without element symbols"),
        (SALT.replace("Na", "A"), "A is not an element symbol"),
        (SALT.replace("T T T", "T T F"), "not periodic"),
        (SALT.replace(HEADER, "salt\n"), "the second line gives no cell"),
        (SALT.replace("0 0 0\n", "nan 0 0\n"), "not a number"),
        (SALT.replace("2 2 2", "0 0 4"), "lie 0.00 angstrom apart"),
        (SALT.replace("pos:R", "frac_pos:R"), "the Properties have no positions; name their columns pos:R:3"),
        (f"0\n{HEADER}", "a frame of 0 atoms; from 1"),
        (SALT.replace("Cl 2 2 2\n", ""), "a frame of 2 atoms is cut short"),
        ("", "it is empty"),
        (SALT.replace("pos:R:3", "pos:R:3:occupancy:R:1").replace("0 0 0\n", "0 0 0 .5\n").replace("2 2 2", "2 2 2 1"),
         "partly occupied sites"),
        (SALT.replace("pbc", 'occupancy="_JSON {\\"0\\": {\\"Na\\": 0.5, \\"K\\": 0.5}}" pbc'), "partly occupied"),
        (SALT.replace("pbc", "units=bohr pbc"), "lengths are in bohr"),
        (SALT.replace("T\"\n", "T\" positions in Bohr\n"), "lengths are in Bohr"),
        (SALT.replace("pbc", 'length_unit="a0" pbc'), "lengths are in a0"),
        (SALT.replace("pos:R:3", "pos:R:3:occupation:R:1").replace("0 0 0\n", "0 0 0 .5\n").replace("2 2 2", "2 2 2 1"),
         "partly occupied sites"),
        (SALT.replace("pbc", 'Lattice="5 0 0 0 5 0 0 0 5" pbc'), "gives two cells"),
        (SALT.replace("4 0 0 0 4 0 0 0 4", "4 4 4 90 90 90"), "the cell needs nine numbers"),
    ],
)  # fmt: skip
def test_frames_that_are_no_crystals_are_refused(text: str, said: str) -> None:
    (reading,) = read_extxyz(text)
    assert reading.error is not None
    assert said in reading.error.sentence


@pytest.mark.parametrize("said", ["energy_unit=au", "force_unit=Ha/bohr", "forces in Ha/bohr", "length_unit=angstrom"])
def test_other_units_are_not_those_of_lengths(said: str) -> None:
    assert formulas(SALT.replace("pbc", f"{said} pbc")) == ["NaCl"]


def test_keys_of_the_second_line_may_have_other_capitals() -> None:
    assert formulas(SALT.replace("Lattice", "lattice").replace("Properties", "properties")) == ["NaCl"]
    (reading,) = read_extxyz(SALT.replace("pbc", "PBC").replace("T T T", "T T F"))
    assert reading.error is not None
    assert "not periodic" in reading.error.sentence


def test_a_blank_line_between_atoms_is_named() -> None:
    first = read_extxyz(SALT.replace("0 0 0\n", "0 0 0\n\n"))[0]
    assert first.error is not None
    assert first.error.sentence.endswith("atom 2 is a blank line.")


@pytest.mark.parametrize("column", ["Z", "numbers", "atomic_numbers"])
def test_symbols_and_atomic_numbers_must_agree(column: str) -> None:
    cell = 'Lattice="4 0 0 0 4 0 0 0 4"'
    frame = f"2\n{cell} Properties=species:S:1:pos:R:3:{column}:I:1\nNa 0 0 0 11\nCl 2 2 2 {{}}\n"
    assert formulas(frame.format(17)) == ["NaCl"]
    (reading,) = read_extxyz(frame.format(9))
    assert reading.error is not None
    assert reading.error.sentence == "atom 2 is Cl by its symbol and 9 by its number; take one column out."


@pytest.mark.parametrize("name", ["occupancy", "Occupancy", "site_occ", "occupation"])
def test_partial_occupancies_in_any_column_are_refused(name: str) -> None:
    text = SALT.replace("pos:R:3", f"pos:R:3:{name}:R:1").replace("0 0 0\n", "0 0 0 .5\n").replace("2 2 2", "2 2 2 1")
    (reading,) = read_extxyz(text)
    assert reading.error is not None
    assert reading.error.topic == Topic.PARTLY_OCCUPIED


def test_a_frame_with_more_atoms_than_announced_is_refused() -> None:
    (reading,) = read_extxyz(SALT.replace("2\n", "1\n", 1))
    assert reading.error is not None
    assert "more lines of atoms follow than the 1 that frame 1 announces" in reading.error.sentence


def test_decimal_commas_are_named() -> None:
    (reading,) = read_extxyz(SALT.replace("2 2 2", "2,0 2,0 2,0"))
    assert reading.error is not None
    assert "has decimal commas, 'Cl 2,0 2,0 2,0'; write points" in reading.error.sentence
