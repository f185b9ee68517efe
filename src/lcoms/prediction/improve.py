"""`improve`: relax candidates, refit the surrogate to their energies, and descend again.

The surrogate that ships with the package has seen few crystals of a given formula. Each round relaxes several
candidates with the energy model, fits a copy of the surrogate to the resulting energies (with its conservative term,
and restrained to its earlier predictions for latents of the training data), and descends on it from the best crystals
so far and from unused templates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path

import torch

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError, FormulaError
from lcoms.models.surrogate import ConservativeSurrogate
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.progress import Progress, Tell, silent
from lcoms.prediction.propose import find_proposals
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.refit import Known, RefitConfig, refit, relative_error
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate, Proposal
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.templates.wyckoff_statistics import described

EVERY = 10**6  # no limit on the number of candidates kept


@dataclass(frozen=True)
class ImproveConfig:
    """Options of the rounds.

    Attributes:
        budget: total number of relaxations.
        batch: number of relaxations per round.
        n_best: number of crystals from which each round starts again.
        variations: number of starts from each of them.
        noise: added to those starts, in standard deviations of the training latents.
        refit: options for fitting the surrogate.
        highest: eV/atom above the lowest energy at which energies are capped.
    """

    budget: int = 48
    batch: int = 12
    n_best: int = 4
    variations: int = 2
    noise: float = 0.2
    refit: RefitConfig = field(default_factory=RefitConfig)
    highest: float = 1.0

    def __post_init__(self) -> None:
        require(self, at_least_one=["budget", "batch", "n_best", "variations"])


@dataclass(frozen=True)
class Round:
    """Results of a round.

    Attributes:
        relaxed: number of relaxations so far.
        distinct: number of distinct relaxed crystals so far.
        lowest: lowest energy so far by the oracle, eV/atom; infinite while there is none.
        error_before, error_after: mean absolute error of the surrogate in differences between the known energies,
            eV/atom, before and after the fit to them.
    """

    relaxed: int
    distinct: int
    lowest: float
    error_before: float
    error_after: float


def improve(
    composition: Composition,
    predictor: Predictor,
    rounds: ImproveConfig,
    *,
    on_round: Callable[[Round], None] | None = None,
    progress: Tell | None = None,
    checkpoint: Path | None = None,
) -> Prediction:
    """Return candidates from several rounds of relaxation and descent, ranked like those of a single prediction.

    Args:
        predictor: its specification must include relaxation.
        on_round: called with the results of each round.
        progress: called with each step.
        checkpoint: file to which each relaxation is written as soon as it is finished; a later call reads them from
            it, even with a larger budget.

    Raises:
        FormulaError: the weights cannot handle the composition, or only with exact templates, which are not improved.
        OracleError: the energy model cannot handle the elements.
        ConfigError: the specification includes no relaxation.
    """
    predictor = predictor.with_bundle(predictor.bundle.on(torch.device("cpu")))  # the surrogate is fitted there
    predictor = predictor.with_options({"search": {"random_symmetric": {"n": 0}}})  # the rounds use none
    bundle, spec = predictor.bundle, predictor.spec
    if spec.relaxation is None:
        raise ConfigError("improve needs relaxation; omit --no-relax.")
    predictor.check(composition)
    tell = progress or silent
    generator = predictor.generator(composition)
    n_starts = spec.search.n_starts
    wide = spec.with_options({"search": {"n_starts": n_starts * (1 + rounds.budget // rounds.batch)}})
    library = find_proposals(composition, bundle, wide, generator)
    if not library:
        raise FormulaError(
            f"{composition.reduced_formula}: its cells are too large to be decoded, and improve needs decoding; "
            "lcoms predict uses exact templates."
        )
    seen: list[Crystal] = []
    sets: list[DecodedSet] = []
    done: RelaxedSet | None = None
    taught = predictor.with_options({"n_candidates": EVERY})
    while (spent := 0 if done is None else done.n_relaxations) < rounds.budget:
        said = partial(_in_round, tell, len(sets) + 1)
        said(Progress(composition.reduced_formula, "searching"))
        share = n_starts if done is None else max(1, n_starts - rounds.n_best * rounds.variations)
        proposals, library = library[:share], library[share:]
        if done is not None:
            proposals = [*_variations(predictor.rank(done.usable), bundle, rounds, generator), *proposals]
        if not proposals:
            break
        size = min(rounds.batch, rounds.budget - spent)
        fresh = _new(taught.decode_from(proposals, composition, generator), seen, size)
        sets.append(fresh)
        if not fresh.crystals:
            break
        (relaxed,) = predictor.with_options({"relaxation": {"n_relax": size, "n_least": size}}).relax(
            [fresh], tell=said, checkpoint=checkpoint
        )
        seen += [one.crystal for one in fresh.crystals]
        seen += [one.crystal for one in relaxed.usable]
        done = relaxed if done is None else done.followed_by(relaxed)
        known = _known(done, predictor, rounds)
        said(Progress(composition.reduced_formula, "fitting the surrogate"))
        before = relative_error(taught.bundle.surrogate, known, composition)
        surrogate = refit(bundle, known, composition, rounds.refit, generator)
        taught = replace_surrogate(taught, surrogate)
        if on_round is not None:
            ranked = predictor.rank(done.usable)
            energies = [one.energy_per_atom for one in done.usable]
            after = relative_error(surrogate, known, composition)
            on_round(Round(done.n_relaxations, len(ranked), min(energies, default=inf), before, after))
    made = predictor.finish(_all(sets), done)
    # Probabilities are calibrated for single predictions only.
    return replace(made, candidates=tuple(replace(c, probability=None) for c in made.candidates))


def _in_round(tell: Tell, number: int, progress: Progress) -> None:
    tell(replace(progress, stage=f"round {number}, {progress.stage}"))


def replace_surrogate(predictor: Predictor, surrogate: ConservativeSurrogate) -> Predictor:
    """Return the predictor with another surrogate."""
    return predictor.with_bundle(replace(predictor.bundle, surrogate=surrogate))


def _all(sets: Sequence[DecodedSet]) -> DecodedSet:
    """Return the crystals decoded in all rounds as one set; all were relaxed."""
    return replace(
        sets[0],
        crystals=tuple(one for some in sets for one in some.crystals),
        n_proposals=sum(some.n_proposals for some in sets),
        n_invalid=sum(some.n_invalid for some in sets),
        n_too_close=sum(some.n_too_close for some in sets),
        n_duplicates=sum(some.n_duplicates for some in sets),
    )


def _new(decoded: DecodedSet, seen: Sequence[Crystal], n: int) -> DecodedSet:
    """Return the n best crystals not seen yet; the rounds use no random symmetric ones."""
    fresh = (one for one in decoded.crystals if not any(matches(one.crystal, old, STRICT) for old in seen))
    return replace(decoded, crystals=tuple(islice(fresh, n)), random_symmetric=())


def _variations(
    ranked: Sequence[Candidate], bundle: WeightBundle, rounds: ImproveConfig, generator: torch.Generator
) -> list[Proposal]:
    """Return latents around those of the best relaxed crystals, to be decoded within the same group and sequence."""
    best = ranked[: rounds.n_best]
    spread = bundle.surrogate.latent_std
    proposals = []
    for candidate, latent in zip(best, bundle.encode([c.crystal for c in best]), strict=True):
        composition = candidate.crystal.composition
        found = described(candidate.crystal, symprec=STANDARD_SYMPREC)
        group = 0 if found is None else found.space_group
        sequence = -1 if found is None else bundle.wyckoff.place(composition, found.space_group, found.orbits)
        for _ in range(rounds.variations):
            moved = latent + rounds.noise * spread * torch.randn(len(latent), generator=generator)
            proposals.append(
                replace(
                    candidate.proposal,
                    latent=moved,
                    n_formula_units=composition.n_formula_units,
                    space_group=group,
                    wyckoff_sequence=sequence,
                    sites=(),  # atoms may start anywhere, so that new structures can form
                )
            )
    return proposals


def _known(done: RelaxedSet, predictor: Predictor, rounds: ImproveConfig) -> Known:
    """Return relaxed crystals, and the decoded ones that led to them, with their energies."""
    pairs: list[tuple[Crystal, float]] = []
    for one in [c.relaxed for c in predictor.rank(done.usable) if c.relaxed is not None]:
        pairs.append((one.crystal, one.energy_per_atom))
        if one.energies:
            pairs.append((one.decoded.crystal, one.energies[0]))
    lowest = min((energy for _, energy in pairs), default=0.0)
    energies = [min(energy, lowest + rounds.highest) for _, energy in pairs]
    return Known(predictor.bundle.encode([crystal for crystal, _ in pairs]), torch.tensor(energies))
