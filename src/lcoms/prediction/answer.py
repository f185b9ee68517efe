"""The last stage: relaxed and decoded crystals assembled into a ranked prediction with probabilities."""

from __future__ import annotations

from dataclasses import replace

from lcoms.oracles.energy_models import EnergyModels
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import rank_by_pattern
from lcoms.prediction.constraints import satisfying
from lcoms.prediction.decode import drop_duplicates
from lcoms.prediction.found import Found
from lcoms.prediction.known import in_known_order
from lcoms.prediction.order import in_order
from lcoms.prediction.phases import shipped_hull, with_spread
from lcoms.prediction.rank import rank_decoded, ranking_models, with_hull
from lcoms.prediction.reach import doubts
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.result import Prediction, Task
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate


def answer(
    found: Found, task: Task, bundle: WeightBundle, spec: PredictionSpec, energy_models: EnergyModels | None
) -> Prediction:
    """Return the ranked candidates, each with the probability that it is the known ground state.

    Args:
        found: decoded and relaxed crystals.
        task: has the start structure, if any, the hull of reference phases (None: of the phases in the bundle), and the
            fitter of a powder pattern.
        energy_models: models used to relax and rank; None if nothing was relaxed.
    """
    decoded, relaxed, pattern = found.decoded, found.relaxed, task.pattern
    kept = decoded.crystals[: spec.n_decoded]
    if relaxed is None:
        every = drop_duplicates([*decoded.direct, *kept])
        merged = len(decoded.direct) + len(kept) - len(every)
        candidates, relaxed = rank_decoded(every), RelaxedSet((), ())
    else:
        ranked = in_order(relaxed.usable, bundle, spec)
        failed = [replace(Candidate.of_decoded(one.decoded), relaxed=one) for one in relaxed.failed]
        rest = [one for one in kept if one not in relaxed.chosen]
        candidates = [*ranked, *failed, *rank_decoded(rest)]
        merged = len(relaxed.usable) - len(ranked)
    candidates = in_known_order(candidates, decoded.composition, bundle, spec)
    models = ranking_models(relaxed.usable, spec.models)
    usual = pattern is None and task.structure is None  # as in the predictions of the calibration
    calibrated = bundle.calibration.applying(candidates, spec, models) if usual else None
    if pattern is not None:
        fitted = [one.crystal for one in found.fitted]
        candidates = rank_by_pattern(candidates, pattern, fitted, score_error=bundle.ranking.score_error)
    elif calibrated is not None:
        candidates = calibrated.state(candidates, decoded.left_out[0])
    hull = task.hull or shipped_hull(decoded.composition, bundle.phases, spec)
    candidates = candidates if hull is None else list(with_hull(candidates, hull))
    candidates, contradictions = satisfying(candidates, spec.constraints, decoded.composition)
    shown = tuple(candidates[: spec.n_candidates])
    return Prediction(
        composition=decoded.composition,
        candidates=shown if hull is None else with_spread(shown, bundle.templates, energy_models),
        decoded=decoded,
        spec=spec,
        weights_digest=bundle.digest,
        ranked_by=models,
        n_duplicates=decoded.n_duplicates + merged,
        doubts=tuple(doubts(energy_models, decoded.composition)),
        failures=relaxed.failures,
        left_out=tuple((decoded.contradicting + contradictions).sentences()),
        n_relaxations=relaxed.n_relaxations,
        n_oracle_calls=relaxed.n_oracle_calls,
        calibrated_atoms=None if calibrated is None else calibrated.max_atoms,
    )
