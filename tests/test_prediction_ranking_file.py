"""Score weights: stored as JSON, the shipped ones if a folder has none, and rejected if damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lcoms.core.errors import WeightsError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.calibrate import Calibration, CalibrationModel
from lcoms.prediction.ranking_file import RANKING_FILE, RankingWeights, load_ranking
from lcoms.prediction.scoring import KnownWeights, ScoreWeights
from lcoms.prediction.spec import PredictionSpec

MADE = RankingWeights(
    decoded=ScoreWeights(0.1, 0.2, 0.3, floor=0.01),
    unrelaxed=ScoreWeights(0.0, 0.0, 0.02, floor=0.03),
    relaxed=ScoreWeights(0.4, 0.5, 0.6, floor=0.02, excess=0.7),
    known=KnownWeights(0.1, 0.05, highest=0.2, least_probability=0.03),
    score_error=0.04,
    fitted={"data": "made up"},
)


def test_they_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    MADE.save(tmp_path)
    assert load_ranking(tmp_path) == MADE


def test_a_folder_without_the_file_takes_those_that_ship(tmp_path: Path) -> None:
    shipped = load_ranking(tmp_path)
    assert shipped.relaxed.prototype_probability > 0
    assert set(shipped.fitted) > {"data", "command", "known", "unrelaxed", "floor", "score_error"}


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 2},
        {"decoded": {"distance": -1, "n_found": 0, "prototype_probability": 0, "floor": 0.01}},
        {"unrelaxed": {"distance": 0, "n_found": 0, "prototype_probability": 0.03}},
        {"unrelaxed": {"distance": 0, "n_found": 0, "prototype_probability": 0.03, "floor": 0}},
        {"known": {"on_hull": float("inf"), "above_hull": 0.1, "highest": 0.1, "least_probability": 0.02}},
        {"known": {}},
        {"relaxed": 3},
        {"score_error": 0},
        {"score_error": float("nan")},
        {"score_error": float("inf")},
        {"score_error": None},
        {"score_error": "0.03"},
    ],
)
def test_damaged_files_are_refused(damage: dict[str, object], tmp_path: Path) -> None:
    MADE.save(tmp_path)
    path = tmp_path / RANKING_FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | damage))
    with pytest.raises(WeightsError, match="fit it again with lcoms fit ranking"):
        load_ranking(tmp_path)
    for text in ("{", "[]", "null", json.dumps({name: content[name] for name in ("format", "decoded")})):
        path.write_text(text)
        with pytest.raises(WeightsError, match="damaged"):
            load_ranking(tmp_path)


def test_every_file_that_decides_an_answer_is_in_the_digest(tiny_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(tiny_weights, folder)
    before = WeightBundle.load(folder)
    assert before.ranking == load_ranking(tiny_weights)
    digests = {before.digest}
    models = [CalibrationModel(0.04, 0.1, -0.03, 100, 40, PredictionSpec())]
    for one in (MADE, Calibration(tuple(models))):
        one.save(folder)
        digests.add(WeightBundle.load(folder).digest)
    assert len(digests) == 3
    assert WeightBundle.load(folder).ranking == MADE
