"""Where latent descents begin: near training crystals, a given structure, random crystals or the prior.

Source: Qi et al., Latent Conservative Objective Models (2023), start from one random crystal; the latents of training
crystals of the same stoichiometry make a formula alone enough.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.models.weights import LIBRARY_FILE, Weights
from lcoms.prediction.decode import SymmetryConfig
from lcoms.prediction.random_symmetric import ExploreConfig
from lcoms.prediction.scoring import OrderWeights
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.random_crystal import random_crystal
from lcoms.structure.wyckoff import Orbits
from lcoms.templates.library import LatentLibrary
from lcoms.templates.substitution import recoloured
from lcoms.templates.wyckoff_statistics import load_orbits

MAX_PRIOR_UNITS = 4
LARGE_FROM = 6  # atoms in a formula unit; 98 % of the training ground states with fewer fit into cells of 20


@dataclass(frozen=True)
class PredictConfig:
    """Options of a prediction.

    Attributes:
        n_candidates: at most so many distinct crystals are returned.
        n_starts: latents to descend from.
        start: where they come from: latents of training crystals, samples of the prior, or latents of random crystals
            of the composition.
        recast: how often starts from the library are decoded with the new composition and encoded again.
        formula_units: smallest and largest number of formula units in the cell; None allows what the starts have.
        max_atoms: largest cell; None: that of the library where the formula unit has `LARGE_FROM` atoms or more or
            `formula_units` are given, else that of the crystals which the weights were trained on.
        steps: of latent descent; 0 decodes the starts themselves.
        step_size: in normalised latent space; None takes the one the surrogate was trained against.
        max_polymorphs: starts taken from one composition of the library.
        max_alike: starts taken of one structure: space group, Wyckoff positions and cell.
        recoloured: share of the starts that come from entries of other stoichiometries; where those of the same are
            few, all that are missing.
        order: what counts beside the surrogate's energy when candidates are ranked.
        symmetry: decode within the space group of each start's library entry; without it, anywhere in the cell.
        within: settings and tries of such a decode.
        explore: crystals to relax that no library entry stands behind; None for none.
        exclude_same: leave library entries of the very composition out, as a benchmark must.
        seed: of every random number drawn.
    """

    n_candidates: int = 10
    n_starts: int = 30
    start: Literal["library", "prior", "random"] = "library"
    recast: int = 0
    formula_units: tuple[int, int] | None = None
    max_atoms: int | None = None
    steps: int = 10
    step_size: float | None = None
    max_polymorphs: int = 3
    max_alike: int = 3
    recoloured: float = 0.2
    order: OrderWeights = field(default_factory=lambda: OrderWeights(0.27, 0.0, 0.42, 0.70))
    symmetry: bool = True
    within: SymmetryConfig = field(default_factory=SymmetryConfig)
    explore: ExploreConfig | None = None
    exclude_same: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_candidates", "n_starts", "max_polymorphs", "max_alike"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("steps", "recast"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, as {getattr(self, name)} is.")
        if not 0 <= self.recoloured <= 1:
            raise ConfigError(f"recoloured is a share of the starts, from 0 to 1, not {self.recoloured}.")
        if self.start not in ("library", "prior", "random"):
            raise ConfigError(f"starts come from library, prior or random, not from {self.start!r}.")
        if self.max_atoms is not None and self.max_atoms < 1:
            raise ConfigError(f"max_atoms must be at least 1, not {self.max_atoms}.")
        if self.formula_units is not None and not 1 <= self.formula_units[0] <= self.formula_units[1]:
            low, high = self.formula_units
            raise ConfigError(f"formula units {low}-{high} make no range; write for instance 1-4.")


@dataclass(frozen=True, eq=False)
class Start:
    """Where a descent began.

    Attributes:
        source: id of a library entry, `prior`, `random`, `symmetric` or `given`.
        formula: of the library entry; empty otherwise.
        distance: chemical distance of the entry (`search.similarity`); NaN where there is none.
        n_formula_units: in the cell to be decoded.
        space_group: of the library entry; 0 where there is none, or where it says nothing about the crystal wanted.
        pattern: place of its Wyckoff pattern in the statistics of orbits; -1 where unknown.
        sites: codes of where its orbits sit, in the order of the pattern; none where unknown.
        shape: code of the conventional cell that these refer to.
        orbits: what sits where, for an entry of another stoichiometry; the sites then are in their order.
        support: share of the chemically similar library entries that have its structure, as votes; NaN where there is
            no entry.
    """

    source: str
    formula: str
    distance: float
    n_formula_units: int
    latent: Float[Tensor, " latent"]
    space_group: int = 0
    pattern: int = -1
    support: float = float("nan")
    sites: tuple[int, ...] = ()
    shape: int = 0
    orbits: Orbits = ()


@lru_cache(maxsize=2)
def load_library(folder: Path) -> LatentLibrary:
    """The library of latents that belongs to the weights of a folder."""
    return LatentLibrary.load(folder / LIBRARY_FILE)


def largest_cell(weights: Weights) -> int:
    """Atoms in the largest cell that can be predicted; those of the library may be larger than what was learned."""
    return max(weights.max_atoms, int(load_library(weights.folder).n_atoms.max()))


def find_starts(
    composition: Composition, weights: Weights, config: PredictConfig, generator: torch.Generator
) -> list[Start]:
    """Latents of chemically near training crystals, filled up with samples of the prior.

    Raises:
        FormulaError: no number of formula units fits into the largest cell.
    """
    unit = composition.reduced.n_atoms
    large = unit >= LARGE_FROM or config.formula_units is not None or config.max_atoms is not None
    most = min(largest_cell(weights) if large else weights.max_atoms, config.max_atoms or sys.maxsize)
    low, high = config.formula_units or (1, most)
    high = min(high, most // unit)
    if low > high:
        raise FormulaError(
            f"{composition.reduced_formula}: {low} formula unit{'s make' if low > 1 else ' makes'} {low * unit} atoms; "
            f"cells of up to {most} can be handled."
        )
    learned = max(low, min(high, weights.max_atoms // unit))
    if config.start == "library":
        starts = _library_starts(composition, weights, config, low, high)
    elif config.start == "random":
        starts = _random_starts(composition, weights, config, low, learned)
    else:
        starts = []
    units = list(range(low, min(learned, max(low, MAX_PRIOR_UNITS)) + 1))
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
        exclude=[composition] if config.exclude_same else [],
        max_per_composition=config.max_polymorphs,
        max_per_structure=config.max_alike,
        max_atoms=high * composition.reduced.n_atoms,
    )
    starts = [
        Start(
            nearest.ids[i],
            library.composition(int(nearest.indices[i])).reduced_formula,
            float(nearest.distances[i]),
            int(nearest.n_formula_units[i]),
            nearest.latents[i],
            int(library.space_groups[nearest.indices[i]]) if nearest.same_counts[i] else 0,
            int(library.patterns[nearest.indices[i]]) if nearest.same_counts[i] else -1,
            float(nearest.supports[i]),
            library.sites(int(nearest.indices[i])) if nearest.same_counts[i] else (),
            int(library.shapes[nearest.indices[i]]),
        )
        for i in range(len(nearest))
        if low <= nearest.n_formula_units[i] <= high
    ]
    own = starts[: config.n_starts - round(config.recoloured * config.n_starts)]
    n = config.n_starts - len(own) if config.recoloured else 0
    others = _recoloured_starts(composition, weights, n, (low, high), config.max_alike, nearest.unseen)
    return (own + others + starts[len(own) :])[: config.n_starts]


def _recoloured_starts(
    composition: Composition, weights: Weights, n: int, units: tuple[int, int], max_alike: int, unseen: float
) -> list[Start]:
    """Training crystals of other stoichiometries, with other elements on their orbits; they share the unseen votes."""
    if not n:
        return []
    library = load_library(weights.folder)
    found = recoloured(composition, library, load_orbits(weights.folder), n, units=units, max_alike=max_alike)
    return [
        Start(
            library.ids[one.index],
            library.composition(one.index).reduced_formula,
            one.distance,
            one.n_formula_units,
            library.latents(np.array([one.index]))[0],
            int(library.space_groups[one.index]),
            support=unseen * one.support,
            sites=one.sites,
            shape=int(library.shapes[one.index]),
            orbits=one.orbits,
        )
        for one in found
    ]


def _random_starts(
    composition: Composition, weights: Weights, config: PredictConfig, low: int, high: int
) -> list[Start]:
    """Random crystals of the composition, encoded."""
    random = np.random.default_rng(composition_seed(config.seed, composition))
    units = list(range(low, min(high, max(low, MAX_PRIOR_UNITS)) + 1))
    cells = [composition.scaled(units[i % len(units)]) for i in range(config.n_starts)]
    latents = encode_crystals([random_crystal(cell, random) for cell in cells], weights)
    return [
        Start("random", "", float("nan"), cell.n_formula_units, latent)
        for cell, latent in zip(cells, latents, strict=True)
    ]


def given_start(structure: Crystal, composition: Composition, weights: Weights) -> Start:
    """The latent of a structure of the user's.

    Raises:
        FormulaError: the cell with as many formula units of the composition is too large for the weights.
    """
    units = structure.composition.n_formula_units
    if units * composition.reduced.n_atoms > (most := largest_cell(weights)):
        raise FormulaError(
            f"{composition.reduced_formula}: the start structure has {units} formula units, which make "
            f"{units * composition.reduced.n_atoms} atoms; cells of up to {most} can be handled."
        )
    return Start("given", "", float("nan"), units, encode_crystals([structure], weights)[0])


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
        moved[rows] = encode_crystals([crystal for crystal in crystals if crystal is not None], weights)
    return moved


@torch.no_grad()
def encode_crystals(crystals: Sequence[Crystal], weights: Weights) -> Float[Tensor, "n latent"]:
    """Latents (mu) of crystals; none for none."""
    if not crystals:
        return torch.zeros(0, weights.cdvae.latent_dim)
    return weights.cdvae.encode(CrystalBatch.from_crystals(crystals))[0]


def composition_seed(seed: int, composition: Composition) -> int:
    """A seed of its own for every composition, so that what is predicted beside it makes no difference."""
    text = f"{seed}:{composition.reduced_formula}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
