"""Confidence: fitted probabilities are calibrated where they should be, and files of other kinds are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from lcoms.prediction.candidate import Candidate, Relaxation
from scipy.special import expit
from tiny import caesium_chloride, candidate_of, rock_salt, zinc_blende

from lcoms.core.errors import DataError, WeightsError
from lcoms.prediction.calibrate import (
    CONFIDENCE_FILE,
    FEATURES,
    ConfidenceModel,
    cross_validated,
    evidence,
    fit_confidence,
    load_confidence,
    reliability,
)
from lcoms.prediction.propose import Start
from lcoms.structure.crystal import Crystal


def made_up(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, and answers that are right with a probability that two of the features set."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(FEATURES)))
    return features, rng.random(n) < expit(1.5 * features[:, 0] - features[:, 3])


def relaxed(crystal: Crystal, energy: float, **changes: object) -> Candidate:
    outcome = Relaxation("converged", energy, None, 0.0, 5, crystal)
    return replace(candidate_of(crystal, score=energy, **changes), relaxation=outcome)


VOTED = Start("id", "KCl", 1.0, 1, torch.zeros(1), 225, 0, 0.4)


def test_evidence_by_hand() -> None:
    candidates = [
        relaxed(rock_salt(), -3.40, count=6, energy_per_atom=-1.9, start=VOTED),
        relaxed(caesium_chloride(3.4, (11, 17)), -3.38, count=3, energy_per_atom=-2.0),
        relaxed(zinc_blende(6.0, (11, 17)), -3.30, count=1, energy_per_atom=-1.5),
        candidate_of(rock_salt(), count=50),
    ]
    assert evidence(candidates) == pytest.approx(
        [0.2, log(2), log(6), 0.6, log(192), 0.1, log(0.41), 0.3, 0.0, log(2), 2.0]
    )
    assert evidence(candidates[:1])[:2] == [1.0, 0.0]
    near = relaxed(zinc_blende(5.0, (11, 17)), -3.375)
    assert evidence([*candidates, near])[1] == log(3)  # two within 0.03 eV/atom, one beyond
    assert candidates[0].relaxation is not None
    above = replace(candidates[0], relaxation=replace(candidates[0].relaxation, energy_above_lowest=0.02))
    assert evidence([above, *candidates[1:]])[8] == 0.02
    assert evidence(candidates[3:]) == []
    assert evidence([relaxed(rock_salt(), nan)]) == []
    assert len(evidence(candidates)) == len(FEATURES)


def test_probabilities_are_calibrated() -> None:
    features, right = made_up(4000)
    model = fit_confidence(features[:3000], right[:3000], oracle="x")
    stated = np.array([model.probability(row.tolist()) for row in features[3000:]])
    assert reliability(stated, right[3000:])[1] < 0.05
    assert np.array(model.coefficients)[[0, 3]] == pytest.approx([1.5, -1.0], abs=0.2)
    assert reliability(1 - stated, right[3000:])[1] > 0.3
    honest = cross_validated(features[:300], right[:300])
    assert reliability(honest, right[:300])[1] < 0.12
    # Nothing to learn: the share of right answers, and not the noise, comes out.
    noise = cross_validated(features[:300], np.random.default_rng(1).random(300) < 0.7)
    assert noise.std() < 0.15


def test_reliability_by_hand() -> None:
    rows, error = reliability(np.array([0.1, 0.1, 0.9, 1.0]), np.array([False, True, True, True]))
    assert rows == [(pytest.approx(0.1), 0.5, 2), (pytest.approx(0.95), 1.0, 2)]
    assert error == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)


def test_models_are_kept_as_json(tmp_path: Path) -> None:
    assert load_confidence(tmp_path) == {}
    model = fit_confidence(*made_up(60), oracle="chgnet:r2scan")
    other = fit_confidence(*made_up(60, seed=1), oracle="chgnet:r2scan, another")
    for one in (other, model, other):
        one.save(tmp_path)
    assert load_confidence(tmp_path) == {model.oracle: model, other.oracle: other}
    path = tmp_path / CONFIDENCE_FILE
    content = json.loads(path.read_text())
    [row, _] = content["models"]
    rows = [row | damage for damage in ({"coefficients": [1.0]}, {"mean": "x"}, {"intercept": None})]
    for damage in ({"format": 99}, {"features": ["moon"]}, *({"models": [row]} for row in rows)):
        path.write_text(json.dumps(content | damage))
        with pytest.raises(WeightsError, match="fit it anew"):
            load_confidence(tmp_path)
    path.write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        load_confidence(tmp_path)
    model.save(tmp_path)  # in place of what cannot be read
    assert load_confidence(tmp_path) == {model.oracle: model}


@pytest.mark.parametrize("right", [np.ones(20, dtype=bool), np.zeros(20, dtype=bool)])
def test_nothing_to_fit(right: np.ndarray) -> None:
    with pytest.raises(DataError, match="some right and some wrong"):
        fit_confidence(made_up(20)[0], right, oracle="")
    with pytest.raises(DataError):
        fit_confidence(*made_up(9), oracle="")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1" * 500, "1e400", '"x"', "null", "9" * 5000])
@pytest.mark.parametrize("name", ["intercept", "mean", "scale", "coefficients"])
def test_numbers_that_make_no_probability_are_refused(value: str, name: str, tmp_path: Path) -> None:
    n = len(FEATURES)
    ConfidenceModel((0.0,) * n, (1.0,) * n, (0.1,) * n, 0.0, 10, "x").save(tmp_path)
    content = json.loads((tmp_path / CONFIDENCE_FILE).read_text())
    row = content["models"][0]
    row[name] = "HERE" if name == "intercept" else ["HERE", *row[name][1:]]
    (tmp_path / CONFIDENCE_FILE).write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(WeightsError, match="damaged"):
        load_confidence(tmp_path)
