"""Templates for a composition: known crystals, chosen by votes of their structures, with its elements on the sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FormulaError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import crystal_of
from lcoms.templates.exact import ENERGY_STEP, UNKNOWN, ExactTemplates, Template
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.stoichiometry import Family, elements_in_order, place_of_each, supports_of

MOST_UNSTABLE = 0.1  # eV/atom above the hull; crystals higher up are no templates for others


@dataclass(frozen=True)
class TemplateChoice:
    """Which templates are taken for a composition.

    Attributes:
        n: at most so many.
        units: least and most formula units in the primitive cell.
        exclude_same: leave entries of the very composition out, as a benchmark must.
        max_per_structure: at most so many of one structure.
        max_per_composition: at most so many of one composition.
        max_hull: eV/atom; entries higher above the hull are left out, those of unknown height are not.
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
        row: of the library.
        n_formula_units: of the composition, in the primitive cell.
        distance: chemical distance of its own composition.
        support: share of the votes that its structure has.
    """

    row: int
    template: Template
    n_formula_units: int
    distance: float
    support: float


def choose_templates(
    composition: Composition, templates: ExactTemplates, similarity: ElementSimilarity, choice: TemplateChoice
) -> list[ChosenTemplate]:
    """Entries of the same stoichiometry, those whose structure has most votes first, as `LatentLibrary.nearest` has it.

    The second of a structure counts half, the third a third. For an element, entries with two elements one to one
    serve, too.
    """
    target = composition.reduced
    family, structures, heights = _family(target, templates)
    if not len(family.indices):
        return []
    elements = family.in_order(target)
    distances = similarity.distances(family.elements, elements, len(target.counts))
    cost = distances + similarity.hull * np.nan_to_num(heights, nan=0.0)
    units = family.n_formula_units
    allowed = (units >= choice.units[0]) & (units <= choice.units[1]) & ~(heights > choice.max_hull)
    if choice.exclude_same:
        allowed &= ~family.holds(target)
    ranking = np.lexsort((heights, cost))
    ranking = ranking[allowed[ranking]]
    supports, _ = supports_of(cost, structures, ranking, similarity)
    ranking = ranking[place_of_each(family.elements[ranking]) < choice.max_per_composition]
    place = place_of_each(structures[ranking][:, None])
    ranking, place = ranking[place < choice.max_per_structure], place[place < choice.max_per_structure]
    ranking = ranking[np.argsort(-supports[ranking] / (1 + place), kind="stable")][: choice.n]
    return [
        ChosenTemplate(
            int(family.indices[at]),
            templates[int(family.indices[at])],
            int(units[at]),
            float(distances[at]),
            float(supports[at]),
        )
        for at in ranking
    ]


def substitute(composition: Composition, template: Template, element_volumes: NDArray[np.float64]) -> Crystal:
    """The template's sites with the elements of a composition, exactly in its space group, in a cell scaled to fit.

    Elements of equal counts are paired in the order of their Mendeleev numbers; an element alone takes the sites of
    both elements of a template with two one to one. The cell keeps its shape.

    Args:
        element_volumes: as `ExactTemplates.element_volumes`; the volume changes as their sums do.

    Raises:
        FormulaError: the stoichiometry is another one.
    """
    old = template.composition
    target = composition.reduced
    alone = len(target.counts) == 1 and old.stoichiometry == (1, 1)
    if target.stoichiometry != old.stoichiometry and not alone:
        raise FormulaError(
            f"{template.id} is a crystal of {old.reduced_formula}; it is no template for {target.reduced_formula}."
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
    """All known crystals of a composition, in the order of their energies: the heights above the hull in their source.

    Those without a height come last, by their formation energies.
    """
    found = [templates[row] for row in templates.of_composition(composition)]
    return sorted(found, key=lambda one: (_last(one.e_above_hull), _last(one.formation_energy), one.id))


def _last(energy: float) -> float:
    """An energy that sorts last where it is unknown."""
    return float("inf") if np.isnan(energy) else energy


def _family(target: Composition, templates: ExactTemplates) -> tuple[Family, NDArray[np.int64], NDArray[np.float64]]:
    """Entries for a composition, their structures, and their heights above the hull (eV/atom)."""
    rows = templates.rows(target.stoichiometry)
    units = templates.n_atoms(rows) // target.n_atoms
    elements = templates.elements(rows) if rows else np.zeros((0, len(target.counts)), dtype=np.int64)
    family = Family(np.arange(rows.start, rows.stop), elements, units)
    if len(target.counts) == 1:
        pairs = templates.rows((1, 1))
        elements = templates.elements(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
        both = Family(np.arange(pairs.start, pairs.stop), elements, templates.n_atoms(pairs) // 2)
        family = family.doubled_with(both)
    codes = templates.arrays["hull"][family.indices]
    heights = np.where(codes == UNKNOWN, np.nan, codes * ENERGY_STEP)
    return family, templates.arrays["structures"][family.indices].astype(np.int64), heights
