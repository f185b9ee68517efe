"""Free coordinates of Wyckoff positions as one byte per orbit: the discrete part of a library entry's latent.

A code is the nearest of 256 points spread evenly over the free coordinates of the position. It is the point where a
decoder starts to anneal, not the final position of the atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.cell_codes import cell_code, codewords
from lcoms.structure.crystal import Crystal
from lcoms.structure.wyckoff import (
    Orbits,
    StandardCell,
    WyckoffPosition,
    standard_cell,
    wyckoff_positions,
)

N_CODES = 256
SAME_SITE = 0.3  # angstrom; atoms of an orbit are images of each other to the tolerance of the symmetry search


class SitesDescribed(NamedTuple):
    """Space group, orbits, one code per orbit and one for the conventional cell."""

    space_group: int
    orbits: Orbits
    codes: tuple[int, ...]
    cell_code: int


def describe_sites(crystal: Crystal, *, symprec: float, elements: Sequence[int] = ()) -> SitesDescribed | None:
    """Return space group, orbits and codes of a crystal; None if no symmetry is found, or the atoms do not fit it.

    Args:
        elements: as for `lcoms.structure.wyckoff.standard_cell`.
    """
    cell = standard_cell(crystal, symprec=symprec, elements=elements)
    if cell is None:
        return None
    positions = wyckoff_positions(cell.space_group)
    left = set(range(len(cell.letters)))
    codes: list[int] = []
    for letter, number in cell.orbits:
        at = next((i for i in sorted(left) if (cell.letters[i], cell.atomic_numbers[i]) == (letter, number)), None)
        if at is None:
            return None
        images = cell.images(at)
        left -= {i for i in left if _is_image(cell, i, at, images)}
        codes.append(_nearest_code(positions[letter], images, cell.lattice))
    if left:
        return None
    return SitesDescribed(cell.space_group, cell.orbits, tuple(codes), cell_code(cell.space_group, cell.lattice))


def coded_coords(number: int, orbits: Orbits, codes: Sequence[int]) -> Float[NDArray[np.float64], " k"]:
    """Return the free coordinates that the codes of the orbits represent, as `SymmetricCell` takes them."""
    positions = wyckoff_positions(number)
    parts = [
        positions[letter].free.T @ _coordinates(positions[letter])[code]
        for (letter, _), code in zip(orbits, codes, strict=True)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _coordinates(position: WyckoffPosition) -> Float[NDArray[np.float64], "256 3"]:
    """Return x, y and z of each code; those that the position does not have are 0."""
    has = np.abs(position.linear).sum(axis=0) > 0
    points = np.zeros((N_CODES, 3))
    points[:, has] = codewords(int(has.sum()), N_CODES)
    return points


def _nearest_code(
    position: WyckoffPosition, images: Float[NDArray[np.float64], "g 3"], lattice: Float[NDArray[np.float64], "3 3"]
) -> int:
    """Return the code whose point is closest to any image of a site; 0 if nothing is free."""
    if position.n_free == 0:
        return 0
    points = _coordinates(position) @ position.linear.T + position.shift
    return int(_distances(points[:, None] - images, lattice).min(axis=1).argmin())


def _is_image(cell: StandardCell, i: int, at: int, images: Float[NDArray[np.float64], "g 3"]) -> bool:
    same = (cell.letters[i], cell.atomic_numbers[i]) == (cell.letters[at], cell.atomic_numbers[at])
    return same and bool(_distances(images - cell.coords[i], cell.lattice).min() < SAME_SITE)


def _distances(difference: NDArray[np.float64], lattice: Float[NDArray[np.float64], "3 3"]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm((difference - np.round(difference)) @ lattice, axis=-1))
