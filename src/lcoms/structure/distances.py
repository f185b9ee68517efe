"""Shortest distances between atoms, in angstrom and relative to covalent radii, and their checks after reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS, atomic_volume, covalent_radius
from lcoms.structure.lattice import is_valid_lattice, plane_spacings, shifts_within
from lcoms.structure.reading import RefusedError, Remark, Topic

MAX_DIRECT = 60_000  # number of distances up to which all are computed
FAR = 1.0  # larger ratios are not searched for
TOO_NEAR = 0.5  # angstrom; closer atoms are refused
SHORT = 0.6  # of the sum of covalent radii; closer atoms are reported
SPARSE = 500.0  # cubic angstrom per atom
DENSE = 0.5  # cubic angstrom per atom; cells in nm that are read as angstrom are 1000 times too small
WIDE = 5.5  # volume relative to that of the elements; a cell in bohr that is read as angstrom is 6.7 times too large
WIDE_UNBOUND = 4.18  # of compounds in which no atoms are as close as the sum of their radii; the element Cs has 5.25
SHORTEST_EDGE, LONGEST_EDGE = 0.5, 2000.0  # angstrom
FAR_OUT = 2.5  # cells; larger fractional coordinates are reported
FARTHEST = 1e4  # angstrom from the origin; larger coordinates are refused
FARTHEST_CELL = 100  # cells from the origin; larger fractional coordinates are refused


class ClosePair(NamedTuple):
    """The pair of atoms that is closest relative to the sum of its covalent radii.

    Attributes:
        ratio: distance over the sum of radii; `FAR` if no pair is closer.
        distance: angstrom; infinite if no pair is closer.
        first, second: indices of the atoms; -1 if no pair is closer.
    """

    ratio: float
    distance: float
    first: int
    second: int


def closest_pair(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], atomic_numbers: NDArray[np.int64]
) -> ClosePair:
    """Return the pair of atoms, periodic copies included, that is closest relative to its covalent radii."""
    radii = np.array([covalent_radius(int(z)) for z in atomic_numbers])
    reach = np.floor(2 * FAR * radii.max() / plane_spacings(lattice) + 0.5).astype(int)
    few = len(radii) ** 2 * int(np.prod(2 * reach + 1)) <= MAX_DIRECT
    first, second, distances = (
        _all_pairs(lattice, frac_coords, reach) if few else _listed_pairs(lattice, frac_coords, radii)
    )
    if not len(distances):
        return ClosePair(FAR, float("inf"), -1, -1)
    ratios = distances / (radii[first] + radii[second])
    best = int(np.argmin(ratios))
    if ratios[best] >= FAR:
        return ClosePair(FAR, float("inf"), -1, -1)
    return ClosePair(float(ratios[best]), float(distances[best]), int(first[best]), int(second[best]))


def _all_pairs(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], reach: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return indices and distances of all pairs, with copies up to `reach` cells away; fastest for small cells."""
    images = shifts_within(reach)
    first, second = np.triu_indices(len(frac_coords))
    offsets = frac_coords[second] - frac_coords[first]
    offsets -= np.round(offsets)
    distances = np.linalg.norm((offsets[:, None] + images[None]) @ lattice, axis=2)
    distances[np.ix_(first == second, ~images.any(axis=1))] = np.inf
    return first, second, distances.min(axis=1)


def _listed_pairs(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the same for pairs closer than the sum of their radii, by ASE's linked cells."""
    from ase.neighborlist import primitive_neighbor_list

    everywhere = (True, True, True)
    return primitive_neighbor_list("ijd", everywhere, lattice, frac_coords @ lattice, FAR * radii)


def require_cell(lattice: NDArray[np.float64]) -> None:
    """Raise RefusedError if the lattice vectors span no volume that atoms fit into."""
    if not (np.abs(lattice) < LONGEST_EDGE).all():
        raise RefusedError(Topic.CELL, f"a cell longer than {LONGEST_EDGE:g} angstrom; check the numbers of the cell.")
    if not is_valid_lattice(lattice) or plane_spacings(lattice).min() < SHORTEST_EDGE / 2:
        raise RefusedError(Topic.CELL, "the lattice vectors span no volume that atoms have room in; check the cell.")


def distance_remarks(crystal: Crystal, pair: ClosePair, labels: list[str]) -> list[Remark]:
    """Return remarks on atoms that are unusually close or far apart.

    Raises:
        RefusedError: two atoms are closer than `TOO_NEAR`, or each has less room than `DENSE`.
    """
    per_atom = crystal.volume / crystal.n_atoms
    if per_atom < DENSE:
        text = f"each atom has only {per_atom:.2g} cubic angstrom; give the lengths of the cell in angstrom, not in nm."
        raise RefusedError(Topic.CELL, text)
    if pair.first >= 0 and pair.distance < TOO_NEAR:
        raise RefusedError(
            Topic.TOO_CLOSE,
            f"{_named(crystal, labels, pair.first)} and {_named(crystal, labels, pair.second)} lie "
            f"{pair.distance:.2f} angstrom apart; correct their coordinates, the cell or the space group.",
        )
    if pair.first >= 0 and pair.ratio < SHORT:
        text = (
            f"{_named(crystal, labels, pair.first)} and {_named(crystal, labels, pair.second)} lie only "
            f"{pair.distance:.2f} angstrom apart."
        )
        return [Remark(Topic.TOO_CLOSE, text)]
    if per_atom > SPARSE:
        text = f"each atom has {per_atom:.0f} cubic angstrom; check the units of the cell."
        return [Remark(Topic.CELL, text)]
    usual = sum(atomic_volume(int(z)) for z in crystal.atomic_numbers)
    element = len(set(crystal.atomic_numbers.tolist())) == 1
    if usual and crystal.volume > (WIDE if pair.first >= 0 or element else WIDE_UNBOUND) * usual:
        text = f"the cell has {crystal.volume / usual:.1f} times the volume that is usual for these atoms"
        return [Remark(Topic.CELL, f"{text}; check its units, unless it holds a vacuum or pores.")]
    return []


def far_out_remarks(frac_coords: NDArray[np.float64], names: Sequence[str]) -> list[Remark]:
    """Return a remark if coordinates (n, 3) of named atoms are so large that they may not be fractional.

    Raises:
        RefusedError: they cannot be fractional.
    """
    largest = np.abs(frac_coords).max(axis=1)
    far = int(np.argmax(largest))
    if largest[far] < FAR_OUT:
        return []
    text = f"{names[far]} has a fractional coordinate of {largest[far]:.4g}"
    if largest[far] > FARTHEST_CELL:
        raise RefusedError(Topic.COORDINATES, f"{text}; give coordinates as fractions of the cell edges, such as 0.25.")
    text = f"{text}; check that it is not in angstrom."
    return [Remark(Topic.CELL, text)]


def _named(crystal: Crystal, labels: list[str], place: int) -> str:
    symbol = SYMBOLS[crystal.atomic_numbers[place]]
    label = labels[place] if labels else ""
    return label if label.startswith(symbol) else f"{symbol} ({label})" if label else f"{symbol} (atom {place + 1})"
