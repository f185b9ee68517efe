"""Candidates relaxed with an energy oracle, put on their symmetry again, and ranked by its energy.

The surrogate's order decides which candidates are worth relaxing; the oracle decides which of them is best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite, nan
from statistics import median

from lcoms.oracles.hull import Hull, Phase
from lcoms.oracles.references import load_references
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.calibrate import ConfidenceModel, evidence
from lcoms.prediction.candidate import Candidate, Relaxation
from lcoms.prediction.pipeline import Prediction, RefineConfig
from lcoms.prediction.propose import Start
from lcoms.relax.result import RelaxConfig, RelaxResult, Status, Trajectory
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import NEAR_LADDER, Symmetrised, operations_per_atom, symmetrise

USABLE = (Status.CONVERGED, Status.STEP_LIMIT)
LOWEST_FORMATION_ENERGY = -6.0  # eV/atom; known compounds stay above -5
LARGEST_GAIN = 0.5  # eV/atom by which an explored crystal may lie below all others
LARGEST_DISPUTE = 1.0  # eV/atom by which two oracles may differ about a crystal from what they differ by about others
TOO_GOOD = "the oracle is wrong about it."
ONE_WRONG = "one of them is wrong about it."
LOOSE_LADDER = (0.3, 0.2)  # angstrom; tolerances at which a more symmetric crystal is looked for and put to the test
AS_LOW = 0.002  # eV/atom; what a crystal may lose by becoming more symmetric
SAME_ENERGY = 0.01  # eV/atom; what relaxations that stopped early may differ by


Relax = Callable[[Sequence[Crystal]], Sequence[RelaxResult]]
Energies = Callable[[Sequence[Crystal]], Sequence[float]]
FormationEnergy = Callable[[Composition, float], float | None]


def refine(
    prediction: Prediction,
    config: RefineConfig,
    relax: Relax,
    *,
    formation_energy: FormationEnergy,
    n_candidates: int,
    energies: Energies | None = None,
) -> Prediction:
    """The prediction with its best candidates relaxed and ranked by the oracle.

    Args:
        relax: crystals to their relaxations, in order.
        formation_energy: composition and energy per atom by the oracle to formation energy.
        n_candidates: at most so many distinct crystals are kept. Those that were not relaxed, or could not be, stand
            behind those that were.
        energies: of crystals, eV, by the second oracle; NaN where it fails.
    """
    chosen, rest = to_relax(prediction, config), prediction.candidates[config.n_relax :]
    results = relax([candidate.crystal for candidate in chosen])
    done, failed, failures = [], [], []
    for rank, (candidate, result) in enumerate(zip(chosen, results, strict=True), 1):
        reason = why_unusable(result, formation_energy)
        if reason is None:
            done.append(_relaxed(candidate, result, formation_energy))
        else:
            if rank <= len(prediction.candidates):  # an explored crystal is no candidate before it is relaxed
                failed.append(_not_relaxed(candidate, result))
                failures.append(f"candidate {rank} in the surrogate's order: {reason}")
    done, distrusted = _trusted(done)
    failures += [f"an explored crystal: {gain:.1f} eV/atom below all others; {TOO_GOOD}" for gain in distrusted]
    if energies is not None:
        done, disputes = _undisputed(_with_second_opinion(done, energies))
        failures += [f"a relaxed crystal: the oracles differ by {gap:.1f} eV/atom; {ONE_WRONG}" for gap in disputes]
    ranked = rank_relaxed(done, config)
    kept = [*ranked, *failed, *rest][:n_candidates]
    return replace(
        prediction,
        candidates=tuple(kept),
        n_duplicates=prediction.n_duplicates + len(done) - len(ranked),
        refined=config,
        failures=tuple(failures),
        explored=(),
        n_relaxations=len(results),
        n_oracle_calls=sum(result.n_steps + 1 for result in results),
    )


def _with_second_opinion(candidates: Sequence[Candidate], energies: Energies) -> list[Candidate]:
    """Candidates with what the second oracle says of their relaxed crystals."""
    found = energies([candidate.crystal for candidate in candidates])
    return [
        replace(c, relaxation=replace(c.relaxation, second_energy=energy / c.crystal.n_atoms))
        for c, energy in zip(candidates, found, strict=True)
        if c.relaxation is not None
    ]


def _undisputed(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[float]]:
    """Candidates about which the oracles differ as much as about most, and how far they do about the others.

    A hole of one is none of the other. Where the second has no energy of one candidate its energies are not used.
    """
    gaps = [_energy(c) - c.relaxation.second_energy for c in candidates if c.relaxation is not None]
    if len(gaps) < 3 or not all(map(isfinite, gaps)):
        return list(candidates), []
    usual = median(gaps)
    apart = [abs(gap - usual) for gap in gaps]
    kept = [c for c, gap in zip(candidates, apart, strict=True) if gap <= LARGEST_DISPUTE]
    return kept, [gap for gap in apart if gap > LARGEST_DISPUTE]


def to_relax(prediction: Prediction, config: RefineConfig) -> list[Candidate]:
    """The candidates whose relaxation is worth its time, then the explored crystals."""
    return [*prediction.candidates[: config.n_relax], *prediction.explored]


def _trusted(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[float]]:
    """Candidates without explored crystals that lie too far below all that descents led to, and how far these lie."""
    lowest = min((_energy(c) for c in candidates if c.count), default=-inf)
    gains = [lowest - _energy(c) if not c.count else -inf for c in candidates]
    kept = [c for c, gain in zip(candidates, gains, strict=True) if gain <= LARGEST_GAIN]
    return kept, [gain for gain in gains if gain > LARGEST_GAIN]


def why_unusable(result: RelaxResult, formation_energy: FormationEnergy) -> str | None:
    """Why a relaxation cannot be ranked; None where it can.

    Learned potentials have holes: crystals far from all they were trained on, to which they give absurd energies.
    """
    if result.status not in USABLE or not isfinite(result.energy):
        return result.reason or result.status.value
    energy = formation_energy(result.crystal.composition, result.energy_per_atom)
    if energy is not None and energy < LOWEST_FORMATION_ENERGY:
        return f"a formation energy of {energy:.1f} eV/atom, which no compound has; the oracle is wrong about it."
    return None


def refine_all(
    predictions: Sequence[Prediction],
    config: RefineConfig,
    *,
    n_candidates: int,
    confidence: Mapping[str, ConfidenceModel] | None = None,
    processes: int | None = None,
    progress: Callable[[], None] | None = None,
) -> list[Prediction]:
    """Predictions refined with the oracle that `config` names, the candidates of all of them relaxed at once.

    Where the second oracle does not know an element or fails, the first alone makes the order of that formula.

    Args:
        confidence: models that tell how far an answer can be trusted, by what ranked the candidates.
        processes: that relax; None: as many as there are cores and work for them.
        progress: called after each candidate.

    Raises:
        OracleError: the oracle cannot be made or cannot handle the elements.
    """
    references = load_references(config.oracle)

    def formation_energy(composition: Composition, energy_per_atom: float) -> float | None:
        return None if references is None else references.formation_energy(composition, energy_per_atom)

    options = RelaxConfig(fmax=config.fmax, max_steps=config.max_steps, trajectory="energies")

    def relax(crystals: Sequence[Crystal], tell: Callable[[], None] | None = None) -> Sequence[RelaxResult]:
        told = None if tell is None else lambda *_: tell()
        return relax_crystals(crystals, config.oracle, options, processes=processes, progress=told)

    chosen = [c.crystal for p in predictions for c in to_relax(p, config)]
    results = iter(more_symmetric(relax(chosen, progress), relax))
    second_oracle = make_oracle(config.second_oracle) if config.second_oracle else None
    refined = [
        refine(
            prediction,
            config,
            lambda crystals: [next(results) for _ in crystals],
            formation_energy=formation_energy,
            n_candidates=len(prediction.candidates) + len(prediction.explored),
            energies=None if second_oracle is None else second_oracle.energies,
        )
        for prediction in predictions
    ]
    return [finished(prediction, confidence or {}, n_candidates) for prediction in refined]


def more_symmetric(results: Sequence[RelaxResult], relax: Relax) -> list[RelaxResult]:
    """Relaxations, those that ended beside a more symmetric crystal replaced by its relaxation if that is as low.

    A relaxation that began without symmetry ends a little before the minimum, so its crystal may have the symmetry only
    within a tolerance that by itself would prove nothing.
    """
    near: dict[int, Crystal] = {}
    for at, result in enumerate(results):
        if result.status in USABLE and isfinite(result.energy):
            loosely = symmetrise(result.crystal, ladder=LOOSE_LADDER)
            closely = symmetrise(result.crystal, ladder=NEAR_LADDER)
            if _symmetry(loosely) > _symmetry(closely):
                near[at] = loosely.crystal
    better = list(results)
    for at, again in zip(near, relax(list(near.values())) if near else [], strict=True):
        usable = again.status in USABLE and isfinite(again.energy)
        if usable and again.energy_per_atom <= results[at].energy_per_atom + AS_LOW:
            better[at] = _one_after_the_other(results[at], again)
    return better


def _symmetry(found: Symmetrised | Candidate) -> float:
    return operations_per_atom(found.crystal, found.space_group)


def _one_after_the_other(first: RelaxResult, second: RelaxResult) -> RelaxResult:
    """The second relaxation, with the steps and energies of the first before its own."""
    trajectory = second.trajectory
    if first.trajectory is not None and trajectory is not None:
        ratio = second.crystal.n_atoms / first.crystal.n_atoms
        before = tuple(energy * ratio for energy in first.trajectory.energies)
        trajectory = Trajectory((*before, *trajectory.energies))
    return replace(second, n_steps=first.n_steps + second.n_steps, trajectory=trajectory)


def found_phases(predictions: Sequence[Prediction]) -> list[Phase]:
    """The lowest relaxed candidate of each prediction, as a reference phase."""
    phases = []
    for prediction in predictions:
        energies = [c.relaxation.energy_per_atom for c in prediction.candidates if c.relaxation is not None]
        lowest = min((energy for energy in energies if isfinite(energy)), default=None)
        if lowest is not None:
            phases.append(Phase(prediction.composition.reduced, lowest))
    return phases


def with_hull(prediction: Prediction, hull: Hull) -> Prediction:
    """The prediction with the energy above a hull for each relaxed candidate."""
    candidates = []
    for candidate in prediction.candidates:
        relaxation = candidate.relaxation
        if relaxation is not None and isfinite(relaxation.energy_per_atom):
            above = hull.e_above_hull(candidate.crystal.composition.reduced, relaxation.energy_per_atom)
            candidate = replace(candidate, relaxation=replace(relaxation, e_above_hull=above))
        candidates.append(candidate)
    return replace(prediction, candidates=tuple(candidates))


def merge_all(first: Prediction, second: Prediction, config: RefineConfig) -> Prediction:
    """Two refined predictions of one composition as one, the relaxed candidates of both ranked together."""
    both = [*first.candidates, *second.candidates]
    done = [c for c in both if c.relaxation is not None and isfinite(c.relaxation.energy_per_atom)]
    ranked = rank_relaxed(done, config)
    rest = [c for c in both if c.relaxation is None or not isfinite(c.relaxation.energy_per_atom)]
    return replace(
        first,
        candidates=(*ranked, *rest),
        n_starts=first.n_starts + second.n_starts,
        n_invalid=first.n_invalid + second.n_invalid,
        n_too_close=first.n_too_close + second.n_too_close,
        n_duplicates=first.n_duplicates + second.n_duplicates + len(done) - len(ranked),
        failures=(*first.failures, *second.failures),
        n_relaxations=first.n_relaxations + second.n_relaxations,
        n_oracle_calls=first.n_oracle_calls + second.n_oracle_calls,
    )


def finished(prediction: Prediction, confidence: Mapping[str, ConfidenceModel], n_candidates: int) -> Prediction:
    """With its confidence, which looks at all candidates, and with as many candidates as are wanted."""
    model = confidence.get(ranked_by(prediction))
    features = [] if model is None else evidence(prediction.candidates)
    probability = model.probability(features) if model is not None and features else None
    return replace(prediction, candidates=prediction.candidates[:n_candidates], confidence=probability)


def _relaxed(candidate: Candidate, result: RelaxResult, formation_energy: FormationEnergy) -> Candidate:
    symmetric = symmetrise(result.crystal, ladder=NEAR_LADDER)
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
            energies=_energies(result),
        ),
    )


def _not_relaxed(candidate: Candidate, result: RelaxResult) -> Candidate:
    failure = Relaxation(
        result.status.value, nan, None, nan, result.n_steps, candidate.crystal, energies=_energies(result)
    )
    return replace(candidate, relaxation=failure)


def _energies(result: RelaxResult) -> tuple[float, ...]:
    """Along the relaxation, eV/atom; empty where they were not kept."""
    path = () if result.trajectory is None else result.trajectory.energies
    return tuple(energy / result.crystal.n_atoms for energy in path)


def ranked_by(prediction: Prediction) -> str:
    """Names of the oracles behind the order of the relaxed candidates; empty where none were relaxed."""
    if prediction.refined is None:
        return ""
    relaxed = [c.relaxation for c in prediction.candidates if c.relaxation is not None]
    every = [relaxation for relaxation in relaxed if isfinite(relaxation.energy_per_atom)]
    ranked = all(isfinite(relaxation.second_energy) for relaxation in every)
    return prediction.refined.ranked_by if ranked else prediction.refined.oracle


def rank_relaxed(candidates: Sequence[Candidate], config: RefineConfig) -> list[Candidate]:
    """Distinct crystals, lowest first; counts of those that relaxed into one another are added up.

    Without exploration energies have no limit: that all templates are wrong, and only energy tells, is rare then.
    """
    distinct = merge_relaxed(candidates)
    order = config.order if config.explore.n else replace(config.order, excess=0.0)
    energies = _order_energies(distinct)
    lowest = min(energies, default=nan)
    scored = []
    for candidate, energy in zip(distinct, energies, strict=True):
        assert candidate.relaxation is not None
        above = energy - lowest
        relaxation = replace(candidate.relaxation, energy_above_lowest=above)
        score = candidate.score_with(order, energy, above=above)
        scored.append(replace(candidate, relaxation=relaxation, score=score))
    return sorted(scored, key=_score)


def _order_energies(candidates: Sequence[Candidate]) -> list[float]:
    """What makes the order, eV/atom: the mean of both oracles if the second has an energy of each, else the first.

    Oracles count from different zeros, so a mean of a part would mean nothing.
    """
    first = [_energy(candidate) for candidate in candidates]
    second = [c.relaxation.second_energy for c in candidates if c.relaxation is not None]
    return [(a + b) / 2 for a, b in zip(first, second, strict=True)] if all(map(isfinite, second)) else first


def merge_relaxed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for each structure: the most symmetric, then the lowest, of those that match.

    A relaxation stops a little before the minimum, so one structure comes out with slightly different symmetries and
    energies that differ by up to SAME_ENERGY. What lies more than AS_LOW below a more symmetric crystal that it matches
    has gained by its distortion, and is a structure of its own. The start is the chemically nearest of those that led
    there.
    """
    distinct: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (-_symmetry(c), _energy(c))):
        for place, other in enumerate(distinct):
            near = -AS_LOW <= _energy(candidate) - _energy(other) <= SAME_ENERGY
            if near and matches(candidate.crystal, other.crystal, STRICT):
                distinct[place] = _nearest_first(other.with_others(candidate))
                break
        else:
            distinct.append(candidate)
    return distinct


def _nearest_first(candidate: Candidate) -> Candidate:
    """With the chemically nearest of its starts as the start."""
    starts = sorted((candidate.start, *candidate.others), key=_remoteness)
    return replace(candidate, start=starts[0], others=tuple(starts[1:]))


def _remoteness(start: Start) -> float:
    """Chemical distance of a start; infinite where there is none."""
    return start.distance if isfinite(start.distance) else inf


def _energy(candidate: Candidate) -> float:
    assert candidate.relaxation is not None
    return candidate.relaxation.energy_per_atom


def _score(candidate: Candidate) -> float:
    return candidate.score
