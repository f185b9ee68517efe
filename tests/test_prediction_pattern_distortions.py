"""Distortions of candidates that a powder pattern asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, candidate_of, rock_salt

from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import explains, rank_by_pattern
from lcoms.prediction.decode import nothing_decoded
from lcoms.prediction.found import Found
from lcoms.prediction.pattern_distortions import distorted_by_pattern
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.result import Task
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Composition, Crystal

NACL = Composition.from_formula("NaCl")
CUBIC = rock_salt(5.6)
SHAPE = np.diag([1.0, 1.0, 1.1]) / np.cbrt(1.1)
TETRAGONAL = Crystal(CUBIC.lattice @ SHAPE * 1.02, CUBIC.frac_coords, CUBIC.atomic_numbers)


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def fitter(crystal: Crystal) -> PatternFitter:
    return PatternFitter(measured_pattern(crystal, read_radiation("CuKa"), Measurement(), np.random.default_rng(1)))


def ranked_by(pattern: PatternFitter, *crystals: Crystal) -> list[Candidate]:
    return rank_by_pattern([candidate_of(crystal) for crystal in crystals], pattern, score_error=0.03)


def test_a_cubic_candidate_is_strained_as_the_pattern_asks_at_its_own_volume(bundle: WeightBundle) -> None:
    pattern = fitter(TETRAGONAL)
    ranked = ranked_by(pattern, CUBIC, caesium_chloride(3.4, (11, 17)))
    first, *_ = distorted_by_pattern(ranked, pattern, bundle)
    assert first.space_group == 139
    assert first.is_exact
    assert first.crystal.volume == pytest.approx(CUBIC.volume)
    a, _, c = np.sort(np.linalg.norm(pattern.fit(first.crystal).crystal.lattice, axis=1))
    wanted = np.sort(np.linalg.norm(pattern.fit(TETRAGONAL).crystal.lattice, axis=1))
    assert (a, c) == pytest.approx((wanted[0], wanted[2]), rel=1e-3)
    assert explains(ranked_by(pattern, first.crystal)[0])


def test_nothing_is_strained_if_a_candidate_explains_the_pattern(bundle: WeightBundle) -> None:
    pattern = fitter(CUBIC)
    assert distorted_by_pattern(ranked_by(pattern, CUBIC), pattern, bundle) == ()
    assert distorted_by_pattern([], pattern, bundle) == ()


def test_an_improbable_candidate_that_explains_the_pattern_does_not_keep_others_from_being_strained(
    bundle: WeightBundle,
) -> None:
    pattern = fitter(TETRAGONAL)
    candidates = [candidate_of(CUBIC, score=-5.0), candidate_of(TETRAGONAL, score=3.0)]
    ranked = rank_by_pattern(candidates, pattern, score_error=0.03)
    assert [explains(one) for one in ranked] == [False, True]
    assert [one.space_group for one in distorted_by_pattern(ranked, pattern, bundle)] == [139]


def test_a_strained_crystal_is_relaxed_in_its_cell_and_stays_apart_from_the_cubic_one(bundle: WeightBundle) -> None:
    """A free relaxation would lose the strain."""
    spec = spec_for(Options(oracle="analytic", starts=4, steps=1))
    predictor, pattern = Predictor(bundle, spec, processes=1), fitter(TETRAGONAL)
    cubic = ranked_by(pattern, CUBIC)[0].decoded
    decoded = replace(nothing_decoded(NACL), direct=(cubic,))
    (relaxed,) = predictor.relax([decoded])
    found = Found(decoded, relaxed)
    made = predictor.finish(decoded, relaxed, pattern=pattern)
    assert not any(map(explains, made.candidates))
    found, made = predictor.search_by_pattern(found, made, Task(NACL, pattern=pattern))
    assert (made.candidates[0].space_group, explains(made.candidates[0])) == (139, True)
    assert 225 in [one.space_group for one in made.candidates]
    assert made.candidates[0].crystal.volume == pytest.approx(relaxed.usable[0].crystal.volume)
