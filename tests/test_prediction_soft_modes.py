"""Top candidates with soft modes are distorted along them, relaxed, and ranked with the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import candidate_of, perovskite
from toy_oracles import OffCentre

from lcoms.core.errors import ConfigError
from lcoms.oracles.base import Evaluation
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import nothing_decoded
from lcoms.prediction.found import Found
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.progress import silent
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.soft_modes import distort
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition, Crystal

A = 3.905


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def test_a_candidate_gives_its_distortions_on_exact_sites_with_its_own_proposal(bundle: WeightBundle) -> None:
    candidate = candidate_of(perovskite(A))
    found = distort([candidate], OffCentre(), bundle, silent)
    assert found.failures == ()
    assert len(found.crystals) >= 3
    assert all(one.space_group < candidate.space_group for one in found.crystals)
    assert all(one.is_exact and one.proposal is candidate.decoded.proposal for one in found.crystals)


def test_a_candidate_without_phonons_is_named_and_the_others_are_distorted(bundle: WeightBundle) -> None:
    class Blind(OffCentre):
        def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
            return [Evaluation.failed("no answer.", crystal.n_atoms) for crystal in crystals]

    found = distort([candidate_of(perovskite(A))], Blind(), bundle, silent)
    assert found.crystals == ()
    (failure,) = found.failures
    assert failure.startswith("No soft modes of the candidate in space group 221")


def test_what_was_found_is_joined_with_further_crystals_and_their_relaxations(bundle: WeightBundle) -> None:
    composition = Composition.from_formula("SrTiO3")
    (one, *_) = distort([candidate_of(perovskite(A))], OffCentre(), bundle, silent).crystals
    first = Found(nothing_decoded(composition), RelaxedSet((), (), (), ("a",), 3, 40))
    both = first.also([one], RelaxedSet((one,), (), (), ("b",), 2, 10))
    assert both.decoded.direct == (one,)
    assert both.relaxed is not None
    assert both.relaxed.chosen == (one,)
    assert (both.relaxed.failures, both.relaxed.n_relaxations, both.relaxed.n_oracle_calls) == (("a", "b"), 5, 50)
    assert replace(first, relaxed=None).also([one], None).relaxed is None


def test_a_candidate_that_was_not_relaxed_is_said_to_have_no_soft_modes(bundle: WeightBundle) -> None:
    spec = spec_for(Options(soft_modes=2, n_relax=1, effort="fast")).with_models(["analytic"])
    made = Predictor(bundle, spec).predict(Composition.from_formula("NaCl"))
    assert [one.is_relaxed for one in made.candidates[:2]] == [True, False]
    assert made.no_phonons[-1] == "No soft modes for rank 2: it was not relaxed; raise --n-relax."


def test_soft_modes_need_relaxation_at_zero_pressure_in_a_cell_that_may_change() -> None:
    assert spec_for(Options(soft_modes=2)).relaxation == replace(PredictionSpec().relaxation, soft_modes=2)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="no effect without relaxation"):
        spec_for(Options(soft_modes=2, relax=False))
    with pytest.raises(ConfigError, match="zero pressure"):
        spec_for(Options(soft_modes=2, pressure=5.0))
    with pytest.raises(ConfigError, match="omit soft_modes or cell"):
        spec_for(Options(soft_modes=2, cell=(4.0, 4.0, 4.0, 90.0, 90.0, 90.0)))
    with pytest.raises(ConfigError):
        spec_for(Options(soft_modes=-1))
