"""Weights of the features of a fit: read from a folder of weights, the shipped ones without it, refused if damaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import rock_salt

from lcoms.core.errors import WeightsError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.posterior import explained_probability, explains, features, log_likelihood
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.diffraction.weights import PATTERN_FILE, Features, PatternWeights, load_pattern_weights
from lcoms.models.manifest import MANIFEST, read_manifest
from lcoms.prediction.bundle import WeightBundle

SHIPPED = Path(__file__).parent.parent / "src" / "lcoms" / "weights"


def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SHIPPED / PATTERN_FILE).read_text())
    return found


def test_a_folder_without_the_file_takes_those_that_ship(tmp_path: Path) -> None:
    assert load_pattern_weights(tmp_path) == load_pattern_weights()
    changed = content() | {"intercept": -2.5}
    (tmp_path / PATTERN_FILE).write_text(json.dumps(changed))
    assert load_pattern_weights(tmp_path) == replace(load_pattern_weights(), intercept=-2.5)


@pytest.mark.parametrize(
    "damage",
    [
        {"intercept": float("nan")},
        {"intercept": True},
        {"intercept": "1"},
        {"likelihood": {"misfit": -1.0}},
        {"likelihood": {"misfit": -1.0, "angle": 0.0, "unexplained": 0.0, "colour": 1.0}},
        {"explained": {"misfit": float("inf"), "angle": 0.0, "unexplained": 0.0}},
        {"explained": 3},
        {"least": 1.0},
    ],
)
def test_damaged_files_are_refused(damage: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / PATTERN_FILE
    path.write_text(json.dumps(content() | damage))
    with pytest.raises(WeightsError, match=r"pattern_weights\.json is damaged"):
        load_pattern_weights(tmp_path)


def test_files_of_other_versions_and_other_content_are_refused(tmp_path: Path) -> None:
    path = tmp_path / PATTERN_FILE
    path.write_text(json.dumps(content() | {"format": 99}))
    with pytest.raises(WeightsError, match="another version of lcoms"):
        load_pattern_weights(tmp_path)
    for text in ("{", "[]", "null", "{}"):
        path.write_text(text)
        with pytest.raises(WeightsError, match="is damaged"):
            load_pattern_weights(tmp_path)


def test_a_fit_is_judged_by_the_weights_of_its_fitter() -> None:
    pattern = measured_pattern(rock_salt(), read_radiation("CuKa"), Measurement(), np.random.default_rng(1))
    nothing = Features(0.0, 0.0, 0.0)
    plain = PatternFitter(pattern).fit(rock_salt())
    assert plain.weights == load_pattern_weights()
    even = PatternFitter(pattern, PatternWeights(nothing, nothing, 0.0, 0.5)).fit(rock_salt())
    assert (log_likelihood(even), explained_probability(even), explains(even)) == (0.0, 0.5, True)
    strict = PatternFitter(pattern, PatternWeights(nothing, nothing, 0.0, 0.51)).fit(rock_salt())
    assert not explains(strict)
    shaped = PatternFitter(pattern, PatternWeights(nothing._replace(angle=-2.0), nothing, 0.0, 0.5)).fit(rock_salt())
    assert log_likelihood(shaped) == -2.0 * features(shaped).angle


def test_they_are_in_the_digest_and_the_shipped_ones_recorded(tiny_weights: Path, tmp_path: Path) -> None:
    assert PATTERN_FILE in read_manifest(SHIPPED)
    folder = tmp_path / "weights"
    shutil.copytree(tiny_weights, folder)
    before = WeightBundle.load(folder)
    (folder / PATTERN_FILE).write_text(json.dumps(content() | {"intercept": -2.5}))
    (folder / MANIFEST).unlink(missing_ok=True)
    after = WeightBundle.load(folder)
    assert after.digest != before.digest
    assert (before.pattern, after.pattern.intercept) == (load_pattern_weights(), -2.5)
