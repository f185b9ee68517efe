"""Candidates relaxed with an energy oracle, put on their symmetry again, and ranked by its energy.

The surrogate's order decides which candidates are worth relaxing; the oracle decides which of them is best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite, log, nan

from lcoms.crystal import Composition, Crystal
from lcoms.lattice import shortest_distance
from lcoms.prediction import Candidate, Prediction, RefineConfig, Relaxation, drop_duplicates
from lcoms.relax.result import RelaxResult, Status
from lcoms.symmetry import space_group_order, symmetrise

USABLE = (Status.CONVERGED, Status.STEP_LIMIT)
RELAXED_LADDER = (0.1, 0.05, 0.02)  # angstrom; a relaxed crystal is near its symmetry


Relax = Callable[[Sequence[Crystal]], Sequence[RelaxResult]]
FormationEnergy = Callable[[Composition, float], float | None]


def refine(
    prediction: Prediction,
    config: RefineConfig,
    relax: Relax,
    *,
    formation_energy: FormationEnergy,
    n_candidates: int,
) -> Prediction:
    """The prediction with its best candidates relaxed and ranked by the oracle.

    Args:
        relax: crystals to their relaxations, in order.
        formation_energy: composition and energy per atom by the oracle to formation energy.
        n_candidates: at most so many distinct crystals are kept. Those that were not relaxed, or could not be, stand
            behind those that were.
    """
    chosen, rest = prediction.candidates[: config.n_relax], prediction.candidates[config.n_relax :]
    results = relax([candidate.crystal for candidate in chosen])
    done, failed, failures = [], [], []
    for rank, (candidate, result) in enumerate(zip(chosen, results, strict=True), 1):
        if result.status in USABLE and isfinite(result.energy):
            done.append(_relaxed(candidate, result, formation_energy))
        else:
            failed.append(_not_relaxed(candidate, result))
            failures.append(f"candidate {rank} in the surrogate's order: {result.reason or result.status.value}")
    ranked = _ranked(done, config)
    kept = [*ranked, *failed, *rest][:n_candidates]
    return replace(
        prediction,
        candidates=tuple(kept),
        n_duplicates=prediction.n_duplicates + len(done) - len(ranked),
        refined=config,
        failures=tuple(failures),
    )


def _relaxed(candidate: Candidate, result: RelaxResult, formation_energy: FormationEnergy) -> Candidate:
    symmetric = symmetrise(result.crystal, ladder=RELAXED_LADDER)
    per_atom = result.energy / result.crystal.n_atoms
    return replace(
        candidate,
        crystal=symmetric.crystal,
        space_group=symmetric.space_group,
        symprec=symmetric.symprec,
        shortest_distance=shortest_distance(symmetric.crystal.lattice, symmetric.crystal.frac_coords),
        relaxation=Relaxation(
            result.status.value,
            per_atom,
            formation_energy(candidate.crystal.composition, per_atom),
            nan,
            result.n_steps,
            candidate.crystal,
        ),
    )


def _not_relaxed(candidate: Candidate, result: RelaxResult) -> Candidate:
    failure = Relaxation(result.status.value, nan, None, nan, result.n_steps, candidate.crystal)
    return replace(candidate, relaxation=failure)


def _ranked(candidates: Sequence[Candidate], config: RefineConfig) -> list[Candidate]:
    """Distinct crystals, lowest first; counts of those that relaxed into one another are added up."""
    distinct = drop_duplicates(sorted(candidates, key=_energy))
    if not distinct:
        return []
    lowest = _energy(distinct[0])
    scored = []
    for candidate in distinct:
        assert candidate.relaxation is not None
        bonus = config.symmetry_weight * log(space_group_order(candidate.space_group))
        bonus += config.count_weight * log(candidate.count)
        relaxation = replace(candidate.relaxation, energy_above_lowest=_energy(candidate) - lowest)
        scored.append(replace(candidate, relaxation=relaxation, score=_energy(candidate) - bonus))
    return sorted(scored, key=_score)


def _energy(candidate: Candidate) -> float:
    assert candidate.relaxation is not None
    return candidate.relaxation.energy_per_atom


def _score(candidate: Candidate) -> float:
    return candidate.score
