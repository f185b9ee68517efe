"""Description of a crystal by space group, orbits, conventional cell and free coordinates."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import wrap
from lcoms.structure.symmetry_search import moyo_dataset, normalizer_cosets
from lcoms.structure.wyckoff import Orbits, WyckoffPosition, primitive_basis, symmetric_cell, wyckoff_positions

Array = NDArray[np.float64]
CLOSE = 1e-3  # fractional coordinates that differ by less are equal
_SHIFTS = np.array(list(product((0, -1, 1, -2, 2), repeat=3)), dtype=np.float64)


class Description(NamedTuple):
    """Parameters that determine a crystal.

    Attributes:
        space_group: number in the International Tables.
        orbits: Wyckoff letter and atomic number of each orbit, sorted.
        lattice: (3, 3) conventional lattice vectors, rows in angstrom.
        triples: (n_orbits, 3) free coordinates of each orbit; components that do not matter are arbitrary.
    """

    space_group: int
    orbits: Orbits
    lattice: Float[Array, "3 3"]
    triples: Float[Array, "n_orbits 3"]


def describe(crystal: Crystal, *, symprec: float) -> Description | None:
    """Return the description of a crystal at a tolerance in angstrom; None if its symmetry cannot be found."""
    dataset = moyo_dataset(crystal, symprec=symprec, standard=True)
    cosets = None if dataset is None else normalizer_cosets(dataset)
    if not cosets:
        return None
    places = cosets[0][1]
    number, coords = int(dataset.number), np.array(dataset.std_cell.positions)
    positions, left = wyckoff_positions(number), list(range(len(coords)))
    found: list[tuple[str, int, Array]] = []
    for at, place in enumerate(places):
        triple = _solve(positions[place.letter], coords[at]) if at in left else None
        if triple is None:
            continue
        orbits: Orbits = ((place.letter, int(dataset.std_cell.numbers[at])),)
        primitive = symmetric_cell(number, orbits)
        points = (primitive.shifts + primitive.directions @ (positions[place.letter].free.T @ triple)) @ (
            primitive.primitive
        )
        every = (points[:, None] + centring(number)[None]).reshape(-1, 3)
        same = [i for i in left if np.abs(_nearest(every - coords[i])).max(axis=1).min() < CLOSE]
        left = [i for i in left if i not in same]
        found.append((*orbits[0], triple))
    if left:
        return None
    found.sort(key=lambda one: one[:2])
    lattice = np.array(dataset.std_cell.basis)
    return Description(number, tuple((a, z) for a, z, _ in found), lattice, np.array([triple for *_, triple in found]))


def _solve(position: WyckoffPosition, point: Array) -> Array | None:
    """Return free coordinates that put a position's representative on a point, modulo the lattice; None if none do."""
    for shift in _SHIFTS:
        aim = point + shift - position.shift
        triple = np.linalg.lstsq(position.linear, aim, rcond=None)[0]
        if np.abs(position.linear @ triple - aim).max() < CLOSE:
            return wrap(triple)
    return None


def _nearest(difference: Array) -> Array:
    return difference - np.round(difference)


@lru_cache(maxsize=256)
def centring(number: int) -> Float[Array, "n 3"]:
    """Return the lattice points in the conventional cell of a space group, in its own basis."""
    points = wrap(np.round(_SHIFTS @ primitive_basis(number), 6))
    return np.unique(np.round(points, 5), axis=0)
