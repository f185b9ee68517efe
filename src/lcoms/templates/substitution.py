"""Templates of other stoichiometries: the elements of a library entry are replaced orbit by orbit.

Two orbits with the same element may hold different ones, and vice versa: chalcopyrite is zinc blende with two cations.
An entry whose orbits can be distributed over the elements of a composition is therefore a template for it, even if the
entry's formula has other counts. Of all distributions, those that replace elements by the most similar ones are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.crystal import Composition
from lcoms.structure.wyckoff import Orbits, orbit_sizes
from lcoms.templates.heights import INSTABILITY_STEP
from lcoms.templates.library import LatentLibrary
from lcoms.templates.similarity import MOST_ELEMENTS
from lcoms.templates.wyckoff_statistics import OrbitStatistics

MOST_ENTRIES = 300  # entries whose orbits are examined: those with the smallest lower bound of the distance
MOST_SHARINGS = 2  # distributions per entry
MOST_LOOKS = 2_000  # steps in the search for distributions of one entry's orbits


@dataclass(frozen=True)
class Substituted:
    """A library entry with other elements on its orbits.

    Attributes:
        index: row of the library.
        n_formula_units: formula units of the composition in the entry's cell.
        orbits, sites: orbits with their elements, and the codes of their sites.
        distance: chemical distance, on the scale of crystals of one stoichiometry.
        prototype_probability: fraction of the total weight of all such templates.
    """

    index: int
    n_formula_units: int
    orbits: Orbits
    sites: tuple[int, ...]
    distance: float
    prototype_probability: float = 0.0


def substituted(
    composition: Composition,
    library: LatentLibrary,
    statistics: OrbitStatistics,
    n: int,
    *,
    units: tuple[int, int],
    max_alike: int,
) -> list[Substituted]:
    """Return entries of other stoichiometries for a composition, the most probable structures first.

    Args:
        n: largest number of entries.
        units: smallest and largest number of formula units in the cell.
        max_alike: largest number of entries of one structure, which is a space group with orbits.
    """
    target = composition.reduced
    found = [
        one for index in _nearest(target, library, units) for one in _sharings(target, library, statistics, int(index))
    ]
    if not found:
        return []
    similarity = library.similarity
    cost = np.array([one.distance + similarity.hull * _hull(library, one.index) for one in found])
    weights = np.exp(-similarity.sharpness * (cost - cost.min()))
    keys = [(int(library.space_groups[one.index]), one.orbits) for one in found]
    shared: dict[tuple[int, Orbits], float] = {}
    counted: set[tuple[int, tuple[int, Orbits]]] = set()
    for key, one, weight in zip(keys, found, weights.tolist(), strict=True):
        if (one.index, key) not in counted:
            counted.add((one.index, key))
            shared[key] = shared.get(key, 0.0) + weight
    taken: dict[tuple[int, Orbits], int] = {}
    ranked = []
    for at in np.argsort(cost, kind="stable"):
        place = taken[keys[at]] = taken.get(keys[at], 0) + 1
        if place <= max_alike:
            ranked.append((shared[keys[at]] / place, int(at)))
    ranked.sort(key=lambda pair: -pair[0])
    total = sum(shared.values())
    return [_with_probability(found[at], shared[keys[at]] / total) for _, at in ranked[:n]]


def _nearest(target: Composition, library: LatentLibrary, units: tuple[int, int]) -> NDArray[np.int64]:
    """Return rows of entries of fitting size and other stoichiometry, nearest first by a lower bound of the distance.

    The bound pairs each atom with the most similar element of the target.
    """
    sizes = library.n_atoms
    n, rest = np.divmod(sizes, target.n_atoms)
    fits = (rest == 0) & (n >= units[0]) & (n <= units[1]) & (library.wyckoff_sequences >= 0)
    apart = _apart(library, target).min(axis=1)
    least = np.add.reduceat(library.counts * apart[library.atomic_numbers], library.offsets[:-1]) / sizes
    rows = np.flatnonzero(fits)
    rows = rows[np.argsort(least[rows], kind="stable")]
    other = [
        row for row in rows[: 2 * MOST_ENTRIES] if library.composition(int(row)).stoichiometry != target.stoichiometry
    ]
    return np.array(other[:MOST_ENTRIES], dtype=np.int64)


def _sharings(
    target: Composition, library: LatentLibrary, statistics: OrbitStatistics, index: int
) -> list[Substituted]:
    """Return the distributions of an entry's orbits over the elements that have the smallest distances."""
    number, cell = int(library.space_groups[index]), library.composition(index)
    coded = statistics.coded_orbits(number, cell, int(library.wyckoff_sequences[index]), library.sites(index))
    if coded is None:
        return []
    orbits, sites = coded
    return [
        Substituted(index, cell.n_atoms // target.n_atoms, *_in_order(orbits, sites, elements), distance)
        for distance, elements in shared_out(target, library, number, orbits)
    ]


def shared_out(
    target: Composition, library: LatentLibrary, number: int, orbits: Orbits
) -> list[tuple[float, tuple[int, ...]]]:
    """Return the nearest distributions of a primitive cell's orbits: chemical distances, and elements orbit by orbit.

    Args:
        target: reduced composition; its number of atoms divides that of the cell.
        number: space group number.
    """
    sizes = orbit_sizes(number, orbits)
    units = sum(sizes) // target.n_atoms
    apart = _apart(library, target)[[z for _, z in orbits]]
    room = [units * count for count in target.counts]
    scale = float(library.similarity.scales[min(len(target.counts), MOST_ELEMENTS)])
    costs = scale * apart * np.array(sizes)[:, None] / np.array(room)
    return [
        (distance, tuple(target.atomic_numbers[to] for to in filling))
        for distance, filling in _cheapest(sizes, room, costs)
    ]


def _cheapest(
    sizes: Sequence[int], room: Sequence[int], costs: NDArray[np.float64]
) -> list[tuple[float, tuple[int, ...]]]:
    """Return the cheapest assignments of elements to orbits in which each element has its number of atoms.

    Args:
        costs: (orbits, elements) cost of each assignment.
    """
    order = np.argsort(-np.array(sizes), kind="stable").tolist()
    to_come = np.append(np.cumsum(costs.min(axis=1)[order][::-1])[::-1], 0.0).tolist()
    choices = [[(float(costs[at, to]), int(to)) for to in np.argsort(costs[at], kind="stable")] for at in order]
    best: list[tuple[float, tuple[int, ...]]] = []
    left, looks = list(room), 0

    def fill(depth: int, cost: float, so_far: tuple[int, ...]) -> None:
        nonlocal looks
        looks += 1
        if looks > MOST_LOOKS or (len(best) == MOST_SHARINGS and cost + to_come[depth] >= best[-1][0]):
            return
        if depth == len(order):
            best.append((cost, so_far))
            best.sort()
            del best[MOST_SHARINGS:]
            return
        size = sizes[order[depth]]
        for more, to in choices[depth]:
            if size <= left[to]:
                left[to] -= size
                fill(depth + 1, cost + more, (*so_far, to))
                left[to] += size

    fill(0, 0.0, ())
    back = np.argsort(order).tolist()
    return [(cost, tuple(filling[at] for at in back)) for cost, filling in best]


def _in_order(orbits: Orbits, sites: Sequence[int], elements: Sequence[int]) -> tuple[Orbits, tuple[int, ...]]:
    """Return orbits with new elements, and their sites, sorted by letter and element."""
    rows = sorted((letter, z, site) for (letter, _), z, site in zip(orbits, elements, sites, strict=True))
    return tuple((letter, z) for letter, z, _ in rows), tuple(site for _, _, site in rows)


@lru_cache(maxsize=4)
def _apart(library: LatentLibrary, target: Composition) -> NDArray[np.float64]:
    """Return the distances (104, k) of all elements to those of a composition, the same for all entries."""
    vectors = library.element_vectors.astype(np.float64)
    apart = np.asarray(np.linalg.norm(vectors[:, None] - vectors[list(target.atomic_numbers)], axis=-1))
    apart.flags.writeable = False
    return apart


def _hull(library: LatentLibrary, index: int) -> float:
    return INSTABILITY_STEP * float(library.instability[index])


def _with_probability(one: Substituted, probability: float) -> Substituted:
    return Substituted(one.index, one.n_formula_units, one.orbits, one.sites, one.distance, probability)
