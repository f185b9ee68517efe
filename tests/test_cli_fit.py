"""`lcoms fit`: the ranking and the stated probability, from rows of `lcoms evaluate`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from tiny import fluorite, make_store, rock_salt

from lcoms.cli.main import run
from lcoms.prediction.calibrate import FEATURES, load_calibration
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.ranking_file import load_ranking

EARLIER = json.dumps([{"name": "salt", "seed": 0, "evidence": [0.5, 0.2], "ranks": {"both": 1}, "rows": []}])


def outcome(number: int, evidence: list[float], *, right: bool, rows: list[dict[str, Any]] | None = None) -> dict:
    ranks = {"loose": 1, "strict": 1, "both": 1 if right else None, "filtered": 1}
    return {
        "name": f"row {number}", "formula": "NaCl", "seed": 0, "evidence": evidence, "probability": None,
        "ranks": ranks, "rows": rows or [],
    }  # fmt: skip


def candidate(energy: float, probability: float, *, right: bool) -> dict[str, Any]:
    return {
        "decoded_rank": 1, "score": energy, "energy": energy, "surrogate": -1.0, "latent_distance": 0.5,
        "space_group": 225, "n_found": 2, "n_atoms": 2, "volume": 20.0, "prototype_probability": probability,
        "template_distance": 1.0, "strict": right, "both": right,
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """300 predictions in two files, 50 of them in both, and one without a relaxed candidate."""
    random = np.random.default_rng(0)
    features = random.normal(size=(300, len(FEATURES)))
    right = random.random(300) < expit(2 * features[:, 0])
    rows = [outcome(i, list(x), right=bool(y)) for i, (x, y) in enumerate(zip(features.tolist(), right, strict=True))]
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    paths[0].write_text(json.dumps(rows[:200]))
    paths[1].write_text(json.dumps([*rows[150:], outcome(999, [], right=False)]))
    return paths


def test_a_calibration_counts_each_prediction_once(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, weights = ["fit", "calibration", *map(str, files)], tmp_path / "weights"
    weights.mkdir()
    assert run([*command, "--committee", "none", "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("300 predictions, 0.")
    assert lines[-2].endswith("cross-validated")
    assert lines[-1] == f"Written: {weights / 'calibration.json'}"
    found = load_calibration(weights).find(spec_for(Options(relax=True, committee=())))
    assert found is not None
    assert found.n_fitted == 300
    assert run([*command, "--committee", "none", "--again", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(int(line.split()[2]) for line in lines[2:-1]) == 300
    assert float(lines[-1].removeprefix("expected calibration error ").partition(",")[0]) < 0.1
    for options, sentence in (
        (["--stated"], "state no probability"),
        (["--again", str(tmp_path)], "has no calibration.json for chgnet:r2scan"),
    ):
        assert run([*command, *options]) == 2
        assert sentence in capsys.readouterr().err


def test_a_ranking_is_fitted_in_electronvolts_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The right crystal lies a little higher but has nearly all of the prototype probability."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        above = 0.02 * random.random()
        found = [candidate(above, 0.9, right=True), candidate(0.0, 0.01, right=False)]
        found += [candidate(0.3 * random.random(), random.random() / 10, right=False) for _ in range(4)]
        rows.append(outcome(number, [0.0] * len(FEATURES), right=True, rows=found))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    weights = tmp_path / "weights"
    weights.mkdir()
    before = load_ranking(weights)
    assert run(["fit", "ranking", str(tmp_path / "rows.json"), "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "60 compositions; the known crystal is among the relaxed candidates of 60"
    assert lines[1] == "first as the rows have it 60; by the fit, cross-validated, 60"
    after = load_ranking(weights)
    assert after.relaxed.prototype_probability > 0.005
    assert (after.decoded, after.relaxed.limit) == (before.decoded, before.relaxed.limit)
    assert after.fitted["data"] == "60 validation compositions"


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
    gaps = [0.2] * 18 + [-0.06] * 2
    rows = [
        outcome(number, [0.5] * len(FEATURES), right=gap > 0, rows=[
            candidate(0.0, 0.5, right=True), candidate(gap, 0.5, right=False)
        ])
        for number, gap in enumerate(gaps)
    ]  # fmt: skip
    path, weights = tmp_path / "rows.json.gz", tmp_path / "weights"
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    weights.mkdir()
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
