"""Calibration: fitted probabilities are calibrated, and other files are rejected."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, candidate_of, decoded_of, relaxed_of, rock_salt, zinc_blende

import lcoms
from lcoms.core.errors import DataError, WeightsError
from lcoms.prediction.calibrate import (
    CALIBRATION_FILE,
    Calibration,
    CalibrationModel,
    Scored,
    fit_calibration,
    load_calibration,
    relevant_part,
    reliability,
)
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate, Known
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_ase, to_ase

SPEC = PredictionSpec()
MODEL = CalibrationModel(temperature=0.04, none=0.1, slope=-0.03, n_fitted=100, max_atoms=80, spec=SPEC)


def made_up(n: int, seed: int = 0, model: CalibrationModel = MODEL) -> list[Scored]:
    """Return heights of six candidates, one or none of which is right with the probabilities of a model."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(n):
        heights, n_atoms = rng.exponential(0.1, 6), int(rng.choice([2, 8, 40, 80]))
        p = model.probabilities(heights, n_atoms)
        place = rng.choice(7, p=np.append(p, 1 - p.sum()))
        cases.append(Scored(heights, np.arange(6) == place, n_atoms))
    return cases


def relaxed(crystal: Crystal, energy: float, score: float) -> Candidate:
    return Candidate.of_relaxed(relaxed_of(decoded_of(crystal), energy), score, 0.0)


def test_probabilities_by_hand() -> None:
    """Probabilities are proportional to exp(-height / T), and to exp(-none / T) for none of them."""
    for n_atoms, none in ((8, 0.1), (16, 0.1 - 0.03 * np.log(2)), (4, 0.1 + 0.03 * np.log(2))):
        odds = np.exp(-np.array([0.02, 0.06, none]) / 0.04)
        assert MODEL.probabilities(np.array([0.02, 0.06]), n_atoms) == pytest.approx(odds[:2] / odds.sum())
    assert MODEL.probabilities(np.array([0.02, 50.0]), 8)[1] == 0


def test_each_relaxed_candidate_gets_its_probability() -> None:
    """Heights are relative to the lowest energy, which need not be that of the first."""
    candidates = [
        relaxed(rock_salt(), -3.39, -3.38),
        relaxed(caesium_chloride(3.4, (11, 17)), -3.40, -3.34),
        relaxed(zinc_blende(6.0, (11, 17)), nan, nan),
        candidate_of(rock_salt()),
    ]
    stated = MODEL.state(candidates)
    odds = np.exp(-np.array([0.02, 0.06, 0.1 - 0.03 * np.log(2 / 8)]) / 0.04)
    assert [c.probability for c in stated[:2]] == pytest.approx(odds[:2] / odds.sum())
    assert [c.probability for c in stated[2:]] == [None, None]
    halved = MODEL.state(candidates, left_out=0.5)
    assert [c.probability for c in halved[:2]] == pytest.approx(odds[:2] / odds.sum() / 2)
    assert MODEL.state(candidates[3:]) == candidates[3:]


def test_the_size_is_that_of_the_lowest_score() -> None:
    small, large = (from_ase(to_ase(rock_salt()).repeat((n, 1, 1))) for n in (1, 8))
    for first, n_atoms in ((small, 2), (large, 16)):
        candidates = [relaxed(large if first is small else small, -3.40, -3.30), relaxed(first, -3.39, -3.38)]
        expected = MODEL.probabilities(np.array([0.10, 0.02]), n_atoms)
        assert [c.probability for c in MODEL.state(candidates)] == pytest.approx(expected)


def test_nothing_is_stated_for_a_known_crystal_under_pressure_or_by_other_models() -> None:
    candidates = [relaxed(rock_salt(), -3.4, -3.4)]
    calibration = Calibration((MODEL,))
    with_models = SPEC.with_options({"ranking": {"committee": []}})
    assert calibration.applying(candidates, with_models, ["chgnet:r2scan"]) is MODEL
    known = [replace(candidates[0], known=Known("mp-1", 0.0, 0.0))]
    assert calibration.applying(known, SPEC, ["chgnet:r2scan"]) is None
    assert calibration.applying(candidates, SPEC, []) is None
    assert calibration.applying(candidates, SPEC, ["chgnet:r2scan", "another"]) is None


def test_a_fit_finds_temperature_none_and_slope() -> None:
    model = fit_calibration(made_up(3000), spec=SPEC)
    assert model.temperature == pytest.approx(0.04, abs=0.003)
    assert model.none == pytest.approx(0.1, abs=0.01)
    assert model.slope == pytest.approx(-0.03, abs=0.006)
    assert (model.n_fitted, model.max_atoms) == (3000, 80)
    fresh = made_up(1500, seed=1)
    stated = np.concatenate([model.probabilities(case.heights, case.n_atoms) for case in fresh])
    right = np.concatenate([case.right for case in fresh])
    assert reliability(stated, right)[1] < 0.02
    assert reliability(1 - stated, right)[1] > 0.3
    alike = [case._replace(n_atoms=12) for case in made_up(200)]
    assert fit_calibration(alike, spec=SPEC).slope == 0


def test_reliability_by_hand() -> None:
    rows, error = reliability(np.array([0.1, 0.1, 0.9, 1.0]), np.array([False, True, True, True]))
    assert rows == [(pytest.approx(0.1), 0.5, 2), (pytest.approx(0.95), 1.0, 2)]
    assert error == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)


def test_models_are_kept_as_json(tmp_path: Path) -> None:
    assert load_calibration(tmp_path) == Calibration()
    model = fit_calibration(made_up(60), spec=SPEC)
    other = fit_calibration(made_up(60, seed=1), spec=SPEC.with_options({"ranking": {"committee": ["another"]}}))
    for one in (other, model, other):
        load_calibration(tmp_path).with_model(one).save(tmp_path)
    assert load_calibration(tmp_path) == Calibration((model, other))
    path = tmp_path / CALIBRATION_FILE
    content = json.loads(path.read_text())
    row = content["models"][0]
    damages: tuple[dict[str, object], ...] = (
        {"temperature": 0.0}, {"temperature": "x"}, {"none": None}, {"spec": {"search": {"n_startz": 3}}},
        {"slope": float("nan")}, {"max_atoms": 0}, {"max_atoms": "many"},
    )  # fmt: skip
    rows = [row | damage for damage in damages]
    for damage in ({"format": 5}, *({"models": [row]} for row in rows)):
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
        {"search": {"n_starts": 30}},
        {"search": {"steps": 0}},
        {"search": {"start": "prior"}},
        {"search": {"symmetry": False}},
        {"search": {"formula_units": [2, 2]}},
        {"search": {"random_symmetric": {"n": 40}}},
    ],
    ids=str,
)
def test_a_model_is_for_predictions_made_as_those_it_was_fitted_on(options: dict[str, object]) -> None:
    model = fit_calibration(made_up(60), spec=SPEC)
    calibration = Calibration((model,))
    assert calibration.find(SPEC) is model
    other = SPEC.with_options(options)
    assert calibration.find(other) is None
    fitted = replace(model, spec=other)
    assert calibration.with_model(fitted).find(other) is fitted
    assert calibration.with_model(fitted).find(SPEC) is model


def test_what_leaves_the_first_candidate_alone_does_not_matter() -> None:
    model = fit_calibration(made_up(60), spec=SPEC)
    same = SPEC.with_options({"n_candidates": 3, "seed": 9, "search": {"exclude_same": True}, "phonons": {"n": 2}})
    assert relevant_part(same) == relevant_part(SPEC)
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


@pytest.mark.parametrize("place", [0, 9], ids=["in all", "in none"])
def test_nothing_to_fit(place: int) -> None:
    cases = [Scored(np.array([0.0, 0.1]), np.arange(2) == place, 8)] * 20
    with pytest.raises(DataError, match="some with the ground state and some without"):
        fit_calibration(cases, spec=SPEC)
    with pytest.raises(DataError):
        fit_calibration(made_up(9), spec=SPEC)
