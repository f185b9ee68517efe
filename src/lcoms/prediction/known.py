"""Known crystals: those of the same composition in the training data, and exact templates of large cells.

Both are used as they are, without the networks: the exact sites of a crystal that was relaxed by its source need no
decoding. Candidates equal to a known crystal are marked, and known crystals keep the order of their source, whose
energy differences between polymorphs are more accurate than those of the learned energy models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import NONE_LEFT_OUT, Contradictions, promising
from lcoms.prediction.decode import drop_duplicates
from lcoms.prediction.fitting_templates import fitting_templates
from lcoms.prediction.scoring import KnownWeights
from lcoms.prediction.spec import ConstraintSpec, PredictionSpec, SearchSpec
from lcoms.prediction.stages import Candidate, Decoded, Known, Proposal
from lcoms.prediction.structure_types import crystals_of_type
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import atomic_volume
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import EXACT_SYMPREC, NEAR_LADDER, Symmetrised, same_space_group, symmetrise
from lcoms.templates.exact import ExactTemplates, Template
from lcoms.templates.placing import (
    ChosenTemplate,
    TemplateChoice,
    choose_templates,
    known_entries,
    prototype_shares,
)
from lcoms.templates.prototypes import prototype_templates

UNKNOWN_HEIGHT = 1.0  # eV/atom
FEWEST = 3  # minimum number of decoded proposals, however probable larger cells are
ALIKE = 6  # templates of one structure, whose free coordinates may differ
ELEMENT_VOLUMES = np.array([0.0, *(atomic_volume(z) for z in range(1, 104))])  # cubic angstrom, if none are fitted


class KnownEntry(NamedTuple):
    """A known crystal and its height above the hull from all data of its source, eV/atom."""

    template: Template
    height: float


@dataclass(frozen=True, eq=False)
class Direct:
    """Crystals and templates that need no decoding, and the probability of large cells.

    Attributes:
        crystals: crystals to be relaxed without decoding.
        likely: templates of other structures than these; in cells larger than those decoded, only the more probable
            ones.
        large: prototype probability of cells larger than those decoded.
        left_out: the part of it in cells too large to try.
        larger: number of atoms in the most probable of the latter; 0 if there are none.
        passed_over: number of known crystals of the composition, with the requested numbers of formula units, that are
            not among the crystals.
        other_sizes: number of known crystals of the composition with other numbers of formula units.
        contradicting: numbers of crystals that contradict the constraints.
    """

    crystals: tuple[Decoded, ...] = ()
    likely: tuple[ChosenTemplate, ...] = ()
    large: float = 0.0
    left_out: float = 0.0
    larger: int = 0
    passed_over: int = 0
    other_sizes: int = 0
    contradicting: Contradictions = NONE_LEFT_OUT

    def worth_decoding(self, n: int) -> int:
        """Return how many of n proposals to decode: the share of probability in smaller cells, at least `FEWEST`."""
        return max(min(n, FEWEST), ceil(n * (1 - self.large)))


def direct_crystals(composition: Composition, bundle: WeightBundle, spec: PredictionSpec, decoded_to: int) -> Direct:
    """Return known crystals and named prototypes of the composition, those that constraints require, and templates.

    Args:
        decoded_to: number of atoms in the largest cell that the networks decode.
    """
    found, groups = _without_types(composition, bundle, spec.search, decoded_to), spec.constraints.space_groups
    fitting = fitting_templates(composition, bundle, spec)
    every = drop_duplicates([*found.crystals, *_of_types(composition, bundle, spec.constraints), *fitting])
    kept, contradicting = promising(every, spec.constraints, composition, pressure=spec.pressure)
    inside = tuple(one for one in kept if not groups or one.space_group in groups)
    contradicting += Contradictions(space_group=len(kept) - len(inside))
    return replace(found, crystals=inside, contradicting=contradicting)


def _of_types(composition: Composition, bundle: WeightBundle, constraints: ConstraintSpec) -> list[Decoded]:
    """Return crystals of the requested structure types, with the elements assigned in all possible ways."""
    volumes = ELEMENT_VOLUMES if bundle.templates is None else bundle.templates.element_volumes
    return [
        decoded_template(template, crystal, bundle, 0.0, 0.0)
        for asked in constraints.prototypes
        for template, crystal in crystals_of_type(asked, composition, volumes)
    ]


def _without_types(composition: Composition, bundle: WeightBundle, search: SearchSpec, decoded_to: int) -> Direct:
    """Return known crystals and named prototypes of the composition, and likely templates."""
    if bundle.templates is None or search.start != "library":
        return Direct()
    most, limits = search.max_atoms or search.direct_atoms, bundle.ranking.known
    low, high = search.formula_units or (1, 10**6)
    every = [] if search.exclude_same else known_of(composition, bundle.templates)
    entries = [one for one in every if low <= one.template.composition.n_formula_units <= high]
    own = [one.template for one in entries if one.height <= limits.highest and one.template.crystal.n_atoms <= most]
    own = own[: search.known]
    choice = TemplateChoice(n=10**6, units=(low, high), exclude_same=search.exclude_same, max_per_structure=ALIKE)
    chosen = choose_templates(composition, bundle.templates, bundle.library.similarity, choice)
    size = composition.reduced.n_atoms
    large = [one for one in chosen if one.n_formula_units * size > decoded_to]
    shares = prototype_shares(chosen)
    beyond = [one for one in large if one.n_formula_units * size > most]
    probabilities = {one.template.structure: one.prototype_probability for one in chosen}
    there = [one.template.structure for one in every]
    named = [] if search.exclude_same else named_prototypes(composition, there, most, (low, high))[: search.known]
    crystals = [decoded_template(t, t.crystal, bundle, probabilities.get(t.structure, 0.0), 0.0) for t in own]
    unseen = [0.0 if t.structure in probabilities else 1 / len(named) for t in named]  # others get theirs when merged
    crystals += [decoded_template(t, t.crystal, bundle, p, 0.0) for t, p in zip(named, unseen, strict=True)]
    tried = {template.structure for template in (*own, *named)}
    likely = tuple(
        one
        for one in chosen
        if one.template.structure not in tried
        and (atoms := one.n_formula_units * size) <= most
        and (atoms <= decoded_to or shares[one.template.structure] >= limits.least_probability)
    )
    larger = max(beyond, key=lambda one: shares[one.template.structure]).n_formula_units * size if beyond else 0
    return Direct(
        tuple(crystals),
        likely,
        large=_total(shares, large),
        left_out=_total(shares, beyond),
        larger=larger,
        passed_over=len(entries) - len(own),
        other_sizes=len(every) - len(entries),
    )


def named_prototypes(
    composition: Composition, structures: Collection[int], most: int, units: tuple[int, int]
) -> list[Template]:
    """Return named prototypes that are crystals of the composition, such as graphite, fewest atoms first.

    Args:
        structures: structure ids to exclude.
        most: largest number of atoms in the primitive cell.
        units: smallest and largest number of formula units in it.
    """
    found = [one.template for one in prototype_templates(composition)]
    kept = [
        template
        for template in found
        if template.composition.reduced == composition.reduced
        and template.structure not in structures
        and template.crystal.n_atoms <= most
        and units[0] <= template.composition.n_formula_units <= units[1]
    ]
    return sorted(kept, key=lambda template: template.crystal.n_atoms)


def known_of(composition: Composition, templates: ExactTemplates) -> list[KnownEntry]:
    """Return the known crystals of a composition, lowest first.

    The height above the hull is that of the source, if it gives one. If it gives only a formation energy, the position
    of the hull is taken from the other crystals of the composition; the height may then be negative, since their source
    did not know this crystal.
    """
    found = known_entries(templates, composition)
    energies = np.array([t.formation_energy for t in found])
    hull = np.array([t.e_above_hull for t in found])
    floors = (energies - hull)[np.isfinite(energies - hull)]
    floor = float(np.median(floors)) if len(floors) else float(np.nanmin(np.append(energies, np.inf)))
    heights = np.where(np.isfinite(hull), hull, energies - floor)
    heights = np.where(np.isfinite(heights), heights, UNKNOWN_HEIGHT)
    heights = _told_apart(heights, energies)
    order = np.argsort(heights, kind="stable").tolist()
    return [KnownEntry(found[at], float(heights[at])) for at in order]


def _told_apart(heights: NDArray[np.float64], energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return heights in which equal ones, from sources of different dates, are separated by formation energy.

    Args:
        energies: (n,) formation energies, eV/atom, NaN if unknown.
    """
    apart = heights.copy()
    for height in np.unique(heights):
        of = (heights == height) & np.isfinite(energies)
        apart[of] += energies[of] - energies[of].min(initial=np.inf)
    return apart


def _total(shares: Mapping[int, float], chosen: Sequence[ChosenTemplate]) -> float:
    """Return the total share of the structures of several templates, each structure counted once."""
    return float(sum(shares[structure] for structure in {one.template.structure for one in chosen}))


def decoded_template(
    template: Template, crystal: Crystal, bundle: WeightBundle, probability: float, distance: float
) -> Decoded:
    """Return a crystal on a template's sites as a decoded one."""
    latents = bundle.encode([crystal])
    energy = bundle.energies([crystal], latents=latents)[0]
    proposal = Proposal(
        source=template.id,
        formula=template.composition.reduced_formula,
        distance=distance,
        n_formula_units=crystal.composition.n_formula_units,
        latent=latents[0],
        space_group=template.sites.space_group,
        prototype_probability=probability,
        orbits=template.sites.orbits,
    )
    return Decoded.as_is(Symmetrised(crystal, template.sites.space_group, EXACT_SYMPREC), energy, proposal)


def given_crystal(structure: Crystal, proposal: Proposal, bundle: WeightBundle) -> Decoded:
    """Return the user's structure as a decoded crystal, to be relaxed in addition to the results of the descent."""
    found = symmetrise(structure, ladder=NEAR_LADDER)
    return Decoded.as_is(found, bundle.energies([found.crystal])[0], proposal)


def mark_known(candidates: Sequence[Candidate], entries: Sequence[KnownEntry]) -> list[Candidate]:
    """Return the candidates, each marked with the known crystal that it is, the lowest in its source if several match.

    A candidate is a known crystal if it matches it strictly and has its space group.
    """
    return [replace(candidate, known=_known(candidate, entries)) for candidate in candidates]


def _known(candidate: Candidate, entries: Sequence[KnownEntry]) -> Known | None:
    for template, height in entries:
        same = same_space_group(candidate.space_group, template.sites.space_group)
        if same and matches(candidate.crystal, template.crystal, STRICT):
            return Known(template.id, template.e_above_hull if isfinite(template.e_above_hull) else None, height)
    return None


def known_first(candidates: Sequence[Candidate], weights: KnownWeights) -> list[Candidate]:
    """Return candidates in the order of their scores, the known ones in the order of their source.

    The first known one takes the best score among the known ones less a bonus; the others lie above it by the energy
    differences of their source.

    Scores of relaxed and unrelaxed candidates cannot be compared. Unrelaxed ones come last, except a known crystal
    beside relaxed known ones, whose place follows from its source.

    Args:
        weights: determine how far an unknown crystal must lie below the known ones to precede them.
    """
    heights = {id(c): c.known.height for c in candidates if c.known is not None and c.has_energy}
    relaxed = any(c.is_relaxed for c in candidates)
    compared = [c for c in candidates if id(c) in heights and (c.is_relaxed or not relaxed)]
    if not compared:
        return list(candidates)
    lowest = min(heights[id(c)] for c in compared)
    best = min(c.score for c in compared) - weights.bonus(lowest)
    later = [relaxed and not c.is_relaxed and id(c) not in heights for c in candidates]
    scored = [replace(c, score=best + heights[id(c)] - lowest) if id(c) in heights else c for c in candidates]
    order = sorted(range(len(scored)), key=lambda at: (later[at], scored[at].score))
    return [scored[at] for at in order]


def in_known_order(
    candidates: Sequence[Candidate], composition: Composition, bundle: WeightBundle, spec: PredictionSpec
) -> list[Candidate]:
    """Return the candidates with known ones marked and in the order of their source; unchanged for a benchmark.

    Under pressure the order is kept, since that of the source was determined at zero pressure.
    """
    if bundle.templates is None or spec.search.exclude_same:
        return list(candidates)
    entries = known_of(composition, bundle.templates)
    marked = mark_known(candidates, entries)
    return known_first(marked, bundle.ranking.known) if entries and not spec.pressure else marked
