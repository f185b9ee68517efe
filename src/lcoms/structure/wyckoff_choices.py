"""Assignments of a cell's contents to the Wyckoff positions of a space group, counted but never listed.

An assignment gives each position a number of orbits of each element; a position without free coordinates holds at most
one orbit. Assignments are numbered from 0; a number is converted to its assignment, and back, by counting those before.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import product

import numpy as np

from lcoms.structure.crystal import Composition
from lcoms.structure.wyckoff import Orbits, primitive_basis, wyckoff_positions

Left = tuple[int, ...]
"""Atoms of each element that are not assigned yet."""


class WyckoffChoices:
    """All assignments in one space group; create it by `wyckoff_choices`, which caches it.

    Args:
        number: of the space group.
        composition: contents of the cell.
        conventional: whether the cell is the conventional one; otherwise the primitive one.

    Attributes:
        n: number of assignments.
    """

    def __init__(self, number: int, composition: Composition, *, conventional: bool) -> None:
        scale = 1.0 if conventional else abs(float(np.linalg.det(primitive_basis(number))))
        self._elements, self._counts = composition.atomic_numbers, composition.counts
        sizes = [(p.letter, round(p.multiplicity * scale), p.n_free) for p in wyckoff_positions(number).values()]
        self._positions = [position for position in sizes if position[1] <= max(self._counts)]
        self._known: dict[tuple[int, Left], int] = {}
        self.n = self._count(0, self._counts)

    def orbits(self, index: int) -> Orbits:
        """Return letters and elements of an assignment, sorted."""
        found: list[tuple[str, int]] = []
        left = self._counts
        for at, (letter, size, _) in enumerate(self._positions):
            for numbers in self._options(at, left):
                rest = _less(left, numbers, size)
                n = self._count(at + 1, rest)
                if index < n:
                    found += [(letter, z) for z, k in zip(self._elements, numbers, strict=True) for _ in range(k)]
                    left = rest
                    break
                index -= n
        return tuple(sorted(found))

    def index(self, orbits: Orbits) -> int | None:
        """Return the number of an assignment; None if it is not one of this cell."""
        wanted, before, left = Counter(orbits), 0, self._counts
        for at, (letter, size, _) in enumerate(self._positions):
            aim = tuple(wanted.pop((letter, z), 0) for z in self._elements)
            options = list(self._options(at, left))
            if aim not in options:
                return None
            for numbers in options[: options.index(aim)]:
                before += self._count(at + 1, _less(left, numbers, size))
            left = _less(left, aim, size)
        return None if any(left) or wanted else before

    def _count(self, at: int, left: Left) -> int:
        """Return the number of ways to assign the remaining atoms to the positions from `at` on."""
        if not any(left):
            return 1
        if at == len(self._positions):
            return 0
        key = (at, left)
        if key not in self._known:
            size = self._positions[at][1]
            self._known[key] = sum(self._count(at + 1, _less(left, n, size)) for n in self._options(at, left))
        return self._known[key]

    def _options(self, at: int, left: Left) -> list[Left]:
        """Return the numbers of orbits of each element that one position can hold."""
        _, size, n_free = self._positions[at]
        if n_free:
            return list(product(*(range(n // size + 1) for n in left)))
        none = (0,) * len(left)
        return [none, *((*none[:i], 1, *none[i + 1 :]) for i, n in enumerate(left) if n >= size)]


@lru_cache(maxsize=256)  # all groups of one composition, about 10 MB
def wyckoff_choices(number: int, composition: Composition, conventional: bool) -> WyckoffChoices:
    """Return the assignments of a cell's contents in a space group."""
    return WyckoffChoices(number, composition, conventional=conventional)


def _less(left: Left, numbers: Left, size: int) -> Left:
    return tuple(n - k * size for n, k in zip(left, numbers, strict=True))
