"""Exact templates with the requested space group or cell, however improbable they are.

Without constraints, the networks decode the most probable templates. A space group or a cell leaves only a few, each
worth a relaxation from its exact sites: templates of the same stoichiometry, and those of others whose orbits can be
divided among the elements, such as the sulphur orbits of LaS2 between S and Se.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import exp
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import MIN_DISTANCE
from lcoms.prediction.known_cell import BEFORE_RELAXATION
from lcoms.prediction.spec import ConstraintSpec, PredictionSpec
from lcoms.prediction.stages import Decoded, Proposal
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import ExactSites, crystal_of
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.same_lattice import same_lattice
from lcoms.structure.symmetry import EXACT_SYMPREC, NEAR_LADDER, Symmetrised, symmetrise
from lcoms.structure.wyckoff import Orbits, primitive_basis
from lcoms.templates.exact import ExactTemplates, Template
from lcoms.templates.placing import TemplateChoice, choose_templates, substitute
from lcoms.templates.substitution import shared_out, substituted

MANY = 10_000  # templates considered
PER_STRUCTURE = 2  # templates of one structure
MOST_SAME, MOST_OTHER = 8, 4  # templates of the stoichiometry, and of others
MOST_ATOMS = 24  # in the primitive cell if no cell is known; larger ones take more time than they are worth
MOST_TOGETHER = 160  # atoms in all of them


class _Placed(NamedTuple):
    """A template with the elements of the composition on its sites.

    Attributes:
        sequence: index of the Wyckoff sequence in the statistics; -1 if the orbits are given instead.
        orbits: orbits with their elements, for a template of another stoichiometry.
    """

    template: Template
    found: Symmetrised
    distance: float
    probability: float
    sequence: int = -1
    orbits: Orbits = ()


def fitting_templates(composition: Composition, bundle: WeightBundle, spec: PredictionSpec) -> list[Decoded]:
    """Return crystals of the most probable templates with the requested group or cell; none if neither is given.

    They are returned as decoded crystals, so that duplicates decoded from the same templates are merged with them.
    """
    known, target = spec.constraints, composition.reduced
    if bundle.templates is None or spec.search.start != "library" or not (known.space_groups or known.cell):
        return []
    kept = [
        *_affordable(_of_the_stoichiometry(target, bundle, bundle.templates, spec), MOST_SAME),
        *_affordable(_of_others(target, bundle, bundle.templates, spec), MOST_OTHER),
    ]
    crystals = [one.found.crystal for one in kept]
    latents = bundle.encode(crystals)
    return [
        Decoded.as_is(one.found, energy, _proposal(one, target, latent))
        for one, energy, latent in zip(kept, bundle.energies(crystals, latents=latents), latents, strict=True)
    ]


def _affordable(found: Iterator[_Placed], n: int) -> list[_Placed]:
    """Return the first n, or fewer if they have many atoms."""
    kept: list[_Placed] = []
    for one in islice(found, n):
        if kept and sum(other.found.crystal.n_atoms for other in (*kept, one)) > MOST_TOGETHER:
            break
        kept.append(one)
    return kept


def _of_the_stoichiometry(
    target: Composition, bundle: WeightBundle, templates: ExactTemplates, spec: PredictionSpec
) -> Iterator[_Placed]:
    """Yield fitting templates of the composition's stoichiometry, the most probable structures first."""
    units, known = _units(target, spec), spec.constraints
    same = spec.search.exclude_same
    choice = TemplateChoice(n=MANY, units=units, exclude_same=same, max_per_structure=PER_STRUCTURE)
    rows = {name: row for row, name in enumerate(bundle.library.ids)}
    nearest: dict[int, float] = {}
    for one in choose_templates(target, templates, bundle.library.similarity, choice):
        sites = one.template.sites
        if known.space_groups and sites.space_group not in known.space_groups:
            continue
        crystal = substitute(target, one.template, templates.element_volumes)
        if not _fits(crystal, sites, known):
            continue
        row = rows.get(one.template.id) if len(one.template.composition.counts) == len(target.counts) else None
        sequence = -1 if row is None else int(bundle.library.wyckoff_sequences[row])
        found = Symmetrised(crystal, sites.space_group, EXACT_SYMPREC)
        orbits = sites.orbits if sequence < 0 else ()
        farther = one.distance - nearest.setdefault(one.template.structure, one.distance)
        left = exp(-bundle.library.similarity.sharpness * max(farther, 0.0))  # as in `on_exact_sites`
        yield _Placed(one.template, found, one.distance, left * one.prototype_probability, sequence, orbits)


def _of_others(
    target: Composition, bundle: WeightBundle, templates: ExactTemplates, spec: PredictionSpec
) -> Iterator[_Placed]:
    """Yield fitting templates of other stoichiometries, most probable first, with divided orbits (`shared_out`)."""
    known, library, units = spec.constraints, bundle.library, _units(target, spec)
    unseen = library.nearest(
        target, 1, exclude=[target] if spec.search.exclude_same else [], max_atoms=units[1] * target.n_atoms
    ).unseen
    ways = substituted(target, library, bundle.wyckoff, MANY, units=units, max_alike=MANY)
    probabilities = {(one.index, one.orbits): unseen * one.prototype_probability for one in ways}
    for entry in dict.fromkeys(one.index for one in ways):
        row = templates.row_of(library.ids[entry])
        if row is None or (known.space_groups and int(library.space_groups[entry]) not in known.space_groups):
            continue
        template = templates[row]
        sites, old = template.sites, template.composition
        ratio = _volume(target, templates) * (old.n_atoms // target.n_atoms) / _volume(old, templates)
        scaled = sites._replace(lengths=sites.lengths * ratio ** (1 / 3))
        if not _fits(crystal_of(scaled), sites, known):
            continue
        for distance, elements in shared_out(target, library, sites.space_group, sites.orbits):
            orbits = tuple((letter, z) for (letter, _), z in zip(sites.orbits, elements, strict=True))
            key = tuple(sorted(orbits))
            found = symmetrise(crystal_of(scaled._replace(orbits=orbits)), ladder=NEAR_LADDER)
            if not known.space_groups or found.space_group in known.space_groups:
                yield _Placed(template, found, distance, probabilities.get((entry, key), 0.0), orbits=key)


def _volume(composition: Composition, templates: ExactTemplates) -> float:
    """Return the sum of the elements' atomic volumes, cubic angstrom."""
    return float(templates.element_volumes[list(composition.atomic_numbers)] @ composition.counts)


def _units(target: Composition, spec: PredictionSpec) -> tuple[int, int]:
    """Return the smallest and largest number of formula units in the primitive cell."""
    search, cell = spec.search, spec.constraints.known_cell
    most = search.max_atoms or search.direct_atoms
    low, high = search.formula_units or (1, (most if cell is not None else min(most, MOST_ATOMS)) // target.n_atoms)
    if cell is None:
        return low, high
    inside = [n for n in cell.primitive_units(target, usual=True) if low <= n <= high] or [low]
    return min(inside), max(inside)


def _fits(crystal: Crystal, sites: ExactSites, constraints: ConstraintSpec) -> bool:
    """Return whether no atoms are too close and the cell is the requested one, within what relaxation changes.

    Args:
        crystal: scaled primitive cell of the sites.
    """
    if shortest_distance(crystal.lattice, crystal.frac_coords) < MIN_DISTANCE:
        return False
    cell = constraints.known_cell
    if cell is None:
        return True
    whole = np.linalg.inv(primitive_basis(sites.space_group)) @ crystal.lattice
    centred = not np.isclose(np.linalg.det(whole), np.linalg.det(crystal.lattice))
    lattices = (crystal.lattice, whole) if centred else (whole,)
    return any(same_lattice(one, cell.lattice, cell.tolerance + BEFORE_RELAXATION) for one in lattices)


def _proposal(one: _Placed, target: Composition, latent: Tensor) -> Proposal:
    return Proposal(
        source=one.template.id,
        formula=one.template.composition.reduced_formula,
        distance=one.distance,
        n_formula_units=one.found.crystal.n_atoms // target.n_atoms,
        latent=latent,
        space_group=one.template.sites.space_group,
        wyckoff_sequence=one.sequence,
        prototype_probability=one.probability,
        orbits=one.orbits,
    )
