"""`lcoms campaign`: the files of `lcoms predict` for each formula, one table, and one sentence per error."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from campaigns import InlineWorkers, contents

from lcoms.cli.main import run

QUICK = ("--starts", "3", "--steps", "1", "-n", "2", "--seed", "5")


@pytest.fixture
def campaign(tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command in this process; return exit code, output and error lines."""
    monkeypatch.setattr("lcoms.cli.campaign._workers", lambda plan, *_: InlineWorkers(plan))
    file = tmp_path / "formulas.txt"

    def call(*arguments: str, formulas: str | None = None, out: Path | None = None) -> tuple[int, str, list[str]]:
        if formulas is not None:
            file.write_text(formulas)
        folders = ["--weights", str(tiny_weights), "--out", str(out or tmp_path / "out")]
        relaxing = () if "--relax" in arguments else ("--no-relax",)
        code = run(["campaign", str(file), *folders, *QUICK, *relaxing, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


def test_each_formula_is_as_predict_writes_it(campaign, tiny_weights: Path, tmp_path: Path) -> None:
    code, output, complaints = campaign(formulas="NaCl # salt\nZnO\nClNa\n\n")
    assert (code, complaints) == (0, ["lcoms: given more than once: ClNa; each formula is predicted once."])
    assert output.startswith("2 formulas: 2 done; median ")
    run(
        [
            "predict",
            "NaCl",
            "ZnO",
            *QUICK,
            "--no-relax",
            "--weights",
            str(tiny_weights),
            "--out",
            str(tmp_path / "predicted"),
        ]
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "predicted")
    rows = pq.read_table(tmp_path / "out" / "summary.parquet").to_pylist()
    assert [row["formula"] for row in rows] == ["NaCl", "ZnO"]
    with (tmp_path / "out" / "summary.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [row["path"] for row in rows]


def test_formulas_that_fail_are_rows_and_exit_code_2(campaign, tmp_path: Path) -> None:
    code, output, complaints = campaign(formulas="Nacl\nAuCl\nNaCl\nAgCl\n")
    assert code == 2
    assert output.startswith("4 formulas: 3 failed, 1 done")
    assert len(complaints) == 3
    rows = pq.read_table(tmp_path / "out" / "summary.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["failed", "failed", "done", "failed"]
    assert "did you mean NaCl?" in rows[0]["reason"]
    assert "no crystal with Au" in rows[1]["reason"]


def test_a_file_of_something_else_is_refused_before_any_work(campaign, tmp_path: Path) -> None:
    code, output, complaints = campaign(formulas="formula,id\nNaCl,1\nKCl,2\n")
    assert (code, output, len(complaints)) == (2, "", 1)
    assert "holds no formula that can be read; the first: 'formula,id': cannot read" in complaints[0]
    assert not (tmp_path / "out").exists()


def test_a_formula_that_is_predicted_as_another_one_is_named(campaign, tmp_path: Path) -> None:
    code, _, complaints = campaign(formulas="Na2Cl2\nZnO\n")
    assert (code, complaints) == (0, ["lcoms: Na2Cl2 is predicted as NaCl."])
    assert (tmp_path / "out" / "NaCl" / "results.json").is_file()


def test_the_table_alone(campaign, tmp_path: Path) -> None:
    campaign(formulas="NaCl\n")
    code, output, _ = campaign("--summary", formulas="NaCl\nZnO\n")
    assert code == 2
    assert output.startswith("2 formulas: 1 done, 1 not run")
    code, _, complaints = campaign("--summary", out=tmp_path / "nowhere")
    assert (code, len(complaints)) == (2, 1)
    assert "holds no campaign" in complaints[0]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--seed", "6"), "seed is 5 there, 6 here"),
        (("--processes", "2", "--scheduler", "tcp://x:1"), "exclude each other"),
        (("--summary", "--retry-failed"), "--retry-failed has no effect with --summary"),
        (("--relax", "--committee", ","), "has an empty name"),
        (("--effort", "heroic"), "unknown effort"),
        (("--relax", "--oracle", "crystal ball"), "crystal ball"),
        (("--relax", "--oracle", "analytic", "--committee", "crystal ball"), "crystal ball"),
        (("--n-relax", "3"), "--n-relax has no effect without relaxation"),
        (("--weights", "nowhere"), "there is no file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], sentence: str, campaign, tmp_path) -> None:
    campaign(formulas="NaCl\n")
    before = contents(tmp_path / "out")
    code, output, complaints = campaign(*arguments)
    assert (code, output, len(complaints)) == (2, "", 1)
    assert sentence in complaints[0]
    assert contents(tmp_path / "out") == before


def test_a_wrong_number_of_processes_leaves_no_folder(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "formulas.txt").write_text("NaCl\n")
    out = tmp_path / "out"
    for option in (("--processes", "0"), ("--scheduler", "nowhere")):
        options = ["--weights", str(tiny_weights), "--no-relax", "--out", str(out), *option]
        assert run(["campaign", str(tmp_path / "formulas.txt"), *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert not out.exists()


def test_a_file_without_formulas_is_one_sentence(campaign, tmp_path: Path) -> None:
    for text in ("", "# nothing\n"):
        code, _, complaints = campaign(formulas=text)
        assert (code, len(complaints)) == (2, 1)
        assert "holds no formula" in complaints[0]
    (tmp_path / "formulas.txt").unlink()
    assert "cannot be read" in campaign()[2][0]
    assert not (tmp_path / "out").exists()


def test_a_campaign_that_goes_on_under_another_version_says_so(campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign(formulas="NaCl\n")
    monkeypatch.setattr("lcoms.campaign.plan.__version__", "99.0")
    code, _, complaints = campaign()
    assert (code, len(complaints)) == (0, 1)
    assert "goes on with lcoms 99.0" in complaints[0]
    assert campaign()[2] == []
