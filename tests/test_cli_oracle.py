"""`lcoms oracle` distinguishes correct oracles from faulty ones and writes references that `lcoms rank` reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny import rock_salt

from lcoms.cli.main import run
from lcoms.oracles.analytic import depth
from lcoms.structure.io import to_cif

FAULTY = """
from dataclasses import replace
from lcoms.oracles.analytic import AnalyticOracle

class Faulty(AnalyticOracle):
    def evaluate(self, crystals):
        return [replace(result, forces=1.01 * result.forces) for result in super().evaluate(crystals)]
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "made_faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_faulty:Faulty"  # type: ignore[misc]
    sys.modules.pop("made_faulty", None)


def test_an_honest_oracle_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["oracle", "check", "analytic"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("analytic: ")
    assert all(line.split()[0] == "passed" for line in lines[1:-1])
    assert len(lines) == 10
    assert lines[-1] == "All checks passed."


def test_a_faulty_one_does_not(faulty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["oracle", "check", faulty]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "FAILED" in line).split()[1:4] == ["forces", "are", "slopes"]
    assert lines[-1] == "1 of 8 checks failed."
    assert run(["oracle", "check", faulty, "--slope", "0.05"]) == 0
    file = tmp_path / "salt.cif"
    file.write_text(to_cif(rock_salt()))
    assert run(["oracle", "check", faulty, str(tmp_path)]) == 0  # the folder of it
    assert run(["oracle", "check", faulty, str(file)]) == 0  # without forces there is nothing to be wrong


def test_references_are_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "references.json"
    options = ["--out", str(out), "--processes", "1", "--fmax", "0.005"]
    assert run(["oracle", "references", "analytic", "--elements", "Na,Cl", *options]) == 0
    printed = capsys.readouterr().out
    assert "analytic: 2 elements from 5 forms" in printed
    assert f"--references {out}" in printed
    table = json.loads(out.read_text())["oracles"]["analytic"]
    assert (table["fmax"], table["unit"]) == (0.005, "eV/atom")
    assert table["elements"]["Na"]["others"]["face-centred cubic"] == pytest.approx(-6 * float(depth(11, 11)), abs=1e-4)
    file = tmp_path / "salt.cif"
    file.write_text(to_cif(rock_salt(5.9)))
    ranked = tmp_path / "ranked.json"
    arguments = ["rank", str(file), "--oracle", "analytic", "--references", str(out), "--json", str(ranked)]
    assert run(arguments) == 0
    (row,) = json.loads(ranked.read_text())["ranked"]
    zero = sum(table["elements"][symbol]["energy_per_atom"] for symbol in ("Na", "Cl")) / 2
    assert row["formation_energy_per_atom"] == pytest.approx(row["energy_per_atom"] - zero)


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["oracle", "check", "nothing"]) == 2
    assert "there is no oracle 'nothing'" in capsys.readouterr().err
    assert run(["oracle", "references", "analytic", "--out", str(tmp_path / "r.json"), "--elements", "Xx"]) == 2
    assert "no structure is known here for Xx" in capsys.readouterr().err
    assert run(["oracle", "references", "analytic", "--out", str(tmp_path / "r.json"), "--elements", "Na,"]) == 2
    assert "no structure is known here for an empty name" in capsys.readouterr().err
    for option, value in (("--slope", "nan"), ("--energy", "-1")):
        assert run(["oracle", "check", "analytic", option, value]) == 2
        assert f"{option} must be positive" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("{}")
    assert run(["oracle", "references", "analytic", "--out", str(tmp_path / "other.json")]) == 2
    assert "is not a table of references" in capsys.readouterr().err
