"""From a formula to ranked candidates: seeds, stages, failures, and checks before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    KnownDecoder,
    caesium_chloride,
    decoded_of,
    decoded_set,
    nickel_arsenide,
    perovskite,
    relaxed_of,
    rock_salt,
    wurtzite,
    zinc_blende,
)

from lcoms.core.errors import ConfigError, FormulaError, OracleError
from lcoms.models.base import SymmetricDecoder
from lcoms.oracles.hull import Hull, Phase
from lcoms.prediction import pipeline
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.calibrate import Calibration, CalibrationModel
from lcoms.prediction.model_options import RankingSpec
from lcoms.prediction.pipeline import Predictor, Progress
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.result import Prediction, decoded_candidates, require_candidates
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.prediction.table import sentences
from lcoms.relax.result import RelaxConfig
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition

SALT = Composition.from_formula("NaCl")
NUMBERS = (11, 17)
QUICK = PredictionSpec(search=SearchSpec(n_starts=6, steps=3), relaxation=None)
RELAXED = replace(QUICK, relaxation=RelaxationSpec("analytic", n_relax=2, max_steps=5))
BARE = ScoreWeights(0.0, 0.0, 0.0, floor=0.01)
UNFINISHED = {"relaxation": {"n_final": 0}}


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def predictor(bundle: WeightBundle, spec: PredictionSpec = QUICK) -> Predictor:
    return Predictor(bundle, spec, processes=1)


def figures(prediction: Prediction) -> list[tuple[object, ...]]:
    return [
        (c.score, c.space_group, c.n_found, c.crystal.frac_coords.tolist(), c.crystal.lattice.tolist())
        for c in prediction.candidates
    ]


def test_the_same_seed_gives_the_same_answer_whatever_stands_beside_it(bundle: WeightBundle) -> None:
    found = predictor(bundle)
    alone = found.predict(SALT)
    assert alone.candidates
    found.predict("SrTiO3")
    torch.manual_seed(99)
    assert figures(found.predict("NaCl")) == figures(alone)
    assert figures(found.predict("Cl4Na4")) == figures(alone)
    assert figures(found.with_options({"seed": 1}).predict(SALT)) != figures(alone)


def test_compositions_have_random_numbers_of_their_own(bundle: WeightBundle) -> None:
    found = predictor(bundle, QUICK.with_options({"search": {"start": "prior", "steps": 0}}))

    def latents(formula: str) -> set[tuple[float, ...]]:
        return {tuple(candidate.proposal.latent.tolist()) for candidate in found.predict(formula).candidates}

    assert latents("NaCl")
    assert latents("NaCl") == latents("NaCl")
    assert not latents("NaCl") & latents("CsCl")


def test_candidates_are_as_many_as_wanted_and_say_how_they_were_made(bundle: WeightBundle) -> None:
    found = predictor(bundle).predict(SALT)
    assert len(found) == len(found.decoded.crystals) > 1
    fewer = predictor(bundle, QUICK.with_options({"n_candidates": 1})).predict(SALT)
    assert figures(fewer) == figures(found)[:1]
    assert (found.spec, found.weights_digest, found.composition) == (QUICK, bundle.digest, SALT)
    assert (found.ranked_by, found.probability, found.n_relaxations) == ((), None, 0)
    assert decoded_candidates(found) == [candidate.decoded for candidate in found.candidates]


def test_a_start_structure_is_the_only_proposal(bundle: WeightBundle) -> None:
    found = predictor(bundle).predict(SALT, structure=wurtzite())
    assert found.decoded.n_proposals == 1
    random = QUICK.with_options({"search": {"random_symmetric": {"n": 3}}})
    both = predictor(bundle, random).predict(SALT, structure=wurtzite())
    assert both.spec.search.random_symmetric.n == 0  # so that none is said to be missing
    assert not any("random symmetric" in sentence for sentence in sentences(both))
    (candidate,) = found.candidates
    assert (candidate.proposal.source, candidate.proposal.n_formula_units) == ("given", 2)


def test_the_best_are_relaxed_and_the_rest_stands_behind(bundle: WeightBundle) -> None:
    found = predictor(bundle, RELAXED).predict(SALT)
    assert found.n_relaxations == 2
    assert found.ranked_by == ("analytic",)
    relaxed = [candidate.is_relaxed for candidate in found.candidates]
    assert relaxed == sorted(relaxed, reverse=True)
    assert any(relaxed)
    behind = [c for c in found.candidates if c.relaxed is None]
    assert [c.decoded for c in behind] == list(found.decoded.crystals[2:10])
    assert min(c.energy_above_lowest for c in found.candidates if c.is_relaxed) == 0
    assert all(isnan(c.energy_above_lowest) for c in behind)


def test_progress_counts_every_relaxation(bundle: WeightBundle) -> None:
    told: list[Progress] = []
    predictor(bundle, RELAXED).predict(SALT, progress=told.append)
    assert str(told[0]) == "searching"
    relaxing = [str(one) for one in told if one.stage == "relaxing"]
    assert relaxing[:3] == ["relaxing: 0 of 2", "relaxing: 1 of 2", "relaxing: 2 of 2"]
    assert {one.formula for one in told} == {"NaCl"}


def test_progress_counts_the_samples_of_a_search(bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.prediction.decoder.ROWS_AT_ONCE", 4)
    told: list[Progress] = []
    predictor(bundle).predict(SALT, progress=told.append)
    done = [one.done for one in told if one.stage == "searching"]
    assert len(done) > 3
    assert done == sorted(done)
    assert (told[-1].done, told[-1].stage) == (told[-1].total, "searching")


def test_whoever_watches_may_end_a_search(bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.prediction.decoder.ROWS_AT_ONCE", 4)
    within = bundle.cdvae.within_groups
    assert within is not None
    decoded: list[int] = []
    decode = type(within).decode_within

    def counted(self: SymmetricDecoder, z: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        decoded.append(len(z))
        return decode(self, z, *arguments, **options)

    def enough(progress: Progress) -> None:
        if progress.done:
            raise InterruptedError

    monkeypatch.setattr(type(within), "decode_within", counted)
    with pytest.raises(InterruptedError):
        predictor(bundle).predict(SALT, progress=enough)
    assert decoded == [4]
    predictor(bundle).predict(SALT)  # nobody watches this one
    assert len(decoded) > 3


def test_the_first_candidates_are_relaxed_to_smaller_forces(bundle: WeightBundle) -> None:
    spec = RELAXED.with_options({"relaxation": {"fmax": 0.5, "final_fmax": 0.01, "n_final": 1, "max_steps": 200}})
    found, before = (predictor(bundle, s).predict(SALT) for s in (spec, spec.with_options(UNFINISHED)))
    steps_left = [
        relax_crystals([one.candidates[0].crystal], "analytic", RelaxConfig(fmax=0.02), processes=1)[0].n_steps
        for one in (found, before)
    ]
    assert steps_left[0] == 0 < steps_left[1]


def test_random_symmetric_crystals_are_relaxed_beside_the_others(bundle: WeightBundle) -> None:
    options = {"search": {"random_symmetric": {"n": 2, "drawn": 10}}}
    found = predictor(bundle, RELAXED.with_options(options)).predict(SALT)
    assert found.n_relaxations == 2 + len(found.decoded.random_symmetric) > 2


def test_several_formulas_come_one_by_one(bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    run = Predictor.run

    def watched(self: Predictor, task: pipeline.Task, progress: Callable[[Progress], None] | None = None) -> Prediction:
        asked.append(task.composition.reduced_formula)
        return run(self, task, progress)

    monkeypatch.setattr(Predictor, "run", watched)
    predictions = predictor(bundle).predict_all(["NaCl", "ZnO", "Fe"])
    assert asked == []
    assert next(predictions).composition == SALT
    assert asked == ["NaCl"]
    assert next(predictions).composition.reduced_formula == "ZnO"
    assert asked == ["NaCl", "ZnO"]
    with pytest.raises(FormulaError, match="no crystal with Fe"):
        next(predictions)


def never(*_: object, **__: object) -> None:
    raise AssertionError("work was done")


@pytest.mark.parametrize(
    "options", [{"relaxation": {"oracle": "crystal ball"}}, {"ranking": {"committee": ["crystal ball"]}}]
)
def test_a_wrong_name_of_a_model_costs_nothing(
    options: dict[str, object], bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The further models are used after the relaxations, but loaded before any work."""
    for name in ("pipeline.find_proposals", "pipeline.decode", "relaxing.relax_crystals"):
        monkeypatch.setattr(f"lcoms.prediction.{name}", never)
    with pytest.raises(OracleError, match="crystal ball"):
        predictor(bundle, RELAXED.with_options(options)).predict(SALT)


def test_models_are_made_once_for_predictors_that_differ_in_other_options(bundle: WeightBundle) -> None:
    first = predictor(bundle, replace(RELAXED, ranking=RankingSpec(("toy_oracles:Springs",))))
    second = first.with_options({"seed": 3, "relaxation": {"n_relax": 7}})
    assert second.energy_models is first.energy_models is not None
    assert first.with_options({"relaxation": None, "ranking": {"committee": []}}).oracle is None


def test_what_cannot_be_handled_is_said_before_any_work(bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "find_proposals", never)
    with pytest.raises(FormulaError, match="no crystal with Fe or Au"):
        predictor(bundle).predict("FeAu2")
    monkeypatch.setattr(pipeline, "check_composition", lambda *_: None)
    strict = predictor(bundle, RELAXED.with_options({"relaxation": {"oracle": "toy_oracles:Raises"}}))
    with pytest.raises(OracleError, match="no lawrencium here"):
        strict.predict("LrCl")


def test_options_and_weights_can_be_changed(bundle: WeightBundle) -> None:
    first = predictor(bundle)
    second = first.with_options({"search": {"steps": 0}})
    assert (second.spec.search.steps, first.spec.search.steps, second.processes) == (0, 3, 1)
    with pytest.raises(ConfigError, match=r"did you mean search\.steps"):
        first.with_options({"search": {"step": 0}})
    other = replace(bundle, digest="another")
    assert first.with_bundle(other).predict(SALT).weights_digest == "another"


def test_nothing_found_is_an_error_only_where_it_is_asked_for(bundle: WeightBundle) -> None:
    empty = replace(bundle, cdvae=KnownDecoder([None] * 6))
    found = predictor(empty, QUICK.with_options({"search": {"symmetry": False}})).predict(SALT)
    assert (len(found), found.decoded.n_invalid) == (0, 6)
    with pytest.raises(FormulaError, match="NaCl: none of 6 proposals gave a valid crystal"):
        require_candidates(found)


def calibrated(bundle: WeightBundle, **models: PredictionSpec) -> WeightBundle:
    """Return weights with calibrations that give one candidate a probability of 0.5, or nearly 1 if named so."""
    fitted = [CalibrationModel(0.1, 9.0 if name == "sure" else 0.0, 0.0, 9, 40, spec) for name, spec in models.items()]
    ranking = replace(bundle.ranking, relaxed=BARE)
    return replace(bundle, ranking=ranking, calibration=Calibration(tuple(fitted)))


def test_failed_relaxations_stand_behind_and_are_said(bundle: WeightBundle) -> None:
    caesium, nickeline, salt = (
        decoded_of(c) for c in (caesium_chloride(3.4, NUMBERS), nickel_arsenide(3.9, 6.2, NUMBERS), rock_salt())
    )
    failed, good = relaxed_of(caesium, nan, status="exploded"), relaxed_of(nickeline, -3.2)
    relaxed = RelaxedSet((caesium, nickeline), (good,), (failed,), ("candidate 1: exploded",), 2, 9)
    found = predictor(calibrated(bundle), RELAXED).finish(decoded_set(caesium, nickeline, salt), relaxed)
    assert [c.space_group for c in found.candidates] == [194, 221, 225]
    assert [None if c.relaxed is None else c.relaxed.status for c in found.candidates] == [
        "converged", "exploded", None
    ]  # fmt: skip
    assert [c.is_relaxed for c in found.candidates] == [True, False, False]
    assert found.failures == ("candidate 1: exploded",)
    assert (found.n_relaxations, found.n_oracle_calls, found.n_duplicates) == (2, 9, 3)
    one = predictor(bundle, RELAXED.with_options({"n_candidates": 1}))
    assert len(one.finish(decoded_set(caesium, nickeline, salt), relaxed)) == 1


def test_what_became_one_structure_is_a_duplicate(bundle: WeightBundle) -> None:
    one, two = decoded_of(rock_salt(), n_found=2), decoded_of(rock_salt(5.7), n_found=3)
    relaxed = RelaxedSet((one, two), (relaxed_of(one, -3.4), replace(relaxed_of(two, -3.4), crystal=one.crystal)))
    found = predictor(bundle, RELAXED).finish(decoded_set(one, two), relaxed)
    assert [(c.n_found, c.space_group) for c in found.candidates] == [(5, 225)]
    assert found.n_duplicates == 4


def test_energies_above_a_hull_are_those_of_relaxed_candidates(bundle: WeightBundle) -> None:
    salt, blende = decoded_of(rock_salt()), decoded_of(zinc_blende(6.0, NUMBERS))
    relaxed = RelaxedSet((salt,), (relaxed_of(salt, -3.4),))
    elements = [Phase(Composition.from_formula(name), 0.0) for name in ("Na", "Cl")]
    found = predictor(bundle, RELAXED).finish(decoded_set(salt, blende), relaxed, hull=Hull(elements, None))
    assert [c.e_above_hull for c in found.candidates] == [pytest.approx(-3.4), None]


def test_the_probability_is_that_of_the_models_that_ranked(bundle: WeightBundle) -> None:
    two = replace(RELAXED, ranking=RankingSpec(("toy_oracles:Springs",)))
    weights = calibrated(bundle, sure=two, unsure=RELAXED)
    salt = decoded_of(rock_salt())
    for energy, ranked_by, probability in ((-9.0, 2, 1.0), (nan, 1, 0.5)):
        relaxed = RelaxedSet((salt,), (relaxed_of(salt, -3.4, further_energies=(energy,)),))
        found = predictor(weights, two).finish(decoded_set(salt), relaxed)
        assert found.ranked_by == ("analytic", "toy_oracles:Springs")[:ranked_by]
        assert found.probability == pytest.approx(probability, abs=1e-3)
        assert predictor(calibrated(bundle), two).finish(decoded_set(salt), relaxed).probability is None


def test_no_probability_is_stated_for_other_options_or_without_a_relaxed_candidate(bundle: WeightBundle) -> None:
    weights, salt = calibrated(bundle, sure=RELAXED), decoded_of(rock_salt())
    relaxed = RelaxedSet((salt,), (relaxed_of(salt, -3.4),))
    stated = predictor(weights, RELAXED).finish(decoded_set(salt), relaxed)
    assert (stated.probability, stated.calibrated_atoms) == (pytest.approx(1, abs=1e-3), 40)
    other = RELAXED.with_options({"search": {"steps": 4}})
    unstated = predictor(weights, other).finish(decoded_set(salt), relaxed)
    assert (unstated.probability, unstated.calibrated_atoms) == (None, None)
    failed = RelaxedSet((salt,), (), (relaxed_of(salt, nan),))
    assert predictor(weights, RELAXED).finish(decoded_set(salt), failed).probability is None


def test_no_probability_is_stated_if_only_a_start_structure_was_tried(bundle: WeightBundle) -> None:
    found = predictor(calibrated(bundle, sure=RELAXED), RELAXED)
    assert found.predict(SALT).probability is not None
    alone = found.predict(SALT, structure=rock_salt())
    assert any(candidate.is_relaxed for candidate in alone.candidates)
    assert [candidate.probability for candidate in alone.candidates] == [None] * len(alone)
    assert alone.calibrated_atoms is None


def test_the_committee_is_asked_about_relaxed_crystals(bundle: WeightBundle) -> None:
    found = predictor(bundle, replace(RELAXED, ranking=RankingSpec(("toy_oracles:Springs",)))).predict(SALT)
    assert found.ranked_by == ("analytic", "toy_oracles:Springs")
    relaxed = [c.relaxed for c in found.candidates if c.relaxed is not None and c.is_relaxed]
    assert relaxed
    assert all(len(one.further_energies) == 1 for one in relaxed)


def test_sets_of_several_compositions_are_relaxed_together(bundle: WeightBundle) -> None:
    found = predictor(bundle, RELAXED)
    sets = [found.decode(Composition.from_formula(name)) for name in ("NaCl", "ZnO")]
    together = found.relax(sets)
    alone = [found.relax([one])[0] for one in sets]
    for one, other in zip(together, alone, strict=True):
        assert [r.energy_per_atom for r in one.usable] == [r.energy_per_atom for r in other.usable]
        assert one.n_relaxations == 2


def test_large_formula_units_are_refused(bundle: WeightBundle) -> None:
    with pytest.raises(FormulaError, match=r"13 atoms in its formula unit; cells of up to 12 are tried"):
        predictor(bundle).predict("Na12Cl")
    assert predictor(bundle).predict(perovskite().composition).composition.reduced_formula == "SrTiO3"
