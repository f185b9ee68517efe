"""Templates for a composition: known crystals of probable structures, with its elements on their sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FormulaError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import crystal_of
from lcoms.templates.exact import ExactTemplates, Template
from lcoms.templates.exact_codes import decoded_energies
from lcoms.templates.heights import least_heights
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.stoichiometry import StoichiometryClass, elements_in_order, place_of_each, prototype_probabilities

MOST_UNSTABLE = 0.1  # eV/atom above the hull; crystals above it are not used as templates


@dataclass(frozen=True)
class TemplateChoice:
    """Which templates are used for a composition.

    Attributes:
        n: largest number of templates.
        units: smallest and largest number of formula units in the primitive cell.
        exclude_same: leave out entries of the same composition, as a benchmark must.
        max_per_structure: largest number of templates of one structure.
        max_per_composition: largest number of templates of one composition.
        max_hull: eV/atom; entries higher above the hull (`least_heights`) are left out.
    """

    n: int = 20
    units: tuple[int, int] = (1, 200)
    exclude_same: bool = False
    max_per_structure: int = 3
    max_per_composition: int = 3
    max_hull: float = MOST_UNSTABLE


@dataclass(frozen=True, eq=False)
class ChosenTemplate:
    """A template for a composition.

    Attributes:
        row: row of the library.
        n_formula_units: formula units of the composition in the primitive cell.
        distance: chemical distance between the template's composition and the requested one.
        prototype_probability: prototype probability of its structure.
    """

    row: int
    template: Template
    n_formula_units: int
    distance: float
    prototype_probability: float


def choose_templates(
    composition: Composition, templates: ExactTemplates, similarity: ElementSimilarity, choice: TemplateChoice
) -> list[ChosenTemplate]:
    """Return entries of the same stoichiometry, the most probable structures first, as in `LatentLibrary.nearest`.

    Probabilities are divided by 2 for the second entry of a structure, by 3 for the third. For an element, binary
    entries of ratio 1:1 are used as well.
    """
    target = composition.reduced
    members, structures, heights = template_members(target, templates)
    if not len(members.indices):
        return []
    elements = members.in_order(target)
    distances = similarity.distances(members.elements, elements, len(target.counts))
    cost = distances + similarity.hull * heights
    units = members.n_formula_units
    allowed = (units >= choice.units[0]) & (units <= choice.units[1]) & (heights <= choice.max_hull)
    if choice.exclude_same:
        allowed &= ~members.holds(target)
    ranking = np.lexsort((heights, cost))
    ranking = ranking[allowed[ranking]]
    probabilities, _ = prototype_probabilities(cost, structures, ranking, similarity)
    ranking = ranking[place_of_each(members.elements[ranking]) < choice.max_per_composition]
    place = place_of_each(structures[ranking][:, None])
    ranking, place = ranking[place < choice.max_per_structure], place[place < choice.max_per_structure]
    ranking = ranking[np.argsort(-probabilities[ranking] / (1 + place), kind="stable")][: choice.n]
    return [
        ChosenTemplate(
            int(members.indices[at]),
            templates[int(members.indices[at])],
            int(units[at]),
            float(distances[at]),
            float(probabilities[at]),
        )
        for at in ranking
    ]


def prototype_shares(chosen: Sequence[ChosenTemplate]) -> dict[int, float]:
    """Return the normalised probability of each structure, without the part that all get from unseen structures."""
    probabilities = {one.template.structure: one.prototype_probability for one in chosen}
    least = min(probabilities.values(), default=0.0)
    total = sum(probability - least for probability in probabilities.values())
    if not total > 0:
        return {structure: 1 / len(probabilities) for structure in probabilities}
    return {structure: (probability - least) / total for structure, probability in probabilities.items()}


def substitute(composition: Composition, template: Template, element_volumes: NDArray[np.float64]) -> Crystal:
    """Put the elements of a composition on the template's sites, exactly in its space group, and scale the cell.

    Elements of equal counts are paired in the order of their Mendeleev numbers; a single element takes the sites of
    both elements of a binary template of ratio 1:1. The cell keeps its shape.

    Args:
        element_volumes: see `ExactTemplates.element_volumes`; the volume scales with their sum over the cell.

    Raises:
        FormulaError: the stoichiometries differ.
    """
    old = template.composition
    target = composition.reduced
    alone = len(target.counts) == 1 and old.stoichiometry == (1, 1)
    if target.stoichiometry != old.stoichiometry and not alone:
        raise FormulaError(
            f"{template.id} is a crystal of {old.reduced_formula}; it is not a template for {target.reduced_formula}."
        )
    places = elements_in_order(old)
    new = np.resize(elements_in_order(target), len(places)).tolist()
    to = dict(zip(places, new, strict=True))
    sites = template.sites
    orbits = tuple((letter, to[z]) for letter, z in sites.orbits)
    counts = np.array([old.counts[old.atomic_numbers.index(z)] for z in places])
    ratio = (counts @ element_volumes[new]) / (counts @ element_volumes[places])
    return crystal_of(sites._replace(orbits=orbits, lengths=sites.lengths * ratio ** (1 / 3)))


def known_entries(templates: ExactTemplates, composition: Composition) -> list[Template]:
    """Return all known crystals of a composition by energy (`least_heights`), those of unknown energy last."""
    found = [templates[row] for row in templates.of_composition(composition)]
    hull, energies = (np.array([getattr(t, name) for t in found]) for name in ("e_above_hull", "formation_energy"))
    heights = least_heights(hull, energies, np.zeros(len(found), dtype=np.int64)).tolist()
    unknown = np.isnan(hull).astype(np.int64) + (np.isnan(hull) & np.isnan(energies))
    order = sorted(range(len(found)), key=lambda at: (unknown[at] == 2, heights[at], unknown[at], found[at].id))
    return [found[at] for at in order]


def template_members(
    target: Composition, templates: ExactTemplates, *, alone: bool = False
) -> tuple[StoichiometryClass, NDArray[np.int64], NDArray[np.float64]]:
    """Return entries for a composition, their structures, and their energies above the hull (eV/atom; `least_heights`).

    Args:
        alone: for an element, leave out binary entries of ratio 1:1.
    """
    rows = templates.rows(target.stoichiometry)
    units = templates.n_atoms(rows) // target.n_atoms
    elements = templates.elements(rows) if rows else np.zeros((0, len(target.counts)), dtype=np.int64)
    members = StoichiometryClass(np.arange(rows.start, rows.stop), elements, units)
    if len(target.counts) == 1 and not alone:
        pairs = templates.rows((1, 1))
        elements = templates.elements(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
        both = StoichiometryClass(np.arange(pairs.start, pairs.stop), elements, templates.n_atoms(pairs) // 2)
        members = members.doubled_with(both)
    hull, energies = (decoded_energies(templates.arrays[name][members.indices]) for name in ("hull", "energies"))
    _, compositions = np.unique(members.elements, axis=0, return_inverse=True)
    heights = least_heights(hull, energies, compositions.reshape(-1))
    return members, templates.arrays["structures"][members.indices].astype(np.int64), heights
