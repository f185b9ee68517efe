"""Atoms whose neighbors lie beyond the cutoff of a model are reported before work begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt
from toy_oracles import Springs

import lcoms
from lcoms.cli.main import run
from lcoms.oracles.reach import beyond_reach
from lcoms.oracles.registry import make_oracle
from lcoms.oracles.wrappers import CountedOracle
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif


def body_centred(z: int, a: float) -> Crystal:
    return Crystal(a * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([z, z]))


class ShortSighted(Springs):
    name = "toy_oracles:Springs"
    cutoff = 6.0


@pytest.mark.parametrize(
    ("crystal", "said"),
    [
        (body_centred(55, 6.14), "Cs (5.32 angstrom) lie near"),  # caesium as it is
        (body_centred(55, 7.06), "Cs (6.11 angstrom) lie beyond"),
        (body_centred(37, 5.70), ""),  # rubidium: its second shell is seen
        (rock_salt(), ""),
        (Crystal(8 * np.eye(3), np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0.99]]), np.array([11, 17, 55])), ""),
        (Crystal(12 * np.eye(3), np.array([[0, 0, 0], [0.2, 0, 0], [0.5, 0.5, 0.5]]), np.array([1, 1, 2])), "He (9.22"),
    ],
)
def test_atoms_whose_neighbours_are_not_seen_are_told(crystal: Crystal, said: str) -> None:
    sentence = beyond_reach(CountedOracle(ShortSighted()), crystal)
    assert said in sentence
    assert bool(sentence) == bool(said)
    assert beyond_reach(Springs(), crystal) == ""  # nobody knows its cutoff


def test_caesium_is_told_before_it_is_relaxed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("chgnet")
    assert make_oracle("chgnet:r2scan").cutoff == 6.0
    (tmp_path / "Cs.cif").write_text(to_cif(body_centred(55, 6.14)))
    run(["relax", str(tmp_path / "Cs.cif"), "--out", str(tmp_path / "out"), "--processes", "1", "--steps", "1"])
    first = capsys.readouterr().err.splitlines()[0]
    assert "Cs (5.32 angstrom) lie near the cutoff of chgnet:r2scan (6 angstrom)" in first


@pytest.mark.parametrize("command", ["rank", "phonons"])
def test_caesium_is_told_before_its_energy_is_computed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("chgnet")
    pytest.importorskip("phonopy")
    (tmp_path / "Cs.cif").write_text(to_cif(body_centred(55, 6.14)))
    options = ["--no-relax", "--most-atoms", "2"] if command == "phonons" else []
    run([command, str(tmp_path / "Cs.cif"), "--oracle", "chgnet", *options])
    first = capsys.readouterr().err.splitlines()[0]
    assert "Cs (5.32 angstrom) lie near the cutoff of chgnet:r2scan (6 angstrom)" in first


def test_caesium_is_told_before_it_is_predicted(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("chgnet")
    quick = ["--starts", "2", "--steps", "0", "--n-relax", "1", "--processes", "1", "--weights", str(tiny_weights)]
    run(["predict", "Cs", "CsCl", "--out", str(tmp_path), "--relax", "--committee", "none", *quick])
    told = [line for line in capsys.readouterr().err.splitlines() if "angstrom" in line]
    assert len(told) == 1
    assert "Cs: the nearest neighbours of Cs (5.3" in told[0]
    assert "lie near the cutoff of chgnet:r2scan" in told[0]
    options = {"starts": 2, "steps": 0, "n_relax": 1, "processes": 1, "weights": tiny_weights, "committee": ()}
    lcoms.predict("Cs", **options)  # type: ignore[arg-type]
    assert "lie near the cutoff of chgnet:r2scan" in caplog.text
