"""From a formula to ranked crystals: starts, latent descent, decoding, symmetry, duplicates, ranking.

Source: Qi et al., Latent Conservative Objective Models (2023), with starts taken from the latents of training
crystals of the same stoichiometry, so that a formula alone is enough.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.batch import CrystalBatch
from lcoms.crystal import Composition, Crystal
from lcoms.elements import SYMBOLS
from lcoms.errors import ConfigError, FormulaError
from lcoms.lattice import shortest_distance
from lcoms.match import STRICT, matches
from lcoms.models.composition import element_fractions
from lcoms.models.weights import LIBRARY_FILE, Weights
from lcoms.search.latent import DescentResult, descend
from lcoms.search.library import LatentLibrary
from lcoms.search.random_crystal import random_crystal
from lcoms.symmetry import space_group_order, symmetrise

logger = logging.getLogger(__name__)

MIN_DISTANCE = 0.7  # angstrom; H-H bonds are 0.74
MAX_PRIOR_UNITS = 4


@dataclass(frozen=True)
class PredictConfig:
    """Options of a prediction.

    Attributes:
        n_candidates: at most so many distinct crystals are returned.
        n_starts: latents to descend from.
        start: where they come from: latents of training crystals of the same stoichiometry, samples of the prior, or
            latents of random crystals of the composition.
        recast: how often starts from the library are decoded with the new composition and encoded again.
        formula_units: smallest and largest number of formula units in the cell; None allows what the starts have.
        steps: of latent descent; 0 decodes the starts themselves.
        step_size: in normalised latent space; None takes the one the surrogate was trained against.
        hull_weight: Mendeleev numbers that 1 eV/atom above the hull costs a start.
        max_polymorphs: starts taken from one composition of the library.
        distance_weight: eV/atom added to a candidate's score for each unit of distance between the latent that was
            decoded and the latent of the crystal that came out.
        symmetry_weight: eV/atom taken off the score for each factor e in the order of the space group: crystals are
            rarely less symmetric than they could be, and a decode that went wrong nearly always is.
        count_weight: eV/atom taken off the score for each factor e in the number of starts that led to the crystal.
        exclude_same: leave library entries of the very composition out, as a benchmark must.
        seed: of every random number drawn.
    """

    n_candidates: int = 10
    n_starts: int = 48
    start: Literal["library", "prior", "random"] = "library"
    recast: int = 0
    formula_units: tuple[int, int] | None = None
    steps: int = 50
    step_size: float | None = None
    hull_weight: float = 20.0
    max_polymorphs: int = 3
    distance_weight: float = 0.2
    symmetry_weight: float = 0.03
    count_weight: float = 0.1
    exclude_same: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_candidates", "n_starts", "max_polymorphs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("steps", "recast", "distance_weight", "symmetry_weight", "count_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, as {getattr(self, name)} is.")
        if self.start not in ("library", "prior", "random"):
            raise ConfigError(f"starts come from library, prior or random, not from {self.start!r}.")
        if self.formula_units is not None and not 1 <= self.formula_units[0] <= self.formula_units[1]:
            low, high = self.formula_units
            raise ConfigError(f"formula units {low}-{high} make no range; write for instance 1-4.")


@dataclass(frozen=True, eq=False)
class Start:
    """Where a descent began.

    Attributes:
        source: id of a library entry, `prior`, or `given`.
        formula: of the library entry; empty otherwise.
        distance: chemical distance of the entry, in Mendeleev numbers; NaN where there is none.
        n_formula_units: in the cell to be decoded.
    """

    source: str
    formula: str
    distance: float
    n_formula_units: int
    latent: Float[Tensor, " latent"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One predicted crystal.

    Attributes:
        crystal: primitive cell on exact symmetry.
        energy_per_atom: formation energy predicted by the surrogate for this crystal, eV/atom.
        latent_energy: formation energy the surrogate promised where descent ended, eV/atom.
        start_energy: formation energy predicted at the start, eV/atom.
        latent_distance: from the latent decoded to that of the crystal that came out.
        score: what candidates are ranked by, eV/atom: energy_per_atom plus the weighted latent_distance, less the
            weighted logarithms of the order of the space group and of the count.
        space_group: number in the International Tables.
        symprec: angstrom; tolerance at which the symmetry was found.
        shortest_distance: angstrom.
        count: how many starts led to this crystal.
    """

    crystal: Crystal
    energy_per_atom: float
    latent_energy: float
    start_energy: float
    latent_distance: float
    score: float
    space_group: int
    symprec: float
    shortest_distance: float
    start: Start
    count: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """All candidates for one composition, best first, and what became of the rest.

    Attributes:
        n_invalid: decodes without a valid crystal.
        n_too_close: crystals whose atoms come closer than 0.7 angstrom.
        n_duplicates: crystals equal to a better candidate.
    """

    composition: Composition
    candidates: tuple[Candidate, ...]
    config: PredictConfig
    weights_digest: str
    n_starts: int
    n_invalid: int
    n_too_close: int
    n_duplicates: int


@lru_cache(maxsize=2)
def load_library(folder: Path) -> LatentLibrary:
    """The library of latents that belongs to the weights of a folder."""
    return LatentLibrary.load(folder / LIBRARY_FILE)


def check_composition(composition: Composition, weights: Weights) -> None:
    """Whether these weights can handle a composition.

    Raises:
        FormulaError: a formula unit too large, or an element that the training data lack.
    """
    reduced = composition.reduced
    if reduced.n_atoms > weights.max_atoms:
        raise FormulaError(
            f"{composition.formula} has {reduced.n_atoms} atoms in its formula unit; these weights were trained on "
            f"cells of up to {weights.max_atoms}."
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
    generator = torch.Generator().manual_seed(_seed(config.seed, composition))
    starts = (
        [_given_start(structure, composition, weights)]
        if structure is not None
        else find_starts(composition, weights, config, generator)
    )
    cells = [composition.scaled(start.n_formula_units) for start in starts]
    z0 = torch.stack([start.latent for start in starts])
    for _ in range(config.recast):
        z0 = recast(z0, cells, weights, generator)
    features = element_fractions(composition).expand(len(starts), -1)
    descent = descend(weights.surrogate, z0, features, steps=config.steps, step_size=config.step_size)
    decoded = weights.cdvae.decode(descent.z, cells, generator)
    kept = [(row, crystal) for row, crystal in enumerate(decoded) if crystal is not None]
    apart = [(row, c) for row, c in kept if shortest_distance(c.lattice, c.frac_coords) >= MIN_DISTANCE]
    found = _candidates(apart, starts, descent, weights, config)
    distinct = _with_counts(drop_duplicates(sorted(found, key=_score)), config)
    return Prediction(
        composition=composition.reduced,
        candidates=tuple(distinct[: config.n_candidates]),
        config=config,
        weights_digest=weights.digest,
        n_starts=len(starts),
        n_invalid=len(decoded) - len(kept),
        n_too_close=len(kept) - len(apart),
        n_duplicates=len(found) - len(distinct),
    )


def _candidates(
    decoded: Sequence[tuple[int, Crystal]],
    starts: Sequence[Start],
    descent: DescentResult,
    weights: Weights,
    config: PredictConfig,
) -> list[Candidate]:
    """Decoded crystals, each with the row of its start, symmetrised and given their energies."""
    symmetric = [symmetrise(crystal) for _, crystal in decoded]
    energies = crystal_energies([s.crystal for s in symmetric], weights)
    latents = _encode([crystal for _, crystal in decoded], weights)
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
                score=energy
                + config.distance_weight * distance
                - config.symmetry_weight * log(space_group_order(s.space_group)),
                space_group=s.space_group,
                symprec=s.symprec,
                shortest_distance=shortest_distance(s.crystal.lattice, s.crystal.frac_coords),
                start=starts[row],
                count=1,
            )
        )
    return candidates


def recast(
    z: Float[Tensor, "n latent"], cells: Sequence[Composition], weights: Weights, generator: torch.Generator
) -> Float[Tensor, "n latent"]:
    """Latents moved to another chemistry: decoded with the new cells and encoded again.

    Those from which no crystal comes out are kept as they are.
    """
    crystals = weights.cdvae.decode(z, cells, generator)
    rows = [row for row, crystal in enumerate(crystals) if crystal is not None]
    moved = z.clone()
    if rows:
        moved[rows] = _encode([crystal for crystal in crystals if crystal is not None], weights)
    return moved


def find_starts(
    composition: Composition, weights: Weights, config: PredictConfig, generator: torch.Generator
) -> list[Start]:
    """Latents of chemically near training crystals, filled up with samples of the prior.

    Raises:
        FormulaError: no number of formula units fits into the largest cell.
    """
    unit = composition.reduced.n_atoms
    low, high = config.formula_units or (1, weights.max_atoms)
    high = min(high, weights.max_atoms // unit)
    if low > high:
        raise FormulaError(
            f"{composition.reduced_formula}: {low} formula units make {low * unit} atoms; cells of up to "
            f"{weights.max_atoms} can be handled."
        )
    if config.start == "library":
        starts = _library_starts(composition, weights, config, low, high)
    elif config.start == "random":
        starts = _random_starts(composition, weights, config, low, high)
    else:
        starts = []
    units = list(range(low, min(high, max(low, MAX_PRIOR_UNITS)) + 1))
    while len(starts) < config.n_starts:
        latent = torch.randn(weights.cdvae.latent_dim, generator=generator)
        starts.append(Start("prior", "", float("nan"), units[len(starts) % len(units)], latent))
    return starts


def _library_starts(
    composition: Composition, weights: Weights, config: PredictConfig, low: int, high: int
) -> list[Start]:
    """The chemically nearest training crystals of the same stoichiometry with so many formula units."""
    library = load_library(weights.folder)
    nearest = library.nearest(
        composition,
        4 * config.n_starts if config.formula_units else config.n_starts,
        hull_weight=config.hull_weight,
        exclude=[composition] if config.exclude_same else [],
        max_per_composition=config.max_polymorphs,
        max_atoms=high * composition.reduced.n_atoms,
    )
    starts = [
        Start(
            nearest.ids[i],
            library.composition(int(nearest.indices[i])).reduced_formula,
            float(nearest.distances[i]),
            int(nearest.n_formula_units[i]),
            nearest.latents[i],
        )
        for i in range(len(nearest))
        if low <= nearest.n_formula_units[i] <= high
    ]
    return starts[: config.n_starts]


def _random_starts(
    composition: Composition, weights: Weights, config: PredictConfig, low: int, high: int
) -> list[Start]:
    """Random crystals of the composition, encoded."""
    random = np.random.default_rng(_seed(config.seed, composition))
    units = list(range(low, min(high, max(low, MAX_PRIOR_UNITS)) + 1))
    cells = [composition.scaled(units[i % len(units)]) for i in range(config.n_starts)]
    latents = _encode([random_crystal(cell, random) for cell in cells], weights)
    return [
        Start("random", "", float("nan"), cell.n_formula_units, latent)
        for cell, latent in zip(cells, latents, strict=True)
    ]


def crystal_energies(crystals: Sequence[Crystal], weights: Weights) -> list[float]:
    """Formation energies (eV/atom) that the surrogate gives to crystals, encoded as they are."""
    if not crystals:
        return []
    with torch.no_grad():
        features = element_fractions([crystal.composition for crystal in crystals])
        energies: list[float] = weights.surrogate(_encode(crystals, weights), features).tolist()
    return energies


@torch.no_grad()
def _encode(crystals: Sequence[Crystal], weights: Weights) -> Float[Tensor, "n latent"]:
    if not crystals:
        return torch.zeros(0, weights.cdvae.latent_dim)
    return weights.cdvae.encode(CrystalBatch.from_crystals(crystals))[0]


def drop_duplicates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates without those that are the same structure as an earlier one; the earlier one counts them."""
    distinct: list[Candidate] = []
    for candidate in candidates:
        for place, other in enumerate(distinct):
            if candidate.space_group == other.space_group and matches(candidate.crystal, other.crystal, STRICT):
                distinct[place] = replace(other, count=other.count + candidate.count)
                break
        else:
            distinct.append(candidate)
    return distinct


def _with_counts(candidates: Sequence[Candidate], config: PredictConfig) -> list[Candidate]:
    """Candidates with their counts in the score, best first: what many starts lead to is rarely an accident."""
    scored = [replace(c, score=c.score - config.count_weight * log(c.count)) for c in candidates]
    return sorted(scored, key=_score)


def _score(candidate: Candidate) -> float:
    return candidate.score


def _given_start(structure: Crystal, composition: Composition, weights: Weights) -> Start:
    units = structure.composition.n_formula_units
    if units * composition.reduced.n_atoms > weights.max_atoms:
        raise FormulaError(
            f"{composition.reduced_formula}: the start structure has {units} formula units, which make "
            f"{units * composition.reduced.n_atoms} atoms; cells of up to {weights.max_atoms} can be handled."
        )
    return Start("given", "", float("nan"), units, _encode([structure], weights)[0])


def _seed(seed: int, composition: Composition) -> int:
    text = f"{seed}:{composition.reduced_formula}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
