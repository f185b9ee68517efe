"""From a formula to ranked crystals: starts, latent descent, decoding, symmetry, duplicates, ranking.

Source: Qi et al., Latent Conservative Objective Models (2023), with starts taken from the latents of training
crystals of the same stoichiometry, so that a formula alone is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.models.composition import element_fractions
from lcoms.models.weights import Weights
from lcoms.oracles.registry import DEFAULT_ORACLE
from lcoms.prediction.candidate import Candidate
from lcoms.prediction.decode import Decoded, Proposal, decode_latents
from lcoms.prediction.descend import DescentResult, descend
from lcoms.prediction.propose import (
    PredictConfig,
    Start,
    composition_seed,
    encode_crystals,
    find_starts,
    given_start,
    largest_cell,
    load_library,
    recast,
)
from lcoms.prediction.random_symmetric import ExploreConfig, SymmetricDraw, best_apart, draw_crystals
from lcoms.prediction.scoring import OrderWeights
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS, atomic_volume
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import NEAR_LADDER, TOLERANCE_LADDER, same_space_group, symmetrise

MIN_DISTANCE = 0.7  # angstrom; H-H bonds are 0.74


@dataclass(frozen=True)
class RefineConfig:
    """How the candidates of a prediction are relaxed and ranked.

    Attributes:
        oracle: name of the energy oracle.
        n_relax: candidates that are relaxed, the best by their score.
        fmax: eV/angstrom; forces and cell gradients at which a relaxation ends.
        max_steps: after which a relaxation ends in any case.
        order: what counts beside the oracle's energy.
        explore: crystals that are relaxed beside the candidates, though no library entry stands behind them.
        second_oracle: name of an oracle whose energies of the relaxed crystals count as much in the order as those of
            `oracle`; empty: there is none.
    """

    oracle: str = DEFAULT_ORACLE
    n_relax: int = 20
    fmax: float = 0.1
    max_steps: int = 200
    order: OrderWeights = field(
        default_factory=lambda: OrderWeights(
            0.003, 0.0, 0.0, 0.022, magnetic=2.0, f_electrons=3.6, limit=0.02, excess=3.0, volume=0.07
        )
    )
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    second_oracle: str = ""

    @property
    def ranked_by(self) -> str:
        """Names of the oracles whose energies make the order."""
        return f"{self.oracle}, {self.second_oracle}" if self.second_oracle else self.oracle

    def __post_init__(self) -> None:
        for name in ("n_relax", "max_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not self.fmax > 0:
            raise ConfigError(f"fmax must be positive, not {self.fmax}.")


@dataclass(frozen=True, eq=False)
class Prediction:
    """All candidates for one composition, best first, and what became of the rest.

    Attributes:
        n_invalid: decodes without a valid crystal.
        n_too_close: crystals whose atoms come closer than 0.7 angstrom.
        n_duplicates: crystals equal to a better candidate.
        refined: how candidates were relaxed; None where they were not.
        failures: one sentence for each candidate whose relaxation failed; it is ranked behind the others.
        confidence: probability that the first candidate is the known ground state; None where nothing was fitted.
        explored: crystals that are worth nothing before they are relaxed.
        n_relaxations, n_oracle_calls: how many crystals were relaxed, and energies the oracle was asked for.
    """

    composition: Composition
    candidates: tuple[Candidate, ...]
    config: PredictConfig
    weights_digest: str
    n_starts: int
    n_invalid: int
    n_too_close: int
    n_duplicates: int
    refined: RefineConfig | None = None
    failures: tuple[str, ...] = ()
    confidence: float | None = None
    explored: tuple[Candidate, ...] = ()
    n_relaxations: int = 0
    n_oracle_calls: int = 0


def for_relaxing(config: PredictConfig, refined: RefineConfig) -> PredictConfig:
    """The search whose candidates are to be relaxed: as many as that takes, and those of the exploration."""
    return replace(config, n_candidates=max(config.n_candidates, refined.n_relax), explore=refined.explore)


def check_composition(composition: Composition, weights: Weights) -> None:
    """Whether these weights can handle a composition.

    Raises:
        FormulaError: a formula unit too large, or an element that the training data lack.
    """
    reduced = composition.reduced
    if reduced.n_atoms > weights.max_atoms and reduced.n_atoms > (most := largest_cell(weights)):
        raise FormulaError(
            f"{composition.formula} has {reduced.n_atoms} atoms in its formula unit; these weights know cells of up to "
            f"{most}."
        )
    unseen = [SYMBOLS[z] for z in reduced.atomic_numbers if z not in weights.elements]
    if unseen:
        raise FormulaError(
            f"{composition.formula}: the training data hold no crystal with {' or '.join(unseen)}, so nothing can be "
            "predicted for it."
        )


def predict_crystals(
    composition: Composition,
    weights: Weights,
    config: PredictConfig,
    *,
    structure: Crystal | None = None,
) -> Prediction:
    """Ranked crystals of one composition; the same seed gives the same answer whatever else is predicted beside it.

    Args:
        structure: start from this crystal instead of the library.

    Raises:
        FormulaError: the weights cannot handle the composition, or no cell size is left to try.
    """
    check_composition(composition, weights)
    generator = torch.Generator().manual_seed(composition_seed(config.seed, composition))
    if structure is not None:
        starts, config = [given_start(structure, composition, weights)], replace(config, explore=None)
    else:
        starts = find_starts(composition, weights, config, generator)
    return predict_from(starts, composition, weights, config, generator)


def predict_from(
    starts: Sequence[Start],
    composition: Composition,
    weights: Weights,
    config: PredictConfig,
    generator: torch.Generator,
) -> Prediction:
    """Ranked crystals of one composition from starts of one's choice."""
    cells = [composition.scaled(start.n_formula_units) for start in starts]
    z0 = torch.stack([start.latent for start in starts])
    for _ in range(config.recast):
        z0 = recast(z0, cells, weights, generator)
    features = element_fractions(composition).expand(len(starts), -1)
    descent = descend(weights.surrogate, z0, features, steps=config.steps, step_size=config.step_size)
    proposals = [
        [Proposal(start.space_group, 1.0, start.pattern, start.sites, start.shape, start.orbits)]
        if config.symmetry and start.space_group
        else []
        for start in starts
    ]
    decoded = decode_latents(weights, descent.z, cells, proposals, generator, config=config.within)
    kept = [(row, one) for row, some in enumerate(decoded) for one in some]
    apart = [(row, d) for row, d in kept if shortest_distance(d.crystal.lattice, d.crystal.frac_coords) >= MIN_DISTANCE]
    found = _candidates(apart, starts, descent, weights, config)
    distinct = _with_counts(drop_duplicates(sorted(found, key=_score)), config)
    return Prediction(
        composition=composition.reduced,
        candidates=tuple(distinct[: config.n_candidates]),
        config=config,
        weights_digest=weights.digest,
        n_starts=len(starts),
        n_invalid=sum(not some for some in decoded),
        n_too_close=len(kept) - len(apart),
        n_duplicates=len(found) - len(distinct),
        explored=tuple(_explored(starts, distinct, composition, weights, config)),
    )


def _explored(
    starts: Sequence[Start],
    candidates: Sequence[Candidate],
    composition: Composition,
    weights: Weights,
    config: PredictConfig,
) -> list[Candidate]:
    """Random symmetric crystals in cells such as the starts have, those that the surrogate likes best."""
    if config.explore is None:
        return []
    volumes = [c.crystal.volume / c.crystal.n_atoms for c in candidates]
    expected = sum(atomic_volume(z) * n for z, n in zip(composition.atomic_numbers, composition.counts, strict=True))
    usual = float(np.median(volumes)) if volumes else expected / composition.n_atoms
    votes = Counter[int]()
    for start in starts:
        votes[start.n_formula_units] += 1
    cells = [(composition.scaled(u), float(n), usual * composition.scaled(u).n_atoms) for u, n in sorted(votes.items())]
    random = np.random.default_rng([composition_seed(config.seed, composition), 1])
    library = load_library(weights.folder)
    frequencies = np.bincount(library.space_groups[library.n_atoms <= weights.max_atoms], minlength=231)
    draws = draw_crystals(cells, frequencies, config.explore, random)
    energies = crystal_energies([draw.crystal for draw in draws], weights)
    chosen = best_apart(draws, energies, config.explore)
    latents = encode_crystals([draws[at].crystal for at in chosen], weights)
    return [
        _candidate_of(draws[at], energies[at], latent, composition) for at, latent in zip(chosen, latents, strict=True)
    ]


def _candidate_of(draw: SymmetricDraw, energy: float, latent: Tensor, composition: Composition) -> Candidate:
    crystal = draw.crystal
    units = crystal.n_atoms // composition.reduced.n_atoms
    return Candidate(
        crystal=crystal,
        energy_per_atom=energy,
        latent_energy=energy,
        start_energy=energy,
        latent_distance=0.0,
        score=energy,
        space_group=draw.space_group,
        symprec=NEAR_LADDER[0],
        shortest_distance=shortest_distance(crystal.lattice, crystal.frac_coords),
        start=Start("symmetric", "", float("nan"), units, latent, draw.space_group),
        count=0,
        descent_energies=(energy,),
    )


def _candidates(
    decoded: Sequence[tuple[int, Decoded]],
    starts: Sequence[Start],
    descent: DescentResult,
    weights: Weights,
    config: PredictConfig,
) -> list[Candidate]:
    """Decoded crystals, each with the row of its start, symmetrised and given their energies."""
    symmetric = [
        symmetrise(one.crystal, ladder=NEAR_LADDER if one.space_group else TOLERANCE_LADDER) for _, one in decoded
    ]
    energies = crystal_energies([s.crystal for s in symmetric], weights)
    latents = encode_crystals([one.crystal for _, one in decoded], weights)
    candidates = []
    for (row, _), s, energy, latent in zip(decoded, symmetric, energies, latents, strict=True):
        distance = float((latent - descent.z[row]).norm())
        candidates.append(
            Candidate(
                crystal=s.crystal,
                energy_per_atom=energy,
                latent_energy=float(descent.energies[row]),
                start_energy=float(descent.energy_path[0, row]),
                latent_distance=distance,
                score=energy + config.order.distance * distance,
                space_group=s.space_group,
                symprec=s.symprec,
                shortest_distance=shortest_distance(s.crystal.lattice, s.crystal.frac_coords),
                start=starts[row],
                count=1,
                descent_energies=tuple(descent.energy_path[:, row].tolist()),
            )
        )
    return candidates


def crystal_energies(crystals: Sequence[Crystal], weights: Weights) -> list[float]:
    """Formation energies (eV/atom) that the surrogate gives to crystals, encoded as they are."""
    if not crystals:
        return []
    with torch.no_grad():
        features = element_fractions([crystal.composition for crystal in crystals])
        energies: list[float] = weights.surrogate(encode_crystals(crystals, weights), features).tolist()
    return energies


def drop_duplicates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates without those that are the same structure as an earlier one; the earlier one counts them."""
    distinct: list[Candidate] = []
    for candidate in candidates:
        for place, other in enumerate(distinct):
            same = same_space_group(candidate.space_group, other.space_group)
            if same and matches(candidate.crystal, other.crystal, STRICT):
                distinct[place] = other.with_others(candidate)
                break
        else:
            distinct.append(candidate)
    return distinct


def _with_counts(candidates: Sequence[Candidate], config: PredictConfig) -> list[Candidate]:
    """Candidates with their counts and supports in the score, best first."""
    scored = [replace(c, score=c.score_with(config.order, c.energy_per_atom)) for c in candidates]
    return sorted(scored, key=_score)


def _score(candidate: Candidate) -> float:
    return candidate.score
