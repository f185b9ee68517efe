"""`lcoms score` prints its scores and all failures; bad input gives one sentence and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import caesium_chloride, rock_salt, wurtzite, zinc_blende

from lcoms.cli.main import run
from lcoms.structure.io import to_ase, to_cif


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Predictions of NaCl (second is right), ZnS (broken, then right) and LiF (not requested); ZnO has none."""
    from ase.io import write

    out = tmp_path / "out"
    answers = {
        "NaCl/rank-01.cif": to_cif(caesium_chloride(3.4, (11, 17))),
        "NaCl/rank-02.cif": to_cif(rock_salt()),
        "ZnS/rank-01.cif": "torn",
        "ZnS/rank-02.cif": to_cif(zinc_blende()),
        "LiF/rank-01.cif": to_cif(rock_salt(4.0, (3, 9))),
    }
    for name, text in answers.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    known = [to_ase(crystal) for crystal in (rock_salt(), zinc_blende(), wurtzite())]
    for name, atoms in zip(("mp-1", "mp-2", "mp-3"), known, strict=True):
        atoms.info["material_id"] = name
    write(tmp_path / "truth.extxyz", known, format="extxyz")
    return str(out), str(tmp_path / "truth.extxyz")


def test_figures_and_faults_are_printed(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", *files, "-k", "1", "-k", "2", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 known structures of 3 formulas, 5 answers, paired by formula"
    rows = {tuple(line.split("  ")[0:1]) + tuple(line[33:36].split()): line for line in lines[3:]}
    assert rows["strict match", "1"].split()[-3:] == ["0", "of", "3"]
    assert rows["strict match", "2"].split()[-5:] == ["0.667", "0.208-0.939", "2", "of", "3"]
    assert rows["strict match, space group", "2"].split()[-3:] == ["2", "of", "3"]
    assert rows["match rate", "2"].split()[-1] == "0.0000"
    text = "\n".join(lines)
    assert "known structures without an answer, counted as failures (1):\n  mp-3 (ZnO)" in text
    assert "answers that cannot be read, counted as failures (1):\n  ZnS/rank-01.cif (rank 1): not a CIF" in text
    assert "predictions of no known structure, ignored (1):\n  LiF/rank-01.cif" in text


def test_everything_is_written_by_known_structure(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    assert run(["score", *files, "--workers", "1", "--oracle", "analytic", "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert [verdict["strict"] for verdict in rows["mp-1"]["verdicts"]] == [False, True]
    assert rows["mp-1"]["verdicts"][1]["rms"] == pytest.approx(0, abs=1e-4)
    assert rows["mp-2"]["verdicts"][0]["note"].startswith("not a CIF")
    assert rows["mp-3"]["verdicts"] == []
    energies = {row["formula"]: row for row in content["energy_rows"] if row["kind"] == "total"}
    assert energies["NaCl"]["best"]["20"] <= energies["NaCl"]["known"] + 1e-6
    assert energies["ZnO"]["best"]["1"] is None
    assert (content["oracle"], content["unknown"]) == ("analytic", ["LiF/rank-01.cif"])


def test_more_faults_than_fit_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "truth"
    folder.mkdir()
    for i in range(13):
        (folder / f"mp-{i}.cif").write_text(to_cif(rock_salt()) if i < 12 else "torn")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mp-0.cif").write_text(to_cif(rock_salt()))
    assert run(["score", str(tmp_path / "out"), str(folder), "-k", "1", "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "paired by id" in text
    assert "known structures without an answer, counted as failures (11):" in text
    assert "  and 1 more (all: --json)" in text
    assert "known structures that cannot be read, left out (1):\n  mp-12: structure cannot be read" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{out}", "none.parquet"], "none.parquet does not exist"),
        (["none", "{truth}"], "none does not exist"),
        (["{truth}", "{out}"], "holds neither id_prop.csv nor CIF, POSCAR or extxyz files"),
        (["{out}", "{truth}", "-k", "0"], "must be 1 or more"),
        (["{out}", "{truth}", "--timeout", "0"], "time limit must be positive"),
        (["{out}", "{truth}", "--timeout", "inf"], "time limit must be positive, up to 1000000 s"),
        (["{out}", "{truth}", "--workers", "0"], "at least one worker"),
        (["{out}", "{truth}", "--oracle", "nothing"], "there is no oracle 'nothing'"),
        (["{out}", "{truth}", "--free-atoms", "{truth}"], "cannot be read as energies of free atoms"),
    ],
)
def test_bad_input_is_one_sentence(
    files: tuple[str, str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = files
    assert run(["score", *(argument.format(out=out, truth=truth) for argument in arguments)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "Traceback" not in printed.err
