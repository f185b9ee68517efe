"""`improve`: relax candidates, teach the surrogate what came out, and descend again.

The surrogate that ships has seen few crystals of a formula. Each round here relaxes some candidates with the energy
oracle, fits a copy of the surrogate to the energies found - with its conservative term, and held to what it said before
about latents of the training data - and descends on it from the best crystals so far and from library starts that were
not used yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite, log

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.errors import ConfigError
from lcoms.models.composition import element_fractions
from lcoms.models.surrogate import ConservativeSurrogate, conservative_losses, predict_energies
from lcoms.models.weights import Weights
from lcoms.prediction.calibrate import load_confidence
from lcoms.prediction.pipeline import PredictConfig, Prediction, RefineConfig, check_composition, predict_from
from lcoms.prediction.propose import Start, composition_seed, encode_crystals, find_starts, load_library
from lcoms.prediction.refine import finished, merge_all, refine_all
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.templates.wyckoff_statistics import described, load_orbits


@dataclass(frozen=True)
class ImproveConfig:
    """How the rounds go.

    Attributes:
        budget: relaxations in all.
        batch: relaxations of a round.
        n_best: crystals that each round begins from again.
        variations: starts from each of them.
        noise: of those starts, in standard deviations of the training latents.
        refit_steps: gradient steps on the surrogate in a round.
        refit_rate: learning rate of Adam for them.
        replay: latents of the library in every batch, on which the surrogate is held to what it said before.
        highest: eV/atom above the lowest; higher energies are taken for that.
    """

    budget: int = 48
    batch: int = 12
    n_best: int = 4
    variations: int = 2
    noise: float = 0.2
    refit_steps: int = 100
    refit_rate: float = 1e-4
    replay: int = 256
    highest: float = 1.0

    def __post_init__(self) -> None:
        for name in ("budget", "batch", "n_best", "variations", "replay"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.refit_steps < 0:
            raise ConfigError(f"refit_steps must not be negative, as {self.refit_steps} is.")


@dataclass(frozen=True)
class Round:
    """What a round brought.

    Attributes:
        relaxed: relaxations so far.
        distinct: distinct relaxed crystals so far.
        lowest: eV/atom by the oracle, the lowest so far; infinite while there is none.
        error_before, error_after: mean absolute error of the surrogate on differences of the energies known, eV/atom,
            before and after it was fitted to them.
    """

    relaxed: int
    distinct: int
    lowest: float
    error_before: float
    error_after: float


@dataclass(frozen=True, eq=False)
class Known:
    """Latents of one composition with energies by the oracle, eV/atom."""

    latents: Float[Tensor, "n latent"]
    energies: Float[Tensor, " n"]


def improve(
    composition: Composition,
    weights: Weights,
    config: PredictConfig,
    refined: RefineConfig,
    rounds: ImproveConfig,
    *,
    processes: int | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> Prediction:
    """Candidates from several rounds of relaxation and descent, ranked as those of one prediction.

    Args:
        processes: that relax; None: as many as there are cores and work for them.
        on_round: called with the figures of each round.

    Raises:
        FormulaError: the weights cannot handle the composition.
        OracleError: the oracle cannot handle the elements.
    """
    check_composition(composition, weights)
    generator = torch.Generator().manual_seed(composition_seed(config.seed, composition))
    wide = replace(config, n_starts=config.n_starts * (1 + rounds.budget // rounds.batch))
    library = find_starts(composition, weights, wide, generator)
    taught, done, seen = weights, None, list[Crystal]()
    spent = 0
    while spent < rounds.budget:
        share = config.n_starts if done is None else max(1, config.n_starts - rounds.n_best * rounds.variations)
        starts, library = library[:share], library[share:]
        if done is not None:
            starts = [*_variations(done, weights, rounds, generator), *starts]
        size = min(rounds.batch, rounds.budget - spent)
        found = _new(predict_from(starts, composition, taught, _all(config), generator), seen, size)
        if not found.candidates:
            break
        spent += len(found.candidates)
        (relaxed,) = refine_all(
            [found], replace(refined, n_relax=size), n_candidates=len(found.candidates), processes=processes
        )
        seen += [c.crystal for c in chain(found.candidates, relaxed.candidates)]
        done = relaxed if done is None else merge_all(done, relaxed, refined)
        known = _known(done, weights, rounds)
        before = relative_error(taught.surrogate, known, composition)
        taught = replace(weights, surrogate=refit(weights, known, composition, rounds, generator))
        if on_round is not None:
            energies = [c.relaxation.energy_per_atom for c in done.candidates if c.relaxation is not None]
            lowest = min((energy for energy in energies if isfinite(energy)), default=float("inf"))
            after = relative_error(taught.surrogate, known, composition)
            on_round(Round(spent, len(energies), lowest, before, after))
    assert done is not None
    return finished(done, load_confidence(weights.folder), config.n_candidates)


def _all(config: PredictConfig) -> PredictConfig:
    """Without a limit on the candidates that are kept."""
    return replace(config, n_candidates=10**6)


def _new(prediction: Prediction, seen: Sequence[Crystal], n: int) -> Prediction:
    """The best candidates that are not known yet."""
    fresh = (c for c in prediction.candidates if not any(matches(c.crystal, old, STRICT) for old in seen))
    return replace(prediction, candidates=tuple(c for c, _ in zip(fresh, range(n), strict=False)))


def _variations(done: Prediction, weights: Weights, rounds: ImproveConfig, generator: torch.Generator) -> list[Start]:
    """Latents around those of the best relaxed crystals, to be decoded within the same group and positions."""
    best = [c for c in done.candidates if c.relaxation is not None and isfinite(c.relaxation.energy_per_atom)]
    best = best[: rounds.n_best]
    statistics, spread = load_orbits(weights.folder), weights.surrogate.latent_std
    starts = []
    for candidate, latent in zip(best, encode_crystals([c.crystal for c in best], weights), strict=True):
        found = described(candidate.crystal, symprec=STANDARD_SYMPREC)
        group = 0 if found is None else found.space_group
        pattern = (
            -1 if found is None else statistics.place(candidate.crystal.composition, found.space_group, found.orbits)
        )
        for _ in range(rounds.variations):
            moved = latent + rounds.noise * spread * torch.randn(len(latent), generator=generator)
            units = candidate.crystal.composition.n_formula_units
            starts.append(
                replace(
                    candidate.start,
                    latent=moved,
                    n_formula_units=units,
                    space_group=group,
                    pattern=pattern,
                    sites=(),  # atoms may start anywhere, so that something new can come
                )
            )
    return starts


def _known(done: Prediction, weights: Weights, rounds: ImproveConfig) -> Known:
    """Relaxed crystals, and the decoded ones that led to them, with their energies."""
    pairs: list[tuple[Crystal, float]] = []
    for candidate in done.candidates:
        relaxation = candidate.relaxation
        if relaxation is None or not isfinite(relaxation.energy_per_atom):
            continue
        pairs.append((candidate.crystal, relaxation.energy_per_atom))
        if relaxation.energies:
            pairs.append((relaxation.decoded, relaxation.energies[0]))
    lowest = min((energy for _, energy in pairs), default=0.0)
    energies = [min(energy, lowest + rounds.highest) for _, energy in pairs]
    return Known(encode_crystals([crystal for crystal, _ in pairs], weights), torch.tensor(energies))


def relative_error(surrogate: ConservativeSurrogate, known: Known, composition: Composition) -> float:
    """Mean absolute error on energies from which their mean is taken, eV/atom; NaN where nothing is known."""
    if not len(known.energies):
        return float("nan")
    features = element_fractions(composition).expand(len(known.energies), -1)
    said = predict_energies(surrogate, known.latents, features)
    return float(((said - said.mean()) - (known.energies - known.energies.mean())).abs().mean())


def refit(
    weights: Weights, known: Known, composition: Composition, rounds: ImproveConfig, generator: torch.Generator
) -> ConservativeSurrogate:
    """A copy of the surrogate fitted to differences of energies of one composition.

    The oracle's zero of energy need not be that of the training data, so the mean of what the surrogate says stays.
    """
    surrogate = deepcopy(weights.surrogate)
    if not len(known.energies) or not rounds.refit_steps:
        return surrogate
    n = len(known.energies)
    features = element_fractions(composition).expand(n, -1)
    said = predict_energies(surrogate, known.latents, features)
    wanted = known.energies - known.energies.mean() + said.mean()
    library = load_library(weights.folder)
    rows = np.random.default_rng(int(torch.randint(2**31, (), generator=generator))).choice(
        len(library), min(len(library), 8 * rounds.replay), replace=False
    )
    old_latents = library.latents(rows)
    old_features = element_fractions([library.composition(int(row)) for row in rows])
    old_energies = predict_energies(surrogate, old_latents, old_features)
    log_alpha = torch.tensor(log(1.0))
    optimiser = torch.optim.Adam(surrogate.parameters(), lr=rounds.refit_rate)
    with torch.enable_grad():
        for parameter in surrogate.parameters():
            parameter.requires_grad_(True)
        for _ in range(rounds.refit_steps):
            some = torch.randint(len(rows), (rounds.replay,), generator=generator)
            z = surrogate.normalise(torch.cat([known.latents, old_latents[some]]))
            c = torch.cat([features, old_features[some]])
            targets = surrogate.normalise_energies(torch.cat([wanted, old_energies[some]]), c)
            losses = conservative_losses(surrogate, z, c, targets, log_alpha)
            error = surrogate.normalised_energy(z[:n], c[:n]) - targets[:n]
            optimiser.zero_grad()
            (losses.model + (error**2).mean()).backward()
            optimiser.step()
    return surrogate.requires_grad_(False).eval()
