"""The primitive Niggli cell of a crystal, as pymatgen finds it for StructureMatcher, on arrays.

The rules and their order are those of Structure.get_reduced_structure and Structure.get_primitive_structure (tolerance
0.25 angstrom); a cell without a shift to a smaller one is recognised from its shifts alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.elements import SYMBOLS

Array = NDArray[np.float64]
Cell = tuple[Array, Array, NDArray[np.int64]]

_REDUCED_WITHIN = 1e-9

TOLERANCE = 0.25
"""Angstrom; pymatgen's default for atoms that count as copies of each other."""


@dataclass(frozen=True, eq=False)
class ReducedCell:
    """A primitive Niggli cell.

    Attributes:
        lattice: (3, 3) rows in angstrom.
        frac_coords: (n, 3).
        atomic_numbers: (n,).
    """

    lattice: Array
    frac_coords: Array
    atomic_numbers: NDArray[np.int64]

    @cached_property
    def volume(self) -> float:
        """Cell volume, cubic angstrom."""
        return exact_volume(self.lattice)

    @cached_property
    def counts(self) -> tuple[tuple[int, int], ...]:
        """Atomic numbers and number of atoms of each."""
        numbers, counts = np.unique(self.atomic_numbers, return_counts=True)
        return tuple(zip(numbers.tolist(), counts.tolist(), strict=True))

    @cached_property
    def shortest_vectors(self) -> Array | None:
        """Ascending lengths (3,) of the shortest independent vectors; None unless the basis surely consists of them.

        A basis with |b| <= |b + x a| and |c| <= |c + x a + y b| for all x, y in -1, 0, 1, where |a| <= |b| <= |c|
        (Minkowski), consists of such vectors.
        """
        lengths = np.linalg.norm(self.lattice, axis=1)
        a, b, c = self.lattice[np.argsort(lengths, kind="stable")]
        lengths = np.sort(lengths)
        others_b = [b + x * a for x in (-1, 1)]
        others_c = [c + x * a + y * b for x in (-1, 0, 1) for y in (-1, 0, 1)]
        slack = 1 - _REDUCED_WITHIN
        shorter_b = np.linalg.norm(others_b, axis=1).min() < slack * lengths[1]
        shorter_c = np.linalg.norm(others_c, axis=1).min() < slack * lengths[2]
        return None if shorter_b or shorter_c else lengths


def niggli_cell(lattice: Array, frac_coords: Array, numbers: NDArray[np.int64]) -> Cell:
    """Return lattice (3, 3), fractional coordinates (n, 3) and atomic numbers (n,) in the Niggli basis.

    Raises:
        ValueError: pymatgen finds no Niggli basis.
    """
    from pymatgen.core import Lattice

    old = Lattice(lattice)
    new = old.get_niggli_reduced_lattice()
    if new == old:
        return lattice, frac_coords, numbers
    # Atom by atom, since a product of matrices may differ in the last bit.
    frac = [new.get_fractional_coords(old.get_cartesian_coords(atom)) for atom in frac_coords]
    return new.matrix, np.mod(frac, 1), numbers


def exact_volume(lattice: Array) -> float:
    """Return the volume in cubic angstrom, to the last bit that of pymatgen's Lattice."""
    (a1, a2, a3), (b1, b2, b3) = lattice[:2].tolist()
    normal = np.array([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1])
    return float(abs(np.dot(normal, lattice[2])))


def primitive_cell(lattice: Array, frac_coords: Array, numbers: NDArray[np.int64]) -> Cell:
    """Return the smallest cell found, in its Niggli basis, or the cell unchanged if none is smaller."""
    order = sorted(range(len(numbers)), key=lambda atom: SYMBOLS[numbers[atom]])
    kinds = list(dict.fromkeys(numbers[order].tolist()))
    groups = [frac_coords[[atom for atom in order if numbers[atom] == kind]] for kind in kinds]
    units = gcd(*(len(group) for group in groups))
    if units == 1:
        return lattice, frac_coords, numbers
    tolerance = TOLERANCE / np.sqrt((lattice**2).sum(axis=1))
    shifts = _shifts(groups, tolerance)
    # If zero is the only shift there is no smaller cell: its vectors would be at least 1 / units from zero.
    if len(shifts) == 1 and tolerance.max() < 0.5 / units:
        return lattice, frac_coords, numbers
    distinct = [(np.abs(_wrapped(group[None] - group[:, None])) > 2 * tolerance).any(axis=-1) for group in groups]
    for same in distinct:
        np.fill_diagonal(same, val=True)
    for size, matrices, inverses in _supercell_matrices(units):
        close = (np.abs(_wrapped(inverses[:, :, None, :] - shifts)) < tolerance).all(axis=-1)
        for candidate in np.flatnonzero(close.any(axis=-1).all(axis=-1)):
            inverse, matrix = inverses[candidate], matrices[candidate]
            merged = _merge(groups, distinct, matrix, TOLERANCE / np.sqrt(((inverse @ lattice) ** 2).sum(axis=1)), size)
            if merged is None:
                continue
            names = np.repeat(np.array(kinds, dtype=np.int64), [len(group) for group in merged])
            smaller = primitive_cell(inverse @ lattice, np.concatenate(merged), names)
            return niggli_cell(*smaller)
    return lattice, frac_coords, numbers


def _shifts(groups: list[Array], tolerance: Array) -> Array:
    """Return (m, 3) shifts between atoms of the rarest species that put every atom near one of its kind; zero first."""
    rarest = min(groups, key=len)
    shifts = np.asarray(rarest - rarest[0])
    for group in sorted(groups, key=len):
        for origin in group:
            near = np.abs(_wrapped(shifts[:, None] - (group - origin))) < 2 * tolerance
            shifts = shifts[np.any(np.all(near, axis=2), axis=1)]
            if len(shifts) == 1:
                return shifts
    return shifts


@lru_cache(maxsize=32)
def _supercell_matrices(units: int) -> tuple[tuple[int, Array, Array], ...]:
    """Return sizes, (m, 3, 3) Hermite normal forms and inverses of all cells smaller by a divisor of `units`."""

    def factors(number: int) -> list[int]:
        return [factor for factor in range(1, number + 1) if number % factor == 0]

    found = []
    for size in factors(units)[1:]:
        for a in factors(size):
            for e in factors(size // a):
                g = size // a // e
                rows = [[[a, b, c], [0, e, f], [0, 0, g]] for b, c, f in product(range(a), range(a), range(e))]
                matrices = np.array(rows, dtype=float)
                found.append((size, matrices, np.linalg.inv(matrices)))
    return tuple(found)


def _merge(
    groups: list[Array], distinct: list[NDArray[np.bool_]], matrix: Array, tolerance: Array, size: int
) -> list[Array] | None:
    """Return the atoms of each species in the smaller cell, averaged over copies; None if they are not copies."""
    merged = []
    for group, apart in zip(groups, distinct, strict=True):
        frac = group @ matrix
        copies = (np.abs(_wrapped(frac[None] - frac[:, None])) < tolerance).all(axis=-1) & apart
        if not (copies.sum(axis=0) == size).all():
            return None
        if not all(copies[row][:, row].all() for row in copies):
            return None
        frac = frac % 1
        firsts, done = [], np.zeros(len(frac), dtype=bool)
        for atom, row in enumerate(copies):
            if done[atom]:
                continue
            same = np.flatnonzero(row)
            done[same] = True
            mean = frac[same[0]].copy()
            for number, other in enumerate(same[1:], 2):
                offset = frac[other] - mean
                mean += (offset - np.round(offset)) / number
            firsts.append(mean)
        merged.append(np.array(firsts))
    return merged


def _wrapped(differences: Array) -> Array:
    """Return fractional differences to the nearest image."""
    return np.asarray(differences - np.round(differences))
