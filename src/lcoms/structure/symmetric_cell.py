"""Crystals built from a space group, its Wyckoff positions and a conventional cell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.wyckoff import Orbits, symmetric_cell, wyckoff_positions

Array = NDArray[np.float64]


def constrained(number: int, lengths: Float[Array, " 3"], angles: Float[Array, " 3"]) -> tuple[Array, Array]:
    """Return lengths (angstrom) and angles (degrees) of a conventional cell, made to obey the crystal system.

    Monoclinic cells have b as their unique axis, rhombohedral ones hexagonal axes.
    """
    (a, b, c), (alpha, beta, gamma) = lengths, angles
    if number <= 2:
        new = (a, b, c), (alpha, beta, gamma)
    elif number <= 15:
        new = (a, b, c), (90.0, beta, 90.0)
    elif number <= 74:
        new = (a, b, c), (90.0, 90.0, 90.0)
    elif number <= 142:
        new = (a, a, c), (90.0, 90.0, 90.0)
    elif number <= 194:
        new = (a, a, c), (90.0, 90.0, 120.0)
    else:
        new = (a, a, a), (90.0, 90.0, 90.0)
    return np.array(new[0]), np.array(new[1])


def with_orbits(number: int, orbits: Orbits, conventional: Array, triples: Array) -> Crystal:
    """Return the primitive cell, given the three coordinates of each orbit; further triples are not used."""
    cell, positions = symmetric_cell(number, orbits), wyckoff_positions(number)
    free = [positions[letter].free.T @ triple for (letter, _), triple in zip(orbits, triples, strict=False)]
    frac = cell.shifts + cell.directions @ np.concatenate(free)
    return Crystal(cell.primitive @ conventional, frac, cell.atomic_numbers)
