"""`lcoms match` ranks crystals by their fit to a pattern and writes tables, cells and figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, nickel_arsenide, rock_salt, wurtzite, zinc_blende

from lcoms.cli.main import run
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.structure.io import read_crystals, to_cif

MAGNESIA = (12, 8)
CRYSTALS = {
    "b1": rock_salt(4.1, MAGNESIA),
    "b2": caesium_chloride(2.6, MAGNESIA),
    "b3": zinc_blende(4.7, MAGNESIA),
    "b4": wurtzite(3.3, 5.3, numbers=MAGNESIA),
    "b8": nickel_arsenide(2.9, 4.9, MAGNESIA),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, crystal in CRYSTALS.items():
        (tmp_path / f"{name}.cif").write_text(to_cif(crystal))
    truth = rock_salt(4.21, MAGNESIA)
    pattern = measured_pattern(truth, read_radiation("CuKa"), Measurement(zero_shift=0.05), np.random.default_rng(0))
    lines = (f"{x:.3f} {y:.0f}" for x, y in zip(pattern.two_theta, pattern.counts, strict=True))
    (tmp_path / "data.xy").write_text("\n".join(lines) + "\n")
    return tmp_path


def match(*arguments: object) -> int:
    return run(["match", *(str(argument) for argument in arguments)])


def test_the_right_crystal_is_first_and_everything_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure, table = folder / "fitted", folder / "fit.svg", folder / "fits.json"
    options = [
        "--pattern",
        folder / "data.xy",
        "--wavelength",
        "CuKa",
        "--out",
        out,
        "--figure",
        figure,
        "--json",
        table,
    ]
    assert match(folder, *options) == 0
    printed = capsys.readouterr()
    rows = printed.out.splitlines()
    assert rows[1].split()[:3] == ["1", "MgO", "Fm-3m"]
    assert rows[1].split()[-1] == "b1.cif"
    assert "5 crystals against data.xy (CuKa, zero shift +0.04" in printed.out
    assert "degrees, fitted up to 8" in printed.out
    assert "No crystal explains" not in printed.out
    (best,) = read_crystals(out / "rank-01.cif")
    assert (best.volume / best.n_atoms * 8) ** (1 / 3) == pytest.approx(4.21, rel=5e-4)
    assert len(list(out.iterdir())) == 5
    assert figure.read_text().startswith("<?xml")
    content = json.loads(table.read_text())
    assert content["fits"][0]["probability"] > 0.9
    assert content["fits"][0]["cell"] == pytest.approx([4.21] * 3 + [90] * 3, rel=5e-4)
    assert [2, 0, 0] in [line["hkl"] for line in content["fits"][0]["lines"]]
    assert content["verdict"] == ""


def test_rank_files_of_an_earlier_run_are_replaced_as_a_whole_and_only_on_request(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "fitted"
    more = ["--pattern", folder / "data.xy", "--wavelength", "CuKa", "--out", out]
    assert match(folder / "b1.cif", folder / "b2.cif", *more) == 0
    (out / "notes.txt").write_text("mine")
    assert match(folder / "b1.cif", *more) == 2
    assert "holds rank-01.cif already; choose another folder" in capsys.readouterr().err
    assert match(folder / "b1.cif", *more, "--overwrite") == 0
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "rank-01.cif"]


def test_it_is_said_when_no_crystal_explains_the_pattern(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [folder / f"{name}.cif" for name in ("b2", "b3", "b4")]
    assert match(*files, "--pattern", folder / "data.xy", "--wavelength", "1.5406") == 0
    assert "No crystal explains the pattern: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"--wavelength": "Cu"}, "'Cu' is not a radiation"),
        ({"--pattern": "b1.cif"}, "b1.cif: "),
        ({"--pattern": "none.xy"}, "none.xy: cannot be read"),
        ({"--figure": "fit.bmp"}, "figures are written as .png, .svg, .pdf"),
        ({"--axis": "energy"}, "'energy' is not an axis"),
        ({"--wavelength": "9"}, "between 0.1 and 5 angstrom"),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], sentence: str
) -> None:
    options = {"--pattern": "data.xy", "--wavelength": "CuKa"} | changed
    for name in ("--pattern", "--figure"):
        if name in options:
            options[name] = str(folder / options[name])
    assert match(folder / "b1.cif", *(part for pair in options.items() for part in pair)) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1


def test_files_that_cannot_be_read_are_said_and_the_rest_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.cif").write_text("nothing")
    (folder / "heavy.cif").write_text(to_cif(rock_salt(5.0, (103, 9))))
    files = [folder / f"{name}.cif" for name in ("b1", "bad", "heavy")]
    assert match(*files, "--pattern", folder / "data.xy", "--wavelength", "CuKa") == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split()[-1] == "b1.cif"
    assert "bad.cif: " in printed.err
    assert "heavy.cif: Lr: no X-ray scattering factor is known" in printed.err


def test_files_of_one_name_are_told_apart_and_brackets_stay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "[b]salt.cif").write_text(to_cif(CRYSTALS["b1"]))
    arguments = [folder / "first", folder / "second", "--pattern", folder / "data.xy", "--wavelength", "CuKa"]
    assert match(*arguments) == 0
    ends = {line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:3]}
    assert ends == {str(folder / name / "[b]salt.cif") for name in ("first", "second")}


def test_the_cells_replace_no_prediction_and_a_missing_folder_is_said_before_the_fits(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcoms.cli.match._fitted", lambda *_: pytest.fail("no crystal is fitted"))
    (folder / "MgO").mkdir()
    (folder / "MgO" / "results.json").write_text('{"candidates": []}')
    (folder / "file").write_text("")
    command = [folder / "b1.cif", "--pattern", folder / "data.xy", "--wavelength", "CuKa", "--out"]
    for out, sentence in (("MgO", "holds a prediction, which would be replaced"), ("file", "cannot be written")):
        assert match(*command, folder / out) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--json", "data.xy"), "data.xy is an input, which would be replaced; write to another file."),
        (("--json", "b1.cif"), "b1.cif is an input, which would be replaced"),
        (("--json", "fit.svg", "--figure", "fit.svg"), "fit.svg is given for two outputs"),
        (("--out", "."), "holds the input rank-01.cif; write to another folder with --out."),
        (("--out", ""), "--out has an empty value; type one, or omit --out."),
        (("--json=",), "--json has an empty value"),
    ],
)
def test_no_input_is_replaced(
    folder: Path,
    options: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "rank-01.cif").write_text((folder / "b1.cif").read_text())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert match(".", "--pattern", "data.xy", "--wavelength", "CuKa", *options) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
