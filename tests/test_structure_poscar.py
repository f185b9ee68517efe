"""POSCARs as VASP reads them, and messages for those that it would misread."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure.poscar import read_poscar
from lcoms.structure.symmetry import space_group_number

CELL = "4.21 0 0\n0 4.21 0\n0 0 4.21\n"
UNIT = "1 0 0\n0 1 0\n0 0 1\n"
ATOMS = "0 0 0\n.5 .5 0\n.5 0 .5\n0 .5 .5\n.5 .5 .5\n.5 0 0\n0 .5 0\n0 0 .5\n"


ROWS = ATOMS.splitlines()


def poscar(
    *,
    comment: str = "x",
    scale: str = "1.0",
    cell: str = CELL,
    symbols: str = "Mg O\n",
    mode: str = "Direct",
    atoms: str = ATOMS,
) -> str:
    return f"{comment}\n{scale}\n{cell}{symbols}4 4\n{mode}\n{atoms}"


def scaled(factor: float) -> str:
    return "".join(" ".join(str(float(x) * factor) for x in row.split()) + "\n" for row in ATOMS.splitlines())


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        (poscar(), 4.21**3),
        (poscar(scale="-80.0"), 80.0),
        (poscar(scale="-80.0", cell="2 0 0\n0 2 0\n0 0 2\n", mode="Cartesian", atoms=scaled(2)), 80.0),
        (poscar(scale="4.21 4.21 4.21", cell=UNIT), 4.21**3),
        (poscar(scale="4.21 4.21 4.21", cell=UNIT, mode="cart"), 4.21**3),
        (poscar(scale="4.21", cell=UNIT, mode="K"), 4.21**3),
        (poscar(scale="1.0D+00", cell=CELL.replace("4.21", "0.421D+01")), 4.21**3),
        (poscar(scale="1.0 ! none", symbols="Mg_pv O/1a2b\n", atoms=ATOMS.replace("\n", " ! here\n")), 4.21**3),
        (poscar(atoms=ATOMS + "\nLattice velocities and vectors\n  1\n" + CELL + CELL + "\n" + ATOMS), 4.21**3),
        (poscar(atoms=ATOMS + "\n" + ATOMS), 4.21**3),
        (poscar(atoms=ATOMS + "\n 20 20 20\n 0.1 0.2 0.3\n"), 4.21**3),  # a density follows
        (poscar(atoms="".join(f"{row} {'Mg1' if i < 4 else 'O1'}\n" for i, row in enumerate(ROWS))), 4.21**3),
    ],
)
def test_dialects_of_vasp(text: str, volume: float) -> None:
    reading = read_poscar(text)
    assert reading.crystal is not None, reading.error
    assert (reading.crystal.composition.formula, reading.warnings) == ("Mg4O4", ())
    assert space_group_number(reading.crystal, symprec=0.01) == 225
    assert reading.crystal.volume == pytest.approx(volume)


@pytest.mark.parametrize("comment", ["relaxed cell, run 12", "#POSCAR written by tool", "MgO"])
def test_without_symbols_it_is_refused(comment: str) -> None:
    reading = read_poscar(poscar(comment=comment, symbols=""))
    assert reading.error is not None
    assert "no element symbols (VASP 4)" in reading.error.sentence


def test_symbols_of_the_comment_line_or_behind_the_atoms_are_said() -> None:
    behind = "".join(f"{row} {'Mg' if i < 4 else 'O'}\n" for i, row in enumerate(ATOMS.splitlines()))
    for text in (poscar(comment="Mg O", symbols=""), poscar(symbols="", atoms=behind)):
        reading = read_poscar(text)
        assert reading.crystal is not None
        np.testing.assert_array_equal(reading.crystal.atomic_numbers, [12] * 4 + [8] * 4)
        assert len(reading.warnings) == 1
        assert "symbols" in reading.warnings[0]


def test_flags_of_selective_dynamics_are_said() -> None:
    reading = read_poscar(poscar(mode="Selective dynamics\nDirect", atoms=ATOMS.replace("\n", " T T F\n")))
    assert reading.warnings == ("the flags of selective dynamics are not kept: all atoms may move.",)
    free = read_poscar(poscar(mode="Selective dynamics\nDirect", atoms=ATOMS.replace("\n", " T T T\n")))
    assert (free.crystal is None, free.warnings) == (False, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (poscar(mode="angstrom"), "line 8 says 'angstrom', neither Direct nor Cartesian"),
        (poscar(mode=""), "line 8 says 'nothing', neither Direct nor Cartesian"),
        (poscar(atoms=ATOMS.replace("0 0 .5", "5 0 .5")), "atom 8 has a fractional coordinate of"),
        (poscar(atoms=ATOMS.replace("\n", " T T F\n")), "the flags of selective dynamics are not kept"),
        (poscar(atoms=ATOMS.replace("\n", " 0.5\n")), "numbers beside the coordinates, such as 0.5, are not read"),
        (poscar(atoms=ATOMS.replace("\n", " Mg1\n")), "contradict line 6, first at atom 5"),
        (poscar() + poscar(symbols="Ca O\n"), "another structure follows the first one; it is left out"),
        (poscar() + "\n" + poscar(symbols="Ca O\n"), "another structure follows the first one; it is left out"),
        (poscar(atoms=ATOMS + "\n0.25 0.25 0.25\n"), "1 line of three numbers follows the 8 atoms, too few for"),
        (poscar().replace(poscar().split("\n")[0], "Ca4 O4", 1), "the comment line says 'Ca4 O4', but the atoms are"),
        (poscar(comment="MgO2 rock salt"), "the comment line says 'MgO2', but the atoms are Mg4O4"),
        (poscar(scale="1.0 bohr"), "mention bohr; lengths of a POSCAR are in angstrom"),
        (poscar(cell=CELL.replace("4.21", "7.956")), "4.2 times the volume that is usual for these atoms"),
    ],
)
def test_what_may_be_meant_otherwise_is_said(text: str, said: str) -> None:
    reading = read_poscar(text)
    assert reading.crystal is not None, reading.error
    assert len(reading.warnings) == 1
    assert said in reading.warnings[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (poscar(scale="4.21 -4.21 4.21", cell=UNIT), "gives no cell"),
        (poscar(scale="0"), "gives no cell"),
        (poscar(scale="1.0 2.0"), "one scale or three, not '1.0 2.0'"),
        (poscar(symbols="Mg Qq\n"), "Qq on line 6 is not an element symbol"),
        (poscar(symbols="Mg O H\n"), "line 6 has 3 symbols and line 7 2 counts"),
        (poscar(atoms=ATOMS[:30]), "cut short"),
        (poscar(mode="0 0 0"), "should say Direct or Cartesian"),
        (poscar(atoms=ATOMS.replace(".5 .5 0", "0 0 0")), "lie 0.00 angstrom apart"),
        (poscar(atoms=ATOMS.replace(".5 .5 0", "***** 0 0")), "atom 2 should begin with 3 numbers"),
        (poscar(cell="1 0 0\n1 0 0\n0 0 1\n"), "span no volume"),
        ("hello\n", "it has 2 lines"),
        (poscar(scale="1.0 1 1 1"), "one scale or three, not '1.0 1 1 1'"),
        (poscar(cell=CELL.replace(".", ",")), "line 3 has decimal commas"),
        (poscar(atoms=ATOMS.replace("0 0 0", "0,0 0,0 0,0")), "atom 1 has decimal commas"),
        (poscar().replace("4 4\n", "4 -4\n"), "'-4' on line 7 is not a number of atoms"),
        (poscar().replace("4 4\n", "4.0 4.0\n"), "'4.0' on line 7 is not a number of atoms"),
    ],
)
def test_what_is_no_poscar_is_refused(text: str, said: str) -> None:
    reading = read_poscar(text)
    assert reading.error is not None
    assert said in reading.error.sentence


def test_more_coordinates_than_announced_are_said() -> None:
    reading = read_poscar(poscar(atoms=ATOMS + "0.25 0.25 0.25\n"))
    assert "more lines of coordinates follow than the 8 atoms" in reading.warnings[0]


def test_symbols_that_contradict_line_6_are_said() -> None:
    rows = ATOMS.splitlines()
    for mode, flags in (("Direct", ""), ("Selective dynamics\nDirect", " F F T")):
        for other, said in ((["Mg"] * 4 + ["O"] * 4, False), (["Mg"] * 3 + ["O"] * 5, True), (["Mg1"] * 8, False)):
            atoms = "".join(f"{row}{flags} {symbol}\n" for row, symbol in zip(rows, other, strict=True))
            reading = read_poscar(poscar(mode=mode, atoms=atoms))
            text = "symbols behind the coordinates contradict line 6, first at atom 4; line 6 is read."
            assert (text in reading.warnings) == said


def test_further_configurations_are_said() -> None:
    reading = read_poscar(poscar(atoms=ATOMS + "Direct configuration=     2\n" + ATOMS))
    assert reading.warnings == (
        "1 more configuration follows the first one, as in an XDATCAR; only the first is read.",
    )


@pytest.mark.parametrize("words", ["MG o", "Mg1 O2", "Mg2+ O2-", "24Mg O"])
def test_other_spellings_of_symbols_are_read_and_said(words: str) -> None:
    reading = read_poscar(poscar(symbols=f"{words}\n"))
    assert reading.crystal is not None, reading.error
    assert reading.crystal.composition.formula == "Mg4O4"
    expected = zip(words.split(), ("Mg", "O"), strict=True)
    assert reading.warnings == tuple(f"{word} is read as {symbol}." for word, symbol in expected if word != symbol)


def test_symbols_of_the_comment_line_that_contradict_those_behind_the_atoms_are_said() -> None:
    behind = "".join(f"{row} {'Mg' if i < 4 else 'O'}\n" for i, row in enumerate(ROWS))
    reading = read_poscar(poscar(comment="O Mg", symbols="", atoms=behind))
    assert "contradict the comment line, first at atom 1; the comment line is read" in reading.warnings[1]


def test_a_further_structure_of_vasp_4_is_said() -> None:
    reading = read_poscar(poscar(comment="Mg O", symbols="") * 2)
    assert reading.warnings[-1] == "another structure follows the first one; it is left out."


def test_a_cell_in_nanometres_is_refused() -> None:
    reading = read_poscar(poscar(cell=CELL.replace("4.21", "0.421")))
    assert reading.error is not None
    assert "in angstrom, not in nm" in reading.error.sentence
