"""Starting points of latent descents: templates, a given structure, random crystals or the prior.

Qi et al., Latent Conservative Objective Models (2023), start from one random crystal. Here a formula is enough:
descents start from the latents of known crystals of the same stoichiometry, or of others whose sites can be divided
among the elements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lcoms.core.errors import FormulaError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import groups_in_effect
from lcoms.prediction.spec import MOST_ATOMS, PredictionSpec, SearchSpec
from lcoms.prediction.stages import Proposal
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.random_crystal import random_crystal
from lcoms.templates.substitution import substituted

MAX_PRIOR_UNITS = 4  # formula units in cells without a template
MANY = 10_000  # templates considered if a constraint leaves few of them
LARGE_FROM = 6  # atoms in a formula unit; 98 % of the training ground states with fewer fit into cells of 20 atoms


@dataclass(frozen=True)
class Units:
    """Formula units of decoded cells: `low` to `high` (none if high < low), up to `learned` without a template."""

    low: int
    high: int
    learned: int

    @property
    def none(self) -> bool:
        """Whether every cell is too large to be decoded, so that only templates remain."""
        return self.high < self.low

    @property
    def untemplated(self) -> list[int]:
        """Numbers of formula units that are decoded without a template."""
        return list(range(self.low, min(self.learned, max(self.low, MAX_PRIOR_UNITS)) + 1))


def largest_tried(bundle: WeightBundle, search: SearchSpec) -> int:
    """Return the number of atoms in the largest cell that is tried, by decoding or with an exact template."""
    if search.max_atoms is not None:
        return search.max_atoms
    return max(bundle.largest_cell, search.direct_atoms) if bundle.templates is not None else bundle.largest_cell


def check_composition(composition: Composition, bundle: WeightBundle, search: SearchSpec | None = None) -> None:
    """Check that the weights can handle a composition.

    Raises:
        FormulaError: the formula unit is too large, or an element is missing from the training data.
    """
    reduced = composition.reduced
    if reduced.n_atoms > (most := largest_tried(bundle, search or SearchSpec())):
        raise FormulaError(
            f"{composition.formula} has {reduced.n_atoms} atoms in its formula unit; cells of up to {most} are tried"
            f"{_raised(reduced.n_atoms, bundle)}."
        )
    unseen = [SYMBOLS[z] for z in reduced.atomic_numbers if z not in bundle.elements]
    if unseen:
        raise FormulaError(
            f"{composition.formula}: the training data hold no crystal with {' or '.join(unseen)}, so nothing can be "
            "predicted for it."
        )


def _raised(n_atoms: int, bundle: WeightBundle) -> str:
    """Return how to raise the limit to a number of atoms; empty without the exact templates that larger cells need."""
    if bundle.templates is None or n_atoms > MOST_ATOMS:
        return ""
    return f"; --max-atoms {n_atoms} tries larger ones"


def cell_sizes(composition: Composition, bundle: WeightBundle, search: SearchSpec) -> Units:
    """Return the numbers of formula units that are decoded; larger cells are left to exact templates, if any.

    Raises:
        FormulaError: no number of formula units fits into the largest cell.
    """
    unit, tried = composition.reduced.n_atoms, largest_tried(bundle, search)
    low, high = search.formula_units or (1, tried)
    if low * unit > tried:
        raise FormulaError(
            f"{composition.reduced_formula}: {low} formula unit{'s make' if low > 1 else ' makes'} {low * unit} atoms; "
            f"cells of up to {tried} are tried{_raised(low * unit, bundle)}."
        )
    decoded = bundle.max_atoms
    if bundle.templates is None and (unit >= LARGE_FROM or search.formula_units or search.max_atoms):
        decoded = bundle.largest_cell
    high = min(high, min(decoded, tried) // unit)
    return Units(low, high, max(low, min(high, bundle.max_atoms // unit)))


def find_proposals(
    composition: Composition, bundle: WeightBundle, spec: PredictionSpec, generator: torch.Generator
) -> list[Proposal]:
    """Return the requested number of proposals, with samples of the prior if templates are few; none for large cells.

    Raises:
        FormulaError: no number of formula units fits into the largest cell.
    """
    search, cell = spec.search, spec.constraints.known_cell
    units = cell_sizes(composition, bundle, search)
    found: list[Proposal] = []
    if units.none:
        return found
    if search.start == "library":
        found = _from_library(composition, bundle, spec, units)
    elif search.start == "random":
        found = _from_random_crystals(composition, bundle, spec, units)
    sizes = units.untemplated
    if cell is not None:
        sizes = [n for n in sizes if n in cell.primitive_units(composition, usual=True)] or sizes
    while len(found) < search.n_starts:
        latent = torch.randn(bundle.cdvae.latent_dim, generator=generator)
        found.append(Proposal("prior", "", float("nan"), sizes[len(found) % len(sizes)], latent))
    return found


def _from_library(composition: Composition, bundle: WeightBundle, spec: PredictionSpec, units: Units) -> list[Proposal]:
    """Return the chemically nearest templates of the same stoichiometry, and a share of substituted ones."""
    search, library = spec.search, bundle.library
    allowed = _allowed(spec, composition, units)
    choosy = spec.constraints.known_cell is not None or bool(groups_in_effect(spec.constraints, composition))
    nearest = library.nearest(
        composition,
        MANY if choosy else 4 * search.n_starts if search.formula_units else search.n_starts,
        exclude=[composition] if search.exclude_same else [],
        max_per_composition=search.max_polymorphs,
        max_per_structure=search.max_alike,
        max_atoms=units.high * composition.reduced.n_atoms,
    )
    same = [
        Proposal(
            source=nearest.ids[i],
            formula=library.composition(int(nearest.indices[i])).reduced_formula,
            distance=float(nearest.distances[i]),
            n_formula_units=int(nearest.n_formula_units[i]),
            latent=nearest.latents[i],
            space_group=int(library.space_groups[nearest.indices[i]]) if nearest.same_counts[i] else 0,
            wyckoff_sequence=int(library.wyckoff_sequences[nearest.indices[i]]) if nearest.same_counts[i] else -1,
            prototype_probability=float(nearest.prototype_probabilities[i]),
            sites=library.sites(int(nearest.indices[i])) if nearest.same_counts[i] else (),
            cell_code=int(library.cell_codes[nearest.indices[i]]),
        )
        for i in range(len(nearest))
        if allowed(int(library.space_groups[nearest.indices[i]]), int(nearest.n_formula_units[i]))
    ]
    own = same[: search.n_starts - round(search.substituted * search.n_starts)]
    n = search.n_starts - len(own) if search.substituted else 0
    others = _substituted(composition, bundle, MANY if choosy and n else n, units, search.max_alike, nearest.unseen)
    others = [p for p in others if allowed(p.space_group, p.n_formula_units)][:n]
    return (own + others + same[len(own) :])[: search.n_starts]


def _allowed(spec: PredictionSpec, composition: Composition, units: Units) -> Callable[[int, int], bool]:
    """Return a test of whether a template's space group and number of formula units may satisfy the constraints."""
    groups, cell = groups_in_effect(spec.constraints, composition), spec.constraints.known_cell
    inside = None if cell is None else cell.primitive_units(composition, usual=True)

    def allowed(group: int, n: int) -> bool:
        if not units.low <= n <= units.high or (groups and group not in groups):
            return False
        return cell is None or inside is None or (n in inside and bool(cell.lattices_of(group, composition.scaled(n))))

    return allowed


def _substituted(
    composition: Composition, bundle: WeightBundle, n: int, units: Units, max_alike: int, unseen: float
) -> list[Proposal]:
    """Return templates of other stoichiometries with new elements on their orbits, sharing the unseen probability."""
    if not n:
        return []
    library = bundle.library
    found = substituted(composition, library, bundle.wyckoff, n, units=(units.low, units.high), max_alike=max_alike)
    return [
        Proposal(
            source=library.ids[one.index],
            formula=library.composition(one.index).reduced_formula,
            distance=one.distance,
            n_formula_units=one.n_formula_units,
            latent=library.latents(np.array([one.index]))[0],
            space_group=int(library.space_groups[one.index]),
            prototype_probability=unseen * one.prototype_probability,
            sites=one.sites,
            cell_code=int(library.cell_codes[one.index]),
            orbits=one.orbits,
        )
        for one in found
    ]


def _from_random_crystals(
    composition: Composition, bundle: WeightBundle, spec: PredictionSpec, units: Units
) -> list[Proposal]:
    """Return the latents of random crystals of the composition."""
    random = np.random.default_rng(composition_seed(spec.seed, composition))
    sizes = units.untemplated
    cells = [composition.scaled(sizes[i % len(sizes)]) for i in range(spec.search.n_starts)]
    latents = bundle.encode([random_crystal(cell, random) for cell in cells])
    return [
        Proposal("random", "", float("nan"), cell.n_formula_units, latent)
        for cell, latent in zip(cells, latents, strict=True)
    ]


def given_proposal(structure: Crystal, composition: Composition, bundle: WeightBundle) -> Proposal:
    """Return a proposal with the latent of a structure given by the user.

    Raises:
        FormulaError: a cell with this number of formula units of the composition is too large for the weights.
    """
    units = structure.composition.n_formula_units
    if units * composition.reduced.n_atoms > (most := bundle.largest_cell):
        raise FormulaError(
            f"{composition.reduced_formula}: the start structure has {units} formula units, which make "
            f"{units * composition.reduced.n_atoms} atoms; cells of up to {most} can be handled."
        )
    return Proposal("given", "", float("nan"), units, bundle.encode([structure])[0])


def composition_seed(seed: int, composition: Composition) -> int:
    """Return a seed specific to the composition, so that results do not depend on what else is predicted."""
    text = f"{seed}:{composition.key}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
