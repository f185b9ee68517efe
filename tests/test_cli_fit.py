"""`lcoms fit`: ranking and stated probability from rows of `lcoms evaluate`."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import fluorite, make_store, rock_salt

from lcoms.cli.main import run
from lcoms.core.errors import DataError
from lcoms.evaluate import fitting
from lcoms.evaluate.fitting import FOLDS, Case, _structure, cross_validated_order, fit_terms
from lcoms.prediction.calibrate import load_calibration
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.ranking_file import load_ranking
from lcoms.prediction.scoring import ScoreWeights
from lcoms.structure.crystal import Composition
from lcoms.templates.structure_probability import StructureProbabilities, signature

EARLIER = json.dumps([{"name": "salt", "seed": 0, "ranks": {"both": 1}, "rows": []}])


def outcome(number: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = 1 if rows and rows[0]["both"] else None
    ranks = {"loose": 1, "strict": 1, "both": first, "filtered": 1}
    return {
        "name": f"row {number}",
        "formula": f"Na{number + 2}Cl",
        "seed": 0,
        "probability": None,
        "ranks": ranks,
        "rows": rows,
    }


def candidate(energy: float, probability: float, *, right: bool) -> dict[str, Any]:
    return {
        "decoded_rank": 1, "score": energy, "energy": energy, "surrogate": -1.0, "latent_distance": 0.5,
        "space_group": 225, "n_found": 2, "n_atoms": 2, "volume": 20.0, "prototype_probability": probability,
        "template_distance": 1.0, "strict": right, "both": right, "energies": [energy, energy], "orbits": "a:Na b:Cl",
    }  # fmt: skip


def outcomes(n: int, *, missing: float = 0.15) -> list[dict[str, Any]]:
    """Return outcomes in which the right crystal is slightly higher in energy, but has most prototype probability."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(n):
        above, lost, better = 0.02 * random.random(), random.random() < missing, random.random() < 0.1
        found = [candidate(above, 0.9, right=not lost and not better), candidate(0.0, 0.01, right=better and not lost)]
        found += [candidate(0.3 * random.random(), random.random() / 10, right=False) for _ in range(4)]
        rows.append(outcome(number, found))
    return rows


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """120 predictions in two files, 20 of them in both, and one without a relaxed candidate."""
    rows = outcomes(120)
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    paths[0].write_text(json.dumps(rows[:80]))
    paths[1].write_text(json.dumps([*rows[60:], outcome(999, [])]))
    return paths


def test_a_calibration_counts_each_prediction_once(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, weights = ["fit", "calibration", *map(str, files)], tmp_path / "weights"
    weights.mkdir()
    assert run([*command, "--committee", "none", "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("120 predictions, 0.")
    assert lines[-3].endswith("cross-validated")
    assert lines[-2].startswith("of all 720 candidates")
    assert lines[-1] == f"Written: {weights / 'calibration.json'}"
    found = load_calibration(weights).find(spec_for(Options(relax=True, committee=())))
    assert found is not None
    assert found.n_fitted == 120
    assert run([*command, "--committee", "none", "--again", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(int(line.split()[2]) for line in lines[2:-2]) == 120
    assert float(lines[-2].removeprefix("expected calibration error ").partition(",")[0]) < 0.1
    for options, sentence in (
        (["--stated"], "state no probability"),
        (["--stated", "--committee", "none"], "energy models have no effect with --stated"),
        (["--again", str(tmp_path)], "has no calibration.json for chgnet:r2scan"),
        (["--again", str(weights), "--weights", str(weights)], "--again and --weights exclude each other"),
        (["--stated", "--weights", str(weights)], "--again and --weights exclude each other"),
    ):
        assert run([*command, *options]) == 2
        assert sentence in capsys.readouterr().err


def test_rows_of_one_energy_model_calibrate_no_committee(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in files:
        content = json.loads(file.read_text())
        for row in (row for one in content for row in one["rows"]):
            row["energies"] = row["energies"][:1]
        file.write_text(json.dumps(content))
    command, two = ["fit", "calibration", *map(str, files)], ["--oracle", "one", "--committee", "two"]
    (tmp_path / "weights").mkdir()
    assert run([*command, *two, "--weights", str(tmp_path / "weights")]) == 2
    assert "rows have energies by one energy model, not by one, two" in capsys.readouterr().err
    assert not list((tmp_path / "weights").iterdir())
    assert run([*command, "--oracle", "one", "--committee", "none"]) == 0
    capsys.readouterr()


def test_larger_cells_whose_candidates_are_more_often_all_wrong_lower_the_probability(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_structure", lambda *_: 1.0)
    small, large = outcomes(60, missing=0.05), outcomes(60, missing=0.5)
    for number, one in enumerate(large):
        one["name"], one["formula"] = f"large {number}", f"NaCl{number + 2}"
        one["rows"] = [row | {"n_atoms": 40} for row in one["rows"]]
    for name, rows in (("small", small), ("large", large)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    files, weights = [str(tmp_path / f"{name}.json") for name in ("small", "large")], tmp_path / "weights"
    assert run(["fit", "calibration", *files, "--committee", "none", "--weights", str(weights)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "cells of more than 20 atoms" in line)
    assert line.startswith("of 60 cells of more than 20 atoms 0.")
    found = load_calibration(weights).find(spec_for(Options(relax=True, committee=())))
    assert found is not None
    assert (found.n_fitted, found.max_atoms) == (120, 40)
    assert found.command == "lcoms fit calibration small.json large.json"
    heights = np.array([0.0, 0.1])
    assert found.probabilities(heights, 2).sum() > 0.9
    assert found.probabilities(heights, 40).sum() < 0.65


def test_a_ranking_is_fitted_in_electronvolts_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(outcomes(60, missing=0.0)))
    weights = tmp_path / "weights"
    weights.mkdir()
    before = load_ranking(weights)
    assert run(["fit", "ranking", str(tmp_path / "rows.json"), "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "60 compositions; the known crystal is among the relaxed candidates of 60"
    first = sum(row["rows"][0]["both"] for row in outcomes(60, missing=0.0))
    assert lines[1] == f"first as the rows have it {first}; by the fit, cross-validated, {first}"
    after = load_ranking(weights)
    assert after.relaxed.prototype_probability > 0.005
    assert after.relaxed.structure_probability == 0  # all candidates have one structure
    assert (after.decoded, after.relaxed.limit) == (before.decoded, before.relaxed.limit)
    assert after.fitted["data"] == "60 compositions"


def test_a_model_that_fails_for_a_candidate_is_left_out_of_the_mean_of_all() -> None:
    assert fitting._mean_energies([[-1.0, None], [-0.9, -5.0]]).tolist() == [-1.0, -0.9]
    assert fitting._mean_energies([[-1.0, -3.0], [-0.8, -5.0]]).tolist() == [-2.0, -2.9]
    with pytest.raises(ValueError, match="no model has an energy of every crystal"):
        fitting._mean_energies([[None, -1.0], [-1.0, None]])


def test_predictions_of_one_composition_are_never_divided_between_fit_and_test() -> None:
    """Each composition is predicted with two seeds and has its own right answer, which only its twin could teach."""
    random = np.random.default_rng(0)
    terms = random.random((40, 5, 3))
    cases = [
        Case(terms[at], np.arange(5) == at % 5, np.full(5, 2), f"Na{at + 1}Cl") for _ in range(2) for at in range(40)
    ]
    fitted: list[set[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit_terms", lambda rest: fitted.append({one.formula for one in rest}) or np.ones(3))
        order = cross_validated_order(cases)
    assert len(fitted) == FOLDS
    assert [len(one) for one in fitted] == [36] * FOLDS
    assert order.n == 80
    with pytest.raises(DataError, match="9 compositions with the right candidate are too few"):
        fit_terms([case for case in cases if int(case.formula[2:-2]) < 10])


@pytest.mark.parametrize("what", ["ranking", "calibration"])
@pytest.mark.parametrize("content", ["", "[1]", "{", '[{"name": "salt"}]', "[]", EARLIER])
def test_other_files_are_one_sentence(
    what: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.json").write_text(content)
    assert run(["fit", what, str(tmp_path / "rows.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("what", ["ranking", "calibration"])
def test_a_file_that_is_not_there_is_one_sentence(what: str, tmp_path: Path, capsys) -> None:
    assert run(["fit", what, str(tmp_path / "none.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_new_folder_of_weights_is_made(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "weights"
    assert run(["fit", "calibration", *map(str, files), "--weights", str(folder)]) == 0
    assert (folder / "calibration.json").is_file()


def test_bonuses_of_known_crystals_are_fitted_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crystals = [rock_salt(), rock_salt(), fluorite()]
    make_store(
        tmp_path / "store", crystals, energies=[-1.0, -1.1, -1.0], hull=[0.05, 0.0, 0.0], splits=["train"] * 3,
        sources=["MP 2018", "later", "MP 2018"],
    )  # fmt: skip
    folder = tmp_path / "weights"
    bare = ScoreWeights(0.0, 0.0, 0.0, floor=0.01)
    replace(load_ranking(), decoded=bare, relaxed=bare).save(folder)
    gaps = [0.2] * 18 + [-0.06] * 2
    rows = [
        outcome(number, [candidate(0.0, 0.5, right=True), candidate(gap, 0.5, right=False)])
        for number, gap in enumerate(gaps)
    ]
    path, weights = tmp_path / "rows.json.gz", folder
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    options = ["--store", str(tmp_path / "store"), "--weights", str(weights)]
    assert run(["fit", "known", str(path), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "20 predictions; the known crystal has the best score in 18"
    assert lines[1].endswith("another ground state for 0.000 of 1")
    assert lines[3].endswith("another ground state for 1.000 of 1")
    written = load_ranking(weights)
    assert 0.06 < written.known.on_hull < 0.1
    assert written.known.above_hull == 0
    assert "lcoms fit known" in written.fitted["known"]
    path.write_bytes(b"no gzip")
    assert run(["fit", "known", str(path), *options]) == 2
    assert "holds no rows of lcoms evaluate" in capsys.readouterr().err


def test_orbits_count_in_their_own_group_and_not_in_one_without_their_letters() -> None:
    composition = Composition.from_formula("NaCl")
    rock_salt_sites = signature(225, (("a", 0), ("b", 1)))
    counted = StructureProbabilities({rock_salt_sites: 0.7})
    row = candidate(0.0, 0.5, right=True)
    assert _structure(row, composition, counted) == 0.7
    assert _structure({**row, "space_group": 1, "orbits_space_group": 225}, composition, counted) == 0.7
    assert _structure({**row, "space_group": 1}, composition, counted) == 0.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--near", "nan"), "--near must be zero or positive, not nan"),
        (("--near", "-1"), "--near must be zero or positive, not -1"),
        (("--source", "nowhere"), "holds no compound within 0.005 eV/atom of its hull; change --near or --source"),
    ],
)
def test_a_hull_of_no_phases_is_refused(
    options: tuple[str, str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "store", [rock_salt()], energies=[-2.0], hull=[0.0], splits=["train"])
    command = ["fit", "hull", str(tmp_path / "store"), "--work", str(tmp_path / "work"), "--oracle", "analytic"]
    assert run([*command, "--weights", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "phases.safetensors").exists()
