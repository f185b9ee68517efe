"""Prediction from a formula alone, compared with known structures.

A reference counts as found within k where one of the first k candidates matches it: loosely (the field's match rate) or
strictly (pymatgen's default tolerances). A formula without any candidate counts as not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lcoms.crystal import Composition
from lcoms.errors import FormulaError
from lcoms.evaluate.references import Reference
from lcoms.evaluate.statistics import Share
from lcoms.match import LOOSE, STRICT, matches
from lcoms.models.weights import Weights
from lcoms.prediction import PredictConfig, Prediction, predict_crystals
from lcoms.symmetry import space_group_number


@dataclass(frozen=True)
class Outcome:
    """How one reference fared with one seed.

    Attributes:
        loose_rank, strict_rank: rank of the first candidate that matches, None where none does.
        space_group: of the reference.
        first_space_group: of the first candidate, None without candidates.
        n_candidates: how many there were.
        note: why there is no candidate, where there is none.
    """

    name: str
    formula: str
    seed: int
    loose_rank: int | None
    strict_rank: int | None
    space_group: int
    first_space_group: int | None
    n_candidates: int
    note: str = ""


def evaluate_formulas(
    references: Sequence[Reference],
    weights: Weights,
    config: PredictConfig,
    *,
    n_seeds: int = 1,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Predict every composition once a seed and look for its references among the candidates."""
    outcomes = []
    groups: dict[Composition, list[Reference]] = {}
    for reference in references:
        groups.setdefault(reference.composition, []).append(reference)
    for seed in range(config.seed, config.seed + n_seeds):
        for composition, members in groups.items():
            prediction, note = _predict(composition, weights, replace(config, seed=seed))
            for reference in members:
                outcome = _compare(reference, prediction, seed, note)
                outcomes.append(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
    return outcomes


def share_within(outcomes: Iterable[Outcome], k: int, *, strict: bool) -> Share:
    """Share of outcomes found among the first k candidates."""
    ranks = [outcome.strict_rank if strict else outcome.loose_rank for outcome in outcomes]
    return Share(sum(rank is not None and rank <= k for rank in ranks), len(ranks))


def _predict(composition: Composition, weights: Weights, config: PredictConfig) -> tuple[Prediction | None, str]:
    try:
        return predict_crystals(composition, weights, config), ""
    except FormulaError as error:
        return None, str(error)


def _compare(reference: Reference, prediction: Prediction | None, seed: int, note: str) -> Outcome:
    candidates = () if prediction is None else prediction.candidates
    ranks: dict[str, int | None] = {"loose": None, "strict": None}
    for rank, candidate in enumerate(candidates, 1):
        for name, tolerance in (("loose", LOOSE), ("strict", STRICT)):
            if ranks[name] is None and matches(candidate.crystal, reference.crystal, tolerance):
                ranks[name] = rank
    return Outcome(
        name=reference.name,
        formula=reference.composition.reduced_formula,
        seed=seed,
        loose_rank=ranks["loose"],
        strict_rank=ranks["strict"],
        space_group=space_group_number(reference.crystal),
        first_space_group=candidates[0].space_group if candidates else None,
        n_candidates=len(candidates),
        note=note,
    )
