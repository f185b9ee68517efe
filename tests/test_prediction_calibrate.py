"""Calibration: fitted probabilities are calibrated where they should be, and files of other kinds are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log, nan
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from tiny import caesium_chloride, candidate_of, decoded_of, proposal_of, relaxed_of, rock_salt, zinc_blende

import lcoms
from lcoms.core.errors import DataError, WeightsError
from lcoms.prediction.calibrate import (
    CALIBRATION_FILE,
    FEATURES,
    Calibration,
    cross_validated,
    evidence,
    fit_calibration,
    load_calibration,
    reliability,
    what_matters,
)
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Crystal


def made_up(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, and answers that are right with a probability that two of the features set."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(FEATURES)))
    return features, rng.random(n) < expit(1.5 * features[:, 0] - features[:, 3])


def relaxed(crystal: Crystal, energy: float, **changes: object) -> Candidate:
    return Candidate.of_relaxed(relaxed_of(decoded_of(crystal, **changes), energy), energy, 0.0)


TEMPLATE = proposal_of("id", "KCl", 1.0, space_group=225, wyckoff_sequence=0, prototype_probability=0.4)
SPEC = PredictionSpec()


def test_evidence_by_hand() -> None:
    candidates = [
        relaxed(rock_salt(), -3.40, n_found=6, energy_per_atom=-1.9, proposal=TEMPLATE),
        relaxed(caesium_chloride(3.4, (11, 17)), -3.38, n_found=3, energy_per_atom=-2.0),
        relaxed(zinc_blende(6.0, (11, 17)), -3.30, n_found=1, energy_per_atom=-1.5),
        candidate_of(rock_salt(), n_found=50),
    ]
    assert evidence(candidates) == pytest.approx(
        [0.2, log(2), log(6), 0.6, log(192), 0.1, log(0.41), 0.3, 0.0, log(2), 2.0]
    )
    assert evidence(candidates[:1])[:2] == [1.0, 0.0]
    near = relaxed(zinc_blende(5.0, (11, 17)), -3.375)
    assert evidence([*candidates, near])[1] == log(3)  # two within 0.03 eV/atom, one beyond
    above = replace(candidates[0], energy_above_lowest=0.02)
    assert evidence([above, *candidates[1:]])[8] == 0.02
    assert evidence(candidates[3:]) == []
    assert evidence([relaxed(rock_salt(), nan)]) == []
    assert len(evidence(candidates)) == len(FEATURES)


def test_probabilities_are_calibrated() -> None:
    features, right = made_up(4000)
    model = fit_calibration(features[:3000], right[:3000], spec=SPEC)
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
    assert load_calibration(tmp_path) == Calibration()
    model = fit_calibration(*made_up(60), spec=SPEC)
    other = fit_calibration(*made_up(60, seed=1), spec=SPEC.with_options({"ranking": {"committee": ["another"]}}))
    for one in (other, model, other):
        load_calibration(tmp_path).with_model(one).save(tmp_path)
    assert load_calibration(tmp_path) == Calibration((model, other))
    path = tmp_path / CALIBRATION_FILE
    content = json.loads(path.read_text())
    row = content["models"][0]
    damages: tuple[dict[str, object], ...] = (
        {"coefficients": [1.0]}, {"mean": "x"}, {"intercept": None}, {"scale": [0.0] * len(FEATURES)},
        {"spec": {"search": {"n_startz": 3}}},
    )  # fmt: skip
    rows = [row | damage for damage in damages]
    for damage in ({"format": 99}, {"features": ["moon"]}, *({"models": [row]} for row in rows)):
        path.write_text(json.dumps(content | damage))
        with pytest.raises(WeightsError, match="fit it again"):
            load_calibration(tmp_path)
    path.write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        load_calibration(tmp_path)
    Calibration((model,)).save(tmp_path)  # in place of what cannot be read
    assert load_calibration(tmp_path) == Calibration((model,))


@pytest.mark.parametrize(
    "options",
    [
        {"relaxation": {"oracle": "chgnet:0.3.0"}},
        {"relaxation": {"n_relax": 5}},
        {"relaxation": {"fmax": 0.05}},
        {"ranking": {"committee": ["sevennet:l3i5"]}},
        {"search": {"n_starts": 10}},
        {"search": {"steps": 0}},
        {"search": {"start": "prior"}},
        {"search": {"symmetry": False}},
        {"search": {"formula_units": [2, 2]}},
        {"search": {"random_symmetric": {"n": 40}}},
    ],
    ids=str,
)
def test_a_model_is_for_predictions_made_as_those_it_was_fitted_on(options: dict[str, object]) -> None:
    model = fit_calibration(*made_up(60), spec=SPEC)
    calibration = Calibration((model,))
    assert calibration.find(SPEC) is model
    other = SPEC.with_options(options)
    assert calibration.find(other) is None
    fitted = replace(model, spec=other)
    assert calibration.with_model(fitted).find(other) is fitted
    assert calibration.with_model(fitted).find(SPEC) is model


def test_what_leaves_the_first_candidate_alone_does_not_matter() -> None:
    model = fit_calibration(*made_up(60), spec=SPEC)
    same = SPEC.with_options({"n_candidates": 3, "seed": 9, "search": {"exclude_same": True}})
    assert what_matters(same) == what_matters(SPEC)
    assert Calibration((model,)).find(same) is model
    again = replace(model, spec=same)
    assert Calibration((model,)).with_model(again) == Calibration((again,))


@pytest.mark.parametrize("committee", [(), ("sevennet:l3i5",)], ids=["one model", "two models"])
def test_the_models_that_ship_are_for_the_usual_options(committee: tuple[str, ...]) -> None:
    shipped = load_calibration(Path(lcoms.__file__).parent / "weights")
    usual = Options(relax=True, committee=committee)
    found = shipped.find(spec_for(usual))
    assert found is not None
    assert found.n_fitted >= 100
    for effort in ("fast", "thorough"):
        assert shipped.find(spec_for(replace(usual, effort=effort))) is None


@pytest.mark.parametrize("right", [np.ones(20, dtype=bool), np.zeros(20, dtype=bool)])
def test_nothing_to_fit(right: np.ndarray) -> None:
    with pytest.raises(DataError, match="some right and some wrong"):
        fit_calibration(made_up(20)[0], right, spec=SPEC)
    with pytest.raises(DataError):
        fit_calibration(*made_up(9), spec=SPEC)
