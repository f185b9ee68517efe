"""Ranking with a powder pattern: the crystal of the pattern comes first and is reported as explaining it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, candidate_of, nickel_arsenide, relaxed_of, rock_salt, zinc_blende

from lcoms.core.errors import ConfigError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.posterior import log_likelihood
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.diffraction.weights import Features, load_pattern_weights
from lcoms.prediction import by_pattern
from lcoms.prediction.by_pattern import explains, pattern_sentence, read_fitter
from lcoms.prediction.cif_record import Made
from lcoms.prediction.output import candidate_files, candidate_record
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_cif

MAGNESIA = (12, 8)
SCORE_ERROR = 0.03
rank_by_pattern = partial(by_pattern.rank_by_pattern, score_error=SCORE_ERROR)


def fitter(crystal: Crystal) -> PatternFitter:
    return PatternFitter(measured_pattern(crystal, read_radiation("CuKa"), Measurement(), np.random.default_rng(1)))


def test_the_crystal_that_gave_the_pattern_comes_first_though_its_cell_errs_and_its_score_is_worse() -> None:
    candidates = [
        candidate_of(zinc_blende(4.6, MAGNESIA), score=-0.05),
        candidate_of(rock_salt(4.29, MAGNESIA), score=0.0),
        candidate_of(caesium_chloride(2.6, MAGNESIA), score=-0.02),
    ]
    first, *rest = rank_by_pattern(candidates, fitter(rock_salt(4.2, MAGNESIA)))
    assert first.decoded is candidates[1].decoded
    assert first.pattern is not None
    assert first.pattern.probability > 0.9
    assert sum(c.pattern.probability for c in (first, *rest) if c.pattern is not None) == pytest.approx(1)
    assert first.crystal is candidates[1].crystal  # the relaxed cell stays; the fitted one stands beside it
    assert first.pattern.fit.crystal.volume == pytest.approx(rock_salt(4.2, MAGNESIA).volume, rel=2e-3)
    assert first.score == 0.0
    assert not pattern_sentence([first, *rest])


def test_scores_decide_between_crystals_that_fit_alike() -> None:
    lower, higher = (candidate_of(rock_salt(4.2, MAGNESIA), score=score) for score in (-0.03, 0.0))
    first, second = rank_by_pattern([higher, lower], fitter(rock_salt(4.2, MAGNESIA)))
    assert first.score == -0.03
    assert first.pattern is not None
    assert second.pattern is not None
    ratio = first.pattern.probability / second.pattern.probability
    assert ratio == pytest.approx(np.exp(0.03 / SCORE_ERROR), rel=1e-6)


def test_each_free_parameter_of_the_cell_costs_one() -> None:
    hexagonal, cubic = (candidate_of(cell) for cell in (nickel_arsenide(numbers=MAGNESIA), rock_salt(4.2, MAGNESIA)))
    first, second = rank_by_pattern([hexagonal, cubic], fitter(rock_salt(4.2, MAGNESIA)))
    assert first.pattern is not None
    assert second.pattern is not None
    assert (first.pattern.fit.n_cell, second.pattern.fit.n_cell) == (1, 2)
    odds = np.log(first.pattern.probability / second.pattern.probability)
    assert odds == pytest.approx(log_likelihood(first.pattern.fit) - log_likelihood(second.pattern.fit) + 1)


def test_the_likelihood_of_the_pattern_multiplies_the_probability_by_score() -> None:
    wrong, right = (candidate_of(cell) for cell in (zinc_blende(4.6, MAGNESIA), rock_salt(4.2, MAGNESIA)))
    first, second = rank_by_pattern([wrong, right], fitter(rock_salt(4.2, MAGNESIA)))
    assert first.pattern is not None
    assert second.pattern is not None
    odds = np.log(first.pattern.probability / second.pattern.probability)
    assert odds == pytest.approx(log_likelihood(first.pattern.fit) - log_likelihood(second.pattern.fit))


def test_it_is_said_where_no_candidate_explains_the_pattern() -> None:
    ranked = rank_by_pattern([candidate_of(zinc_blende(4.6, MAGNESIA))], fitter(nickel_arsenide()))
    assert pattern_sentence(ranked).startswith("No crystal explains the pattern")


@pytest.mark.parametrize(("probability", "said"), [(0.58, "No crystal explains the pattern"), (0.62, "")])
def test_a_candidate_explains_the_pattern_from_a_probability_of_0_6(probability: float, said: str) -> None:
    (found,) = rank_by_pattern([candidate_of(rock_salt(4.2, MAGNESIA))], fitter(rock_salt(4.2, MAGNESIA)))
    assert found.pattern is not None
    intercept = float(np.log(probability / (1 - probability)))
    weights = replace(found.pattern.fit.weights, explained=Features(0.0, 0.0, 0.0), intercept=intercept)
    candidate = replace(found, pattern=replace(found.pattern, fit=replace(found.pattern.fit, weights=weights)))
    assert explains(candidate) == (not said)
    assert pattern_sentence([candidate]).startswith(said)
    assert bool(pattern_sentence([candidate])) == bool(said)


def test_results_hold_the_fit_and_a_file_with_the_fitted_cell() -> None:
    (found,) = rank_by_pattern([candidate_of(rock_salt(4.29, MAGNESIA))], fitter(rock_salt(4.2, MAGNESIA)))
    assert found.pattern is not None
    record = candidate_record(1, found)["pattern"]
    assert record["probability"] == 1
    assert 0 < record["rwp"] < 0.3
    assert record["fitted_up_to"] == pytest.approx(found.pattern.fit.two_theta[-1], abs=1e-3)
    made = Made("MgO", 1, PredictionSpec())
    files = candidate_files([found], made)
    assert set(files) == {"rank-01.cif", "rank-01-fitted.cif", "rank-01-pattern.svg"}
    for said in ("lines of the crystal", "difference", "Rwp"):
        assert said in files["rank-01-pattern.svg"]
    assert candidate_files([found], made) == files
    assert from_cif(files["rank-01-fitted.cif"]).volume < from_cif(files["rank-01.cif"]).volume


def test_a_pattern_needs_its_wavelength_and_a_wavelength_its_pattern(tmp_path: Path) -> None:
    weights = load_pattern_weights()
    assert read_fitter(None, None, weights) is None
    with pytest.raises(ConfigError, match="give the wavelength"):
        read_fitter(tmp_path / "data.xy", None, weights)
    with pytest.raises(ConfigError, match="without a pattern"):
        read_fitter(None, "CuKa", weights)


def stretched(crystal: Crystal, factor: float) -> Crystal:
    return Crystal(crystal.lattice * [1, 1, factor], crystal.frac_coords, crystal.atomic_numbers)


def test_a_candidate_whose_relaxed_cell_is_too_far_off_is_fitted_from_a_cell_that_the_pattern_chose() -> None:
    measured = nickel_arsenide(numbers=MAGNESIA)
    far, other = candidate_of(stretched(measured, 1.18)), rock_salt(4.2, MAGNESIA)
    fit_of = fitter(measured)
    (alone,) = rank_by_pattern([far], fit_of)
    (helped,) = rank_by_pattern([far], fit_of, [other, stretched(measured, 1.01)])
    assert alone.pattern is not None
    assert helped.pattern is not None
    assert alone.pattern.fit.rwp > 0.3
    assert helped.pattern.fit.rwp < 0.1
    assert helped.crystal is far.crystal


def test_no_candidate_is_fitted_from_the_cell_of_another_structure() -> None:
    candidate, measured = candidate_of(zinc_blende(4.6, MAGNESIA)), rock_salt(4.2, MAGNESIA)
    fit_of = fitter(measured)
    (alone,), (helped,) = rank_by_pattern([candidate], fit_of), rank_by_pattern([candidate], fit_of, [measured])
    assert alone.pattern is not None
    assert helped.pattern is not None
    assert helped.pattern.fit is alone.pattern.fit


@pytest.mark.parametrize(
    ("lower", "sentence"),
    [
        (5.0, "No probable crystal explains the pattern; rank 2 does, but with a score 5.00 eV/atom higher."),
        (
            0.31,
            "No probable crystal explains the pattern; rank 2 does, but with a score 0.31 eV/atom higher.",
        ),
        (0.29, "Rank 1 does not explain the pattern; rank 2 does, with a score 0.29 eV/atom higher."),
    ],
)
def test_where_rank_1_does_not_explain_the_pattern_the_candidate_that_does_is_named(
    lower: float, sentence: str
) -> None:
    fit_of = fitter(rock_salt(4.2, MAGNESIA))
    candidates = [
        candidate_of(zinc_blende(4.6, MAGNESIA), score=-lower),
        candidate_of(rock_salt(4.2, MAGNESIA), score=0.0),
    ]
    ranked = sorted(rank_by_pattern(candidates, fit_of), key=lambda one: one.score)
    assert [explains(one) for one in ranked] == [False, True]
    assert pattern_sentence(ranked) == sentence
    assert pattern_sentence(ranked[1:]) == ""
    assert pattern_sentence(ranked[:1]).startswith("No crystal explains the pattern")


def test_a_crystal_that_was_not_relaxed_is_not_compared_by_its_score() -> None:
    relaxed, other = (candidate_of(cell) for cell in (zinc_blende(4.6, MAGNESIA), rock_salt(4.2, MAGNESIA)))
    first = replace(relaxed, relaxed=relaxed_of(relaxed.decoded, -5.0), score=-5.0)
    ranked = rank_by_pattern([first, replace(other, score=3.0)], fitter(rock_salt(4.2, MAGNESIA)))
    assert [one.is_relaxed for one in ranked] == [True, False]
    assert pattern_sentence(ranked) == "No probable crystal explains the pattern; rank 2 does, but was not relaxed."
