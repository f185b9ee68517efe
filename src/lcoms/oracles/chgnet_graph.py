"""The graph of a crystal for CHGNet: bonds up to 6 angstrom, and angles between bonds up to 3 angstrom.

Each bond is listed once, from its first to its second atom; the same bond from the other end is its reverse, with an
index higher by `n_bonds`. Energies depend on atomic positions and cells only through the bond vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from lcoms.oracles.limits import CLOSEST, MOST_IMAGES, TOO_CLOSE, TOO_DENSE
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import plane_spacings

BOND_CUTOFF = 6.0  # angstrom
ANGLE_CUTOFF = 3.0  # angstrom; only shorter bonds form angles
MAX_BONDS_PER_ATOM = 2000
MAX_ANGLES_PER_ATOM = 2000
_PERIODIC = np.ones(3, dtype=np.int64)
_SAME_SITE = 1e-8
_SHIFT = 1 << 12  # images are integers below half of it


@dataclass(frozen=True, eq=False)
class BondGraph:
    """Bonds and angles of one crystal.

    Attributes:
        atomic_numbers: Z of each atom.
        first: atom at which each bond starts.
        second: atom at which each bond ends.
        images: lattice shift of the second atom's copy, in cells.
        vectors: from the first to the second atom, in angstrom.
        short: indices of bonds up to the angle cutoff.
        angle_left: index in `short` of one bond of each angle, plus n_short if the angle is at its second atom.
        angle_right: the same for the other bond. Each angle is listed once; swapping the two gives its mirror.
    """

    atomic_numbers: Int[NDArray[np.int64], " n_atoms"]
    first: Int[NDArray[np.int64], " n_bonds"]
    second: Int[NDArray[np.int64], " n_bonds"]
    images: Int[NDArray[np.int64], "n_bonds 3"]
    vectors: Float[NDArray[np.float64], "n_bonds 3"]
    short: Int[NDArray[np.int64], " n_short"]
    angle_left: Int[NDArray[np.int64], " n_angles"]
    angle_right: Int[NDArray[np.int64], " n_angles"]


def bond_graph(crystal: Crystal) -> BondGraph | str:
    """Return the graph of a crystal, or a sentence on why CHGNet cannot handle it."""
    expected = 4.2 * BOND_CUTOFF**3 * crystal.n_atoms / crystal.volume
    reach = BOND_CUTOFF / plane_spacings(crystal.lattice)
    if (
        expected > MAX_BONDS_PER_ATOM
        or reach.max() > _SHIFT / 4
        or (2 * reach + 1).prod() * crystal.n_atoms > MOST_IMAGES
    ):
        return TOO_DENSE
    cart_coords = np.ascontiguousarray(crystal.cart_coords)
    lattice = np.ascontiguousarray(crystal.lattice)
    first, second, images, lengths = find_points_in_spheres(
        cart_coords, cart_coords, r=BOND_CUTOFF, pbc=_PERIODIC, lattice=lattice, tol=_SAME_SITE
    )
    first, second, shifts = (values.astype(np.int64) for values in (first, second, images))
    # One of the two directions of a bond is kept: to the atom of higher index, or to a later copy of itself.
    order = (shifts[:, 0] * _SHIFT + shifts[:, 1]) * _SHIFT + shifts[:, 2]
    kept = (first < second) | ((first == second) & (order > 0))
    if len(first) and lengths[kept].min(initial=np.inf) < CLOSEST:
        return TOO_CLOSE
    first, second, order, shifts = first[kept], second[kept], order[kept], shifts[kept]
    # The same order for all descriptions of one crystal, so that sums are the same to the last bit.
    sorting = np.lexsort((order, second, first))
    first, second, shifts = first[sorting], second[sorting], shifts[sorting]
    bonded = np.zeros(crystal.n_atoms, dtype=bool)
    bonded[first] = True
    bonded[second] = True
    if not bonded.all():
        lonely = int((~bonded).sum())
        return f"{lonely} of {crystal.n_atoms} atoms have no neighbour within {BOND_CUTOFF:g} angstrom."
    vectors = cart_coords[second] + shifts @ lattice - cart_coords[first]
    short = np.flatnonzero((vectors * vectors).sum(axis=1) < ANGLE_CUTOFF**2)
    angles = _angles(np.concatenate([first[short], second[short]]), crystal.n_atoms)
    if angles is None:
        return "the atoms are too close: an atom would have thousands of angles."
    return BondGraph(crystal.atomic_numbers, first, second, shifts, vectors, short, *angles)


def _angles(
    centers: Int[NDArray[np.int64], " n_directed"], n_atoms: int
) -> tuple[Int[NDArray[np.int64], " n_angles"], Int[NDArray[np.int64], " n_angles"]] | None:
    """Return all unordered pairs of directed bonds from the same atom; None if there are far too many."""
    degree = np.bincount(centers, minlength=n_atoms)
    if degree.max() ** 2 > 2 * MAX_ANGLES_PER_ATOM:
        return None
    order = np.argsort(centers, kind="stable")
    starts = np.cumsum(degree) - degree
    # The bond at rank r of its atom is paired with those at ranks r + 1 and higher.
    rank = np.arange(len(order)) - starts[centers[order]]
    later = degree[centers[order]] - rank - 1
    left = np.repeat(np.arange(len(order)), later)
    within = np.arange(len(left)) - np.repeat(np.cumsum(later) - later, later)
    return order[left], order[left + 1 + within]


def hydrogen_cluster() -> BondGraph:
    """Return the graph of seven hydrogen atoms: a tetrahedron, and three atoms too far from all others for angles.

    It has 21 bonds, six of them short, and few angles.
    """
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.6
    places = np.concatenate([corners, np.eye(3) * 4])
    first, second = np.triu_indices(len(places), k=1)
    vectors = places[second] - places[first]
    order = np.argsort(np.linalg.norm(vectors, axis=1) >= ANGLE_CUTOFF, kind="stable")
    first, second, vectors = first[order], second[order], vectors[order]
    short = np.arange(6)
    angles = _angles(np.concatenate([first[short], second[short]]), len(places))
    assert angles is not None, "a tetrahedron has few angles"
    images = np.zeros((len(first), 3), dtype=np.int64)
    return BondGraph(np.ones(len(places), dtype=np.int64), first, second, images, vectors, short, *angles)
