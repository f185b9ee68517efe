"""More than thirty contradictory requests: one sentence each, exit code 2, and no work done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import perovskite, rock_salt

from lcoms.cli.main import run
from lcoms.prediction.pipeline import Predictor
from lcoms.structure.io import to_cif

CUBE, BRICK = "5.64 5.64 5.64 90 90 90", "5.4 7.6 5.3 90 90 90"
NARROW = ("--tolerance", "0.02", "--cell-tolerance", "0.01")

CASES = {
    "a number that is no space group": (["--space-group", "231"], "'231' is not a space group"),
    "a word that is none": (["--space-group", "Foo"], "'Foo' is not a space group"),
    "an empty one": (["--space-group", " "], "is not a space group"),
    "a group that holds the formula in no cell": (
        ["--space-group", "230"],
        r"this composition.* in Ia-3d \(230\)",
    ),
    "several of them": (["--space-group", "230,220", "--max-atoms", "6"], r"Ia-3d \(230\) or I-43d \(220\)"),
    "a group whose cells are larger": (["--space-group", "225", "--max-atoms", "1"], "2 atoms in its formula unit"),
    "a group without such formula units": (
        ["--space-group", "225", "--formula-units", "3"],
        r"no cell of up to .* with 3 formula units in Fm-3m",
    ),
    "no crystal system": (["--crystal-system", "rhombic"], "'rhombic' is not a crystal system"),
    "a group of another system": (["--space-group", "62", "--crystal-system", "cubic"], "62 is not cubic"),
    "five numbers of a cell": (["--cell", "5 5 5 90 90"], "is not a cell; give three lengths"),
    "words as a cell": (["--cell", "five by five"], "is not a cell; give three lengths"),
    "a negative length": (["--cell", "-5 5 5 90 90 90"], "lengths are in angstrom"),
    "an angle beyond a half turn": (["--cell", "5 5 5 90 90 190"], "angles are in degrees"),
    "angles that close no cell": (["--cell", "5 5 5 40 40 120"], "no cell has these three angles"),
    "angles in radians": (["--cell", "5.64 5.64 5.64 1.57 1.57 1.57"], "angles are in degrees"),
    "a cell in nanometres": (["--cell", "0.564 0.564 0.564 90 90 90"], "too small for a formula unit of 2 atoms"),
    "a cell that is too large": (["--cell", "60 60 60 90 90 90"], "more than the largest cells"),
    "a cell of another system": (
        ["--cell", BRICK, "--crystal-system", "cubic"],
        "no lattice of .* others within 5%",
    ),
    "a cell of another group": (["--cell", BRICK, "--space-group", "225"], r"has no lattice of Fm-3m \(225\)"),
    "a cell too small for the group": (
        ["--cell", "2.9 2.9 4.4 90 90 90", "--space-group", "P4/nmm"],
        r"no cell of 37 cubic angstrom .* holds this composition",
    ),
    "a cell with other formula units": (
        ["--cell", "4.0 4.0 4.0 60 60 60", "--formula-units", "6"],
        "does not hold 6 formula units",
    ),
    "a cell against the volume": (["--cell", CUBE, "--volume", "72", *NARROW], "2.49 formula units .* --volume"),
    "a cell against the density": (["--cell", CUBE, "--density", "1.35", *NARROW], "2.50 formula units .* --density"),
    "volume and density": (["--volume", "45", "--density", "2.1"], "are equivalent"),
    "an absurd volume": (["--volume", "1"], "is not possible in a crystal"),
    "an absurd density": (["--density", "400"], "is not possible in a crystal"),
    "a negative volume": (["--volume", "-45"], "--volume must be positive"),
    "a tolerance of nothing": (["--tolerance", "0.1"], "--tolerance has no effect"),
    "a tolerance of no cell": (["--cell-tolerance", "0.1"], "--cell-tolerance has no effect"),
    "a tolerance of the whole cell": (["--cell", CUBE, "--cell-tolerance", "2"], "--cell-tolerance must be above 0"),
    "an unknown prototype": (["--prototype", "rutlie"], "did you mean Rutile"),
    "a file that is not there": (["--prototype", "nothing.cif"], "nothing.cif"),
    "a prototype of another stoichiometry": (["--prototype", "rutile"], "which has another stoichiometry"),
    "a file of another stoichiometry": (["--prototype", "perovskite.cif"], "SrTiO3, which has another stoichiometry"),
    "an excluded one of another": (["--exclude-prototype", "rutile"], "which has another stoichiometry"),
    "the same by another name": (["--prototype", "B1", "--exclude-prototype", "rocksalt"], "both required and excl"),
    "a density beyond all crystals": (["--density", "200"], "0.485 cubic angstrom for a formula unit of 2 atoms"),
    "a prototype of no known name": (["--prototype", "qqqq"], "no file of that name; name one, such as B1"),
    "a prototype that is excluded": (["--prototype", "B1", "--exclude-prototype", "B1"], "both required and excluded"),
    "a prototype of another group": (["--prototype", "B1", "--space-group", "216"], r"B1 is Fm-3m \(225\), not F-43m"),
    "a prototype of another system": (["--prototype", "B1", "--crystal-system", "hexagonal"], "not P6 .* 24 others"),
    "a file of another group": (["--prototype", "salt.cif", "--space-group", "216"], "salt.cif is Fm-3m"),
    "a prototype in another cell": (["--prototype", "B1", "--cell", BRICK], r"has no lattice of Fm-3m \(225\)"),
    "a prototype with other units": (["--prototype", "B4", "--formula-units", "1"], "B4 has 2 formula units"),
    "a negative energy": (["--max-e-above", "-0.1", "--relax"], "--max-e-above must be zero or positive"),
    "an energy without relaxation": (["--max-e-above", "0.1"], "--max-e-above has no effect without relaxation"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_contradicts_is_said_in_one_sentence_before_any_work(
    case: str,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(Predictor, "decode", decode)
    monkeypatch.chdir(tmp_path)
    Path("perovskite.cif").write_text(to_cif(perovskite()))
    Path("salt.cif").write_text(to_cif(rock_salt()))
    options, said = CASES[case]
    relax = [] if "--relax" in options else ["--no-relax"]
    code = run(["predict", "NaCl", *options, *relax, "--weights", str(tiny_weights), "--out", "results"])
    complaints = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(complaints) == 1
    assert re.search(said, complaints[0]), complaints[0]
    assert complaints[0].endswith((".", "?"))
    assert not list(tmp_path.glob("results/*"))


def test_there_are_thirty_cases() -> None:
    assert len({" ".join(options) for options, _ in CASES.values()}) >= 30
