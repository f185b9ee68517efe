"""Which decoded crystals are worth a relaxation: those of low energy and high probability before it.

One evaluation by the energy model tells far more than the surrogate does: the known crystal is nearly always among the
five lowest (`benchmarks/relaxations.py`), so that most relaxations can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.pressure import compressed
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import RelaxationSpec
from lcoms.prediction.stages import Decoded


def worth_relaxing(
    decoded: DecodedSet, oracle: EnergyOracle, weights: ScoreWeights, spec: RelaxationSpec
) -> list[Decoded]:
    """Return the crystals to relax: the best ones, those taken directly, and the random symmetric ones.

    The best are those within `spec.window` of the lowest score, at least `spec.n_least` and at most `spec.n_relax`.
    The lowest score is that of a crystal on the exact sites of a template, if there is one: the energy of a crystal
    that was decoded badly can be far too low.

    Args:
        weights: of the score before relaxation.
    """
    scores = scores_unrelaxed(decoded.crystals, oracle, weights, spec)
    exact = [score for one, score in zip(decoded.crystals, scores, strict=True) if one.is_exact]
    highest = min(exact or scores, default=inf) + spec.window
    order = sorted(range(len(scores)), key=scores.__getitem__)[: spec.n_relax]
    chosen = {at for place, at in enumerate(order) if place < spec.n_least or scores[at] <= highest}
    best = [one for at, one in enumerate(decoded.crystals) if at in chosen]
    return [*best, *decoded.direct, *decoded.random_symmetric]


def scores_unrelaxed(
    crystals: Sequence[Decoded], oracle: EnergyOracle, weights: ScoreWeights, spec: RelaxationSpec
) -> list[float]:
    """Return the score of each crystal as it is, eV/atom; infinite if the energy model fails."""
    made = compressed([one.crystal for one in crystals], oracle, spec.pressure)
    found = []
    for one, crystal, result in zip(crystals, made, evaluate_all(oracle, made), strict=True):
        energy = result.at_pressure(crystal.volume, spec.config.pressure).energy / crystal.n_atoms
        found.append(weights.score(energy, one) if isfinite(energy) else inf)
    return found
