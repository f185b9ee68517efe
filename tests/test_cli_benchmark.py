"""`lcoms benchmark`: a small case from run to report, and messages for invalid input."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import caesium_chloride, rock_salt
from typer.main import get_group

from lcoms.benchmark.protocol import BenchmarkConfig
from lcoms.benchmark.rows import ROWS_FILE, read_rows
from lcoms.cli.benchmark import QUICK, app
from lcoms.cli.main import run
from lcoms.evaluate import references
from lcoms.evaluate.references import Reference

SMALL = ["--judge", "analytic", "--steps", "2", "--relaxations", "4"]


@pytest.fixture(autouse=True)
def _two_compounds(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [Reference(c.composition.formula, c.composition, c) for c in (rock_salt(), caesium_chloride())]
    monkeypatch.setattr(references, "paper_compounds", lambda: known)


def test_run_and_report(tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench"
    arguments = ["benchmark", "run", "--out", str(out), "--weights", str(tiny_weights), *SMALL]
    wanted = ["--track", "paper", "--compounds", "NaCl", "--seeds", "1"]
    assert run([*arguments, *wanted]) == 0
    told = capsys.readouterr()
    assert "track paper: sl is skipped: it needs --sl FOLDER." in told.err
    assert "5 new runs in" in told.out
    assert "0 were there, 5 were asked for." in told.out
    assert {row.method for row in read_rows([out])} == {"lcoms", "cdvae", "start", "random", "evolution"}
    before = (out / ROWS_FILE).read_bytes()
    assert run([*arguments, *wanted]) == 0
    assert "0 new runs" in capsys.readouterr().out
    assert (out / ROWS_FILE).read_bytes() == before
    assert run(["benchmark", "report", str(out), "--out", str(tmp_path / "report")]) == 0
    assert str(tmp_path / "report" / "report.md") in capsys.readouterr().out
    assert "| NaCl |" in (tmp_path / "report" / "report.md").read_text()


def test_starts_by_another_oracle_have_names_of_their_own(tmp_path: Path) -> None:
    arguments = ["benchmark", "run", "--out", str(tmp_path), "--judge", "analytic"]
    wanted = ["--track", "paper", "--methods", "start", "--compounds", "NaCl", "--seeds", "1"]
    assert run([*arguments, *wanted, "--start-oracle", "analytic"]) == 0
    assert [row.method for row in read_rows([tmp_path])] == ["start start=analytic"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            "--tpe-budget 9",
            "--tpe-budget has no effect on start on track paper; omit it, or run a method that uses it: megnet-tpe on",
        ),
        ("--steps 9", "omit it, or run a method that uses it: lcoms, sl, input-coms on track paper."),
        ("--sl WEIGHTS", "--sl has no effect on start on track paper;"),
        ("--weights WEIGHTS", "--weights has no effect on start on track paper;"),
        ("--dft gpaw", "--dft has no effect on start on track paper;"),
        ("--methods random --max-units 2", "--max-units has no effect on random on track paper;"),
        ("--methods random --start-oracle analytic", "--start-oracle has no effect on random on track paper;"),
    ],
)
def test_options_of_methods_that_do_not_run_are_refused(
    typed: str, sentence: str, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tiny_weights) if word == "WEIGHTS" else word for word in typed.split()]
    words += [] if "--methods" in words else ["--methods", "start"]
    assert run(["benchmark", "run", "--out", str(tmp_path / "out"), "--track", "paper", *words]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_the_defaults_in_the_help_are_those_of_the_protocol() -> None:
    parameters = {one.name: one for one in get_group(app).commands["run"].params}
    plain = BenchmarkConfig()
    numbers = ("steps", "points", "budget", "tpe_budget", "relaxations", "dft_relaxations", "max_units")
    for name in ("dft", "effort", *numbers):
        first, *quick = parameters[name].show_default.split(", quick ")
        assert first == str(getattr(plain, name))
        assert quick == ([str(QUICK[name])] if name in QUICK else [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--track", "both"], "there is no track 'both'; choose paper or formula"),
        (["run", "--methods", "uspex"], "there is no method 'uspex'; choose from"),
        (["run", "--methods", "megnet-pso"], "give it with --megnet FILE"),
        (["run", "--methods", "lcoms,lcoms-decoded", "--track", "paper"], "lcoms-decoded is not on track paper"),
        (["run", "--methods", " "], "--methods ' ' has an empty name"),
        (["run", "--compounds", "NaCl,"], "--compounds 'NaCl,' has an empty name"),
        (["run", "-n", "3"], "-n has no effect without --table"),
        (["run", "--compounds", "XeF2"], "26 compounds hold no XeF2; choose from NaCl, CsCl"),
        (["sweep", "STORE", "--tau", "much"], "--tau much: write numbers separated by commas"),
        (
            ["sweep", "S", *["--tau", "none", "--inner-steps", "none", "--final-steps", "None"]],
            "there is nothing to vary",
        ),
        (["report", "NOWHERE"], "cannot be read; give a folder that lcoms benchmark run has written"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], sentence: str, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--weights", str(tiny_weights)] if arguments[0] != "report" else []
    assert run(["benchmark", *arguments, "--out", str(tmp_path / "out"), *more]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")
