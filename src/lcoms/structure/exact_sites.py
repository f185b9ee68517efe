"""Crystals described by the parameters that their space group leaves free, and rebuilt from them.

Unlike site codes, the description is exact. Too loose a tolerance changes some crystals: CuO (C2/c) becomes tetragonal
at 0.1 angstrom. A loose tolerance is accepted only if the symmetry found moves no atom and strains no axis by more than
a stated amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import lattice_from_parameters, parameters_from_lattice, wrap
from lcoms.structure.symmetry_search import moyo_dataset
from lcoms.structure.wyckoff import (
    Orbits,
    StandardCell,
    WyckoffPosition,
    orbit_points,
    primitive_basis,
    standard_cell,
    wyckoff_positions,
)

Array = NDArray[np.float64]

EXACT_LADDER = (0.1, 0.05, 0.02, 0.01)  # angstrom; tolerances of the symmetry search, loosest first
MOST_MOVED = 0.01  # angstrom; symmetry that moves an atom farther is not the crystal's own
MOST_STRAIN = 0.001  # relative change of the cell, with the same meaning
_AT_ONCE = 1 << 20  # components of vectors between atoms held in memory at a time
SAME_SITE = 0.05  # angstrom; tolerance for images of a site in a cell that is already symmetric
_SHIFTS = np.array(list(product(range(-2, 3), repeat=3)), dtype=np.float64)


class ExactSites(NamedTuple):
    """Parameters that determine a crystal.

    Attributes:
        space_group: number in the International Tables.
        orbits: Wyckoff letter and atomic number of each orbit, letters ascending.
        coords: free coordinates in [0, 1), orbit by orbit: those of x, y and z that its position has.
        lengths, angles: of the conventional cell, angstrom and degrees.
    """

    space_group: int
    orbits: Orbits
    coords: Float[Array, " k"]
    lengths: Float[Array, " 3"]
    angles: Float[Array, " 3"]


def exact_sites(crystal: Crystal, *, symprec: float, elements: Sequence[int] = ()) -> ExactSites | None:
    """Return space group and free parameters; None if the search fails or the atoms do not fit its result.

    Args:
        symprec: angstrom; use `own_tolerance` of the crystal if no atom may move.
        elements: as for `lcoms.structure.wyckoff.standard_cell`; orbits of one letter follow this order.
    """
    cell = standard_cell(crystal, symprec=symprec, elements=elements)
    if cell is None:
        return None
    place = {z: at for at, z in enumerate(elements)}
    left = np.ones(len(cell.letters), dtype=bool)
    found: list[tuple[str, int, int, tuple[float, ...]]] = []
    for at, (letter, z) in enumerate(zip(cell.letters, cell.atomic_numbers, strict=True)):
        if not left[at]:
            continue
        position = wyckoff_positions(cell.space_group)[letter]
        images = cell.images(at)
        free = _free_coords(position, images, cell.lattice)
        members = _members(cell, images, at)
        if free is None or members.sum() != position.multiplicity or not left[members].all():
            return None
        left[members] = False
        found.append((letter, place.get(z, z), z, tuple(free.tolist())))
    found.sort()
    lengths, angles = parameters_from_lattice(cell.lattice)
    coords = np.array([x for *_, free in found for x in free], dtype=np.float64)
    return ExactSites(cell.space_group, tuple((letter, z) for letter, _, z, _ in found), coords, lengths, angles)


def crystal_of(sites: ExactSites) -> Crystal:
    """Return the primitive cell, symmetric to rounding error.

    Raises:
        CrystalError: the cell has no volume.
    """
    lattice = primitive_basis(sites.space_group) @ lattice_from_parameters(sites.lengths, sites.angles)
    parts, numbers, start = [], [], 0
    for letter, z in sites.orbits:
        position = wyckoff_positions(sites.space_group)[letter]
        point = np.zeros(3)
        point[_has(position)] = sites.coords[start : start + position.n_free]
        start += position.n_free
        shifts, directions = orbit_points(sites.space_group, letter)
        parts.append(shifts + directions @ (position.free.T @ point))
        numbers += [z] * len(shifts)
    return Crystal(lattice, np.concatenate(parts), np.array(numbers, dtype=np.int64))


def free_parameters(number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which lengths and which angles (0 to 2) of the conventional cell a space group leaves free."""
    if number <= 2:
        return (0, 1, 2), (0, 1, 2)
    if number <= 15:
        return (0, 1, 2), (1,)
    if number <= 74:
        return (0, 1, 2), ()
    return ((0, 2), ()) if number <= 194 else ((0,), ())


def own_tolerance(crystal: Crystal) -> float | None:
    """Return the loosest tolerance (angstrom) of `EXACT_LADDER` whose symmetry is the crystal's own, or None."""
    for symprec in EXACT_LADDER:
        moved = moved_by_symmetry(crystal, symprec=symprec)
        if moved is not None and moved[0] <= MOST_MOVED and moved[1] <= MOST_STRAIN:
            return symprec
    return None


def moved_by_symmetry(crystal: Crystal, *, symprec: float) -> tuple[float, float] | None:
    """Return the largest displacement of an atom (angstrom) and the largest strain that the symmetry found imposes.

    None if the search fails.
    """
    dataset = moyo_dataset(crystal, symprec=symprec)
    if dataset is None:
        return None
    found = dataset.operations
    rotations = np.array(found.rotations, dtype=np.float64)
    frac, lattice = crystal.frac_coords, crystal.lattice
    other = crystal.atomic_numbers[:, None] != crystal.atomic_numbers
    moved, atoms = np.zeros_like(frac), np.arange(len(frac))
    images = frac @ rotations.transpose(0, 2, 1) + np.array(found.translations)[:, None]
    for some in np.array_split(images, -(-images.size * len(frac) // _AT_ONCE)):
        apart = _nearest(some[:, :, None] - frac)
        lengths = ((apart @ lattice) ** 2).sum(axis=-1)
        to = np.where(other, np.inf, lengths).argmin(axis=2)
        np.add.at(moved, to, apart[np.arange(len(some))[:, None], atoms, to] / len(rotations))
    metric = lattice @ lattice.T
    change = (rotations.transpose(0, 2, 1) @ metric @ rotations).mean(axis=0) - metric
    inverse = np.linalg.inv(lattice)
    strain = np.abs(np.linalg.eigvalsh(inverse @ change @ inverse.T)).max() / 2
    return float(np.linalg.norm(moved @ lattice, axis=1).max()), float(strain)


def _members(cell: StandardCell, images: Float[Array, "g 3"], at: int) -> NDArray[np.bool_]:
    """Return which atoms are images of the atom `at`."""
    kinds = list(zip(cell.letters, cell.atomic_numbers, strict=True))
    members = np.array([kind == kinds[at] for kind in kinds])
    rows = np.flatnonzero(members)
    apart = _nearest(cell.coords[rows][:, None] - images) @ cell.lattice
    members[rows] = (apart**2).sum(axis=-1).min(axis=1) < SAME_SITE**2
    return members


def _free_coords(
    position: WyckoffPosition, images: Float[Array, "g 3"], lattice: Float[Array, "3 3"]
) -> Float[Array, " k"] | None:
    """Return free coordinates that put the representative of a position on one of the images, modulo the lattice."""
    if position.n_free == 3:
        return wrap(np.linalg.solve(position.linear, images[0] - position.shift))
    across, shifts = _across(position.linear.tobytes())
    aims = images - position.shift
    off = (aims @ across)[:, None] + shifts @ across
    distances = ((off @ lattice) ** 2).sum(axis=-1)
    image, shift = np.unravel_index(int(distances.argmin()), distances.shape)
    if distances[image, shift] > SAME_SITE**2:
        return None
    columns = position.linear[:, _has(position)]
    return wrap(np.linalg.lstsq(columns, aims[image] + shifts[shift], rcond=None)[0])


@cache
def _across(linear: bytes) -> tuple[Float[Array, "3 3"], Float[Array, "n 3"]]:
    """Return the projector onto directions that no free coordinate spans, and lattice shifts distinct under it."""
    matrix = np.frombuffer(linear).reshape(3, 3)
    across = (np.eye(3) - matrix @ np.linalg.pinv(matrix)).T
    order = np.argsort(np.abs(_SHIFTS).sum(axis=1), kind="stable")
    _, first = np.unique(np.round(_SHIFTS[order] @ across, 6) + 0.0, axis=0, return_index=True)
    return across, _SHIFTS[order][np.sort(first)]


def _has(position: WyckoffPosition) -> NDArray[np.bool_]:
    """Return which of x, y and z a position has."""
    return np.asarray(np.abs(position.linear).sum(axis=0) > 0)


def _nearest(difference: Array) -> Array:
    return np.asarray(difference - np.round(difference))
