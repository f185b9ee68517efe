"""Library entries of one stoichiometry: their order, and their prototype probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.crystal import Composition
from lcoms.structure.elements import N_ELEMENTS, mendeleev_number
from lcoms.templates.similarity import ElementSimilarity

UNSEEN = 0.1  # fraction of the weight of unseen structures that is added to each structure
_MENDELEEV = np.array([np.nan] + [mendeleev_number(z) for z in range(1, N_ELEMENTS + 1)])


@dataclass(frozen=True, eq=False)
class StoichiometryClass:
    """Entries of one stoichiometry; elements are sorted by count, then along the chemical scale."""

    indices: NDArray[np.int64]
    elements: NDArray[np.int64]
    n_formula_units: NDArray[np.int64]

    def holds(self, composition: Composition) -> NDArray[np.bool_]:
        """Return which entries have a composition of this stoichiometry, or an element written as a binary."""
        return np.asarray((self.elements == self.in_order(composition)).all(axis=1))

    def in_order(self, composition: Composition) -> NDArray[np.int64]:
        """Return the elements of such a composition in the order of this class."""
        return np.resize(elements_in_order(composition), self.elements.shape[1])

    def doubled_with(self, pairs: StoichiometryClass) -> StoichiometryClass:
        """Return entries of elements written as binaries of ratio 1:1, followed by entries of such binaries."""
        return StoichiometryClass(
            np.concatenate([self.indices, pairs.indices]),
            np.concatenate([np.repeat(self.elements, 2, axis=1), pairs.elements]),
            np.concatenate([self.n_formula_units, 2 * pairs.n_formula_units]),
        )


def stoichiometry_classes(
    offsets: NDArray[np.integer], atomic_numbers: NDArray[np.integer], counts: NDArray[np.integer]
) -> dict[tuple[int, ...], StoichiometryClass]:
    """Group entries by stoichiometry.

    Args:
        offsets: (n + 1,) start of each entry's elements and of their counts in its cell.
    """
    classes: dict[tuple[int, ...], StoichiometryClass] = {}
    n_elements = np.diff(offsets)
    for k in np.unique(n_elements):
        rows = np.flatnonzero(n_elements == k)
        flat = offsets[rows, None] + np.arange(k)
        in_cell, elements = counts[flat].astype(np.int64), atomic_numbers[flat].astype(np.int64)
        units = np.gcd.reduce(in_cell, axis=1)
        reduced = in_cell // units[:, None]
        order = scale_order(reduced, elements)
        reduced, elements = np.take_along_axis(reduced, order, 1), np.take_along_axis(elements, order, 1)
        kinds, kind = np.unique(reduced, axis=0, return_inverse=True)
        for i, stoichiometry in enumerate(kinds.tolist()):
            some = np.flatnonzero(kind.reshape(-1) == i)
            classes[tuple(stoichiometry)] = StoichiometryClass(rows[some], elements[some], units[some])
    return classes


def empty_class(n_elements: int) -> StoichiometryClass:
    """Return a class without entries for a number of elements."""
    nothing = np.zeros(0, dtype=np.int64)
    return StoichiometryClass(nothing, np.zeros((0, n_elements), dtype=np.int64), nothing)


def scale_order(counts: NDArray[np.integer], elements: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the order of the elements (last axis) by count, then by Mendeleev number."""
    return np.argsort(counts * 1000 + _MENDELEEV[elements], axis=-1, kind="stable")


def elements_in_order(composition: Composition) -> list[int]:
    """Return the elements of a composition by count, then along the chemical scale: their places in a structure."""
    numbers, counts = np.array(composition.atomic_numbers), np.array(composition.counts)
    return [int(z) for z in numbers[scale_order(counts, numbers)]]


def prototype_probabilities(
    cost: NDArray[np.float64],
    structures: NDArray[np.int64],
    allowed: NDArray[np.int64],
    similarity: ElementSimilarity,
) -> tuple[NDArray[np.float64], float]:
    """Return the prototype probability of each entry's structure (0 if not allowed), and that of unseen structures."""
    probabilities, unseen = np.zeros(len(cost)), 1.0
    if len(allowed):
        nearest = min(cost[allowed].min(), similarity.reach)  # keeps the weights from all vanishing
        weights = np.exp(-similarity.sharpness * (cost[allowed] - nearest))
        nobody = np.exp(-similarity.sharpness * (similarity.reach - nearest))
        _, label = np.unique(structures[allowed], return_inverse=True)
        shared = np.bincount(label, weights)[label] + UNSEEN * nobody
        probabilities[allowed] = shared / (weights.sum() + nobody)
        unseen = float(nobody / (weights.sum() + nobody))
    return probabilities, unseen


def place_of_each(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of rows with an equal key before each row."""
    _, label = np.unique(keys, axis=0, return_inverse=True)
    label = label.reshape(-1)
    by_label = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[by_label], prepend=-1))
    run = np.diff(np.append(starts, len(label)))
    place = np.empty(len(label), dtype=np.int64)
    place[by_label] = np.arange(len(label)) - np.repeat(starts, run)
    return place
