"""Prediction from a formula alone, compared with known structures.

A reference counts as found within k if one of the first k candidates matches it: loosely (the usual match rate),
loosely with a candidate that passes the usual validity filter, strictly (pymatgen's default tolerances), or strictly
with the same space group. A formula without candidates counts as not found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lcoms.core.errors import ConfigError, LcomsError, WeightsError
from lcoms.core.parallel import parallel_map
from lcoms.evaluate.references import Reference
from lcoms.evaluate.rows import Row, rows_of
from lcoms.evaluate.statistics import Share
from lcoms.evaluate.validity import invalid_because
from lcoms.oracles.references import load_references
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.rank import rank_decoded
from lcoms.prediction.result import Prediction, decoded_candidates
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Candidate
from lcoms.relax.result import RelaxConfig
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, crystal_to_dict
from lcoms.structure.matching import LOOSE, STRICT, matches
from lcoms.structure.symmetry import same_space_group, space_group_number

Criterion = Literal["loose", "filtered", "strict", "both"]


@dataclass(frozen=True)
class Ranks:
    """Rank of the first candidate that matches; None if none does.

    `filtered`: loosely, and the candidate passes `lcoms.evaluate.validity`; `both`: strictly, with the same space
    group.
    """

    loose: int | None
    strict: int | None
    both: int | None
    filtered: int | None = None


NOT_FOUND = Ranks(None, None, None)


@dataclass(frozen=True)
class Outcome:
    """Result for one reference with one seed.

    Attributes:
        ranks: in the final order.
        decoded: ranks in the surrogate's order, before any relaxation.
        space_group: of the reference.
        first_space_group: of the first candidate; None without candidates.
        probability: that the first candidate is correct; None if not fitted.
        note: why there is no candidate, if there is none.
        rows: all candidates, best first.
        first: the first candidate's crystal; None without candidates.
        energy, known_energy: formation energies by the oracle, eV/atom, of the first candidate and of the reference
            relaxed in the same way; None without relaxation or if it failed.
        first_known: id of the crystal of the training data that the first candidate is; empty if it is none.
        n_atoms: number of atoms in the reference's cell.
    """

    name: str
    formula: str
    seed: int
    ranks: Ranks
    decoded: Ranks
    space_group: int
    first_space_group: int | None
    n_candidates: int
    probability: float | None
    seconds: float
    note: str = ""
    rows: tuple[Row, ...] = ()
    first: dict[str, Any] | None = None
    energy: float | None = None
    known_energy: float | None = None
    first_known: str = ""
    n_atoms: int = 0


class Plan(NamedTuple):
    """How each formula is predicted."""

    spec: PredictionSpec
    weights: Path | None = None


Job = tuple[int, list[Reference]]


def evaluate_formulas(
    references: Sequence[Reference],
    predictor: Predictor,
    *,
    n_seeds: int = 1,
    processes: int = 1,
    kept: Mapping[tuple[str, int], Outcome] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Predict every composition once per seed and look for its references among the candidates.

    Args:
        processes: number of formulas predicted at a time; the results do not depend on it.
        kept: outcomes of an earlier run by name and seed; compositions with all of theirs are not predicted again.
        on_outcome: called with each outcome as it is obtained, in order.

    Raises:
        ConfigError: the settings fit no composition.
    """
    jobs = jobs_for(references, predictor.spec.seed, n_seeds)
    outcomes = []
    for some in _in_order(jobs, predictor, processes, kept or {}):
        for outcome in some:
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
    return outcomes


def jobs_for(references: Sequence[Reference], first_seed: int, n_seeds: int) -> list[Job]:
    """Return the units of work: each composition with its references, once per seed."""
    groups: dict[Composition, list[Reference]] = {}
    for reference in references:
        groups.setdefault(reference.composition, []).append(reference)
    return [(seed, members) for seed in range(first_seed, first_seed + n_seeds) for members in groups.values()]


def ranks_of(outcomes: Iterable[Outcome], criterion: Criterion, *, decoded: bool = False) -> list[int | None]:
    """Return the rank of the reference in each outcome, in the final order or in the surrogate's."""
    return [getattr(outcome.decoded if decoded else outcome.ranks, criterion) for outcome in outcomes]


def by_majority(outcomes: Sequence[Outcome], k: int, criterion: Criterion, *, decoded: bool = False) -> Share:
    """Return the share of references found among the first k with more than half of the seeds."""
    found: dict[str, list[bool]] = {}
    for outcome, rank in zip(outcomes, ranks_of(outcomes, criterion, decoded=decoded), strict=True):
        found.setdefault(outcome.name, []).append(rank is not None and rank <= k)
    return Share(sum(2 * sum(hits) > len(hits) for hits in found.values()), len(found))


_LOADED: dict[str, Predictor] = {}


def _in_order(
    jobs: Sequence[Job], predictor: Predictor, processes: int, kept: Mapping[tuple[str, int], Outcome]
) -> Iterator[list[Outcome]]:
    there = [[kept.get((reference.name, seed)) for reference in members] for seed, members in jobs]
    missing = [job for job, outcomes in zip(jobs, there, strict=True) if None in outcomes]
    made = _made(missing, predictor, processes)
    for outcomes in there:
        yield next(made) if None in outcomes else [outcome for outcome in outcomes if outcome is not None]


def _made(jobs: Sequence[Job], predictor: Predictor, processes: int) -> Iterator[list[Outcome]]:
    alone = Predictor(predictor.bundle, predictor.spec, processes=1)
    if processes == 1:
        for job in jobs:
            yield _outcomes(job, alone)
        return
    plan = Plan(predictor.spec, predictor.bundle.folder)
    yield from parallel_map(_run, jobs, processes=processes, prepare=_prepare, arguments=(plan,))


def _prepare(plan: Plan) -> None:
    import torch

    torch.set_num_threads(1)
    _LOADED["predictor"] = Predictor.load(plan.weights, spec=plan.spec, processes=1)


def _run(job: Job) -> list[Outcome]:
    return _outcomes(job, _LOADED["predictor"])


def _outcomes(job: Job, predictor: Predictor) -> list[Outcome]:
    seed, members = job
    clock, note = time.perf_counter(), ""
    prediction = None
    try:
        prediction = predictor.with_options({"seed": seed}).predict(members[0].composition)
    except (ConfigError, WeightsError):
        raise  # every other composition would fail in the same way
    except LcomsError as error:
        note = str(error)
    except Exception as error:  # a defect met by one composition must not end hours of work on others
        note = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
    seconds = time.perf_counter() - clock
    relaxation = predictor.spec.relaxation
    known = [None] * len(members) if relaxation is None else _known_energies(members, relaxation)
    return [
        replace(_compare(reference, prediction, seed, seconds, note), known_energy=energy)
        for reference, energy in zip(members, known, strict=True)
    ]


def _known_energies(members: Sequence[Reference], config: RelaxationSpec) -> list[float | None]:
    """Return the formation energies of references, relaxed like the first candidates: to `fmax`, then further."""
    options = RelaxConfig(fmax=config.fmax, max_steps=config.max_steps)
    results = relax_crystals([reference.crystal for reference in members], config.oracle, options, processes=1)
    if config.n_final and config.final_fmax < config.fmax:
        closer = replace(options, fmax=config.final_fmax)
        further = relax_crystals([one.crystal for one in results], config.oracle, closer, processes=1)
        results = [new if old.usable and new.usable else old for old, new in zip(results, further, strict=True)]
    references = load_references(config.oracle)
    return [
        None
        if references is None or not result.usable
        else references.formation_energy(result.crystal.composition, result.energy_per_atom)
        for result in results
    ]


def _compare(reference: Reference, prediction: Prediction | None, seed: int, seconds: float, note: str) -> Outcome:
    group = space_group_number(reference.crystal)
    before = [] if prediction is None else rank_decoded(decoded_candidates(prediction))
    after = () if prediction is None else prediction.candidates
    first = after[0] if after else None
    return Outcome(
        name=reference.name,
        formula=reference.composition.reduced_formula,
        seed=seed,
        ranks=_ranks(reference, after, group),
        decoded=_ranks(reference, before, group),
        space_group=group,
        first_space_group=None if first is None else first.space_group,
        n_candidates=len(after),
        probability=None if prediction is None else prediction.probability,
        seconds=round(seconds, 2),
        note=note,
        rows=rows_of(reference, before, after, group),
        first=None if first is None else crystal_to_dict(first.crystal),
        energy=None if first is None or first.relaxed is None else first.relaxed.formation_energy,
        first_known="" if first is None or first.known is None else first.known.id,
        n_atoms=reference.crystal.n_atoms,
    )


def _ranks(reference: Reference, candidates: Sequence[Candidate], group: int) -> Ranks:
    loose = strict = both = filtered = None
    for rank, candidate in enumerate(candidates, 1):
        if (loose is None or filtered is None) and matches(candidate.crystal, reference.crystal, LOOSE):
            loose = loose or rank
            filtered = rank if filtered is None and not invalid_because(candidate.crystal) else filtered
        if (strict is None or both is None) and matches(candidate.crystal, reference.crystal, STRICT):
            strict = strict or rank
            both = rank if both is None and same_space_group(candidate.space_group, group) else both
    return Ranks(loose, strict, both, filtered)
