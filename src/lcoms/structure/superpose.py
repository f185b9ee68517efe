"""All superpositions of two reduced cells that pymatgen's StructureMatcher tries, many at a time.

The rules and their order are those of StructureMatcher (primitive_cell=True, scale=True, no supercells,
SpeciesComparator), so that results and displacements are the same. Only work that cannot change the outcome is saved:

- cells with different numbers of sites or of atoms of a species never match, and are rejected at once;
- the shortest three independent vectors of a lattice are not longer than any other three, so a cell whose sorted
  lengths exceed those of the other by more than `ltol` has no basis within `ltol` of it, and is not searched;
- a placement is rejected as soon as one atom has no partner, tested for all placements at once;
- quantities that depend only on the lattice are computed once for all translations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.lattice import lattice_from_parameters, parameters_from_lattice
from lcoms.structure.primitive import ReducedCell, exact_volume

Array = NDArray[np.float64]

SAME = 1e-5
"""StructureMatcher stops at the first placement with a smaller displacement."""
_LENGTH_MARGIN = 1e-6
_TIE = 1e-9
_MOST_AT_ONCE = 1 << 20


def least_displacement(
    first: ReducedCell, second: ReducedCell, *, ltol: float, stol: float, angle_tol: float
) -> float | None:
    """Return the smallest root mean square displacement over (volume / atom)^(1/3); None if none is below `stol`."""
    best: float | None = None
    for distances in _placements(first, second, ltol, stol, angle_tol):
        value = float(np.linalg.norm(distances) / len(distances) ** 0.5)
        if best is None or value < best:
            best = value
            if value < min(SAME, stol):
                return value
    return best if best is not None and best < stol else None


def can_be_laid(first: ReducedCell, second: ReducedCell, *, ltol: float, stol: float, angle_tol: float) -> bool:
    """Return whether a placement moves no atom by `stol` (volume / atom)^(1/3) or more."""
    return any(distances.max() < stol for distances in _placements(first, second, ltol, stol, angle_tol))


def _placements(first: ReducedCell, second: ReducedCell, ltol: float, stol: float, angle_tol: float) -> Iterator[Array]:
    """Yield the (n,) relative displacements of each placement that StructureMatcher measures, in its order."""
    if first.counts != second.counts:
        return
    ratio = (second.volume / first.volume) ** (1 / 6)
    lattice_1, lattice_2 = first.lattice * ratio, second.lattice / ratio
    shortest = first.shortest_vectors
    if shortest is not None:
        longest = np.sort(np.linalg.norm(lattice_2, axis=1)) * (1 + ltol) * (1 + _LENGTH_MARGIN)
        if (shortest * ratio > longest).any():
            return
    bases = matching_bases(lattice_1, lattice_2, ltol=ltol, angle_tol=angle_tol)
    if not len(bases):
        return
    pairs = zip(parameters_from_lattice(bases), parameters_from_lattice(lattice_2), strict=True)
    mean = lattice_from_parameters(*((one + two) / 2 for one, two in pairs))
    normalization = (len(first.atomic_numbers) / np.abs(np.linalg.det(mean))) ** (1 / 3)
    frac_tol = _reciprocal_lengths(mean) * stol / (np.pi * normalization[:, None])
    cart_1 = _cart_coords(first.frac_coords, lattice_1)
    frac_1 = cart_1 @ np.linalg.inv(bases)
    frac_1 -= np.floor(frac_1)
    forbidden = second.atomic_numbers[:, None] != first.atomic_numbers[None, :]
    anchor = int(np.argmax(forbidden.sum(axis=1)))
    partners = np.flatnonzero(~forbidden[anchor])
    shifts = frac_1[:, partners] - second.frac_coords[anchor]  # (bases, partners, 3)
    possible = _with_partners(frac_1, second.frac_coords, shifts, frac_tol, forbidden)
    mask = forbidden.astype(np.int64)
    rows = np.unique(possible[:, 0])
    target = _parameters(lattice_2)
    for row, reduced in zip(rows.tolist(), _surely_reduced(mean[rows]).tolist(), strict=True):
        overlay = _Overlay(bases[row], target, cart_1, second.frac_coords, stol=stol, reduced=reduced)
        for partner in partners[possible[possible[:, 0] == row, 1]].tolist():
            yield overlay.displacements(partner, anchor, mask)


def _cart_coords(frac_coords: Array, lattice: Array) -> Array:
    """Return (n, 3) Cartesian coordinates, atom by atom since a product of matrices may differ in the last bit."""
    return np.array([np.dot(atom, lattice) for atom in frac_coords])


def matching_bases(lattice: Array, target: Array, *, ltol: float, angle_tol: float) -> Array:
    """Return (m, 3, 3) bases of a lattice close to a target: lengths to a factor 1 + ltol, angles to angle_tol degrees.

    Equivalent to pymatgen's Lattice.find_all_mappings, restricted to bases of the same volume, in its order.
    """
    from pymatgen.core import Lattice

    lengths, angles = parameters_from_lattice(target)
    radius = float(lengths.max() * (1 + ltol))
    found: Any = Lattice(lattice).get_points_in_sphere([[0, 0, 0]], [0, 0, 0], radius, zip_results=False)
    steps, distance = np.asarray(found[0]), np.asarray(found[1])
    cart = np.dot(steps, lattice)
    near = [(distance / length < 1 + ltol) & (distance / length > 1 / (1 + ltol)) for length in lengths]
    steps_a, steps_b, steps_c = (steps[rows] for rows in near)
    vectors = [cart[rows] for rows in near]
    units = [v / np.sqrt((v**2).sum(axis=1))[:, None] for v in vectors]
    alpha, beta, gamma = (
        np.abs(np.degrees(np.arccos(np.clip(units[i] @ units[j].T, -1, 1))) - angles[k]) <= angle_tol
        for k, (i, j) in enumerate(((1, 2), (0, 2), (0, 1)))
    )
    a, b = np.nonzero(gamma)
    found_rows = []
    at_once = max(1, _MOST_AT_ONCE // max(1, len(steps_c)))
    for start in range(0, len(a), at_once):
        some_a, some_b = a[start : start + at_once], b[start : start + at_once]
        pair, c = np.nonzero(beta[some_a] & alpha[some_b])
        i, j = some_a[pair], some_b[pair]
        x, y, z = steps_a[i], steps_b[j], steps_c[c]
        same_volume = np.abs(np.einsum("ij,ij->i", np.cross(x, y), z)) == 1  # whole numbers: exact
        found_rows.append(np.stack([vectors[0][i], vectors[1][j], vectors[2][c]], axis=1)[same_volume])
    return np.concatenate(found_rows) if found_rows else np.zeros((0, 3, 3))


def _with_partners(
    frac_1: Array, frac_2: Array, shifts: Array, frac_tol: Array, forbidden: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return (p, 2) basis and shift of placements in which every atom of the second has a partner within `frac_tol`."""
    n_bases, n_shifts = shifts.shape[:2]
    alive = np.stack(np.divmod(np.arange(n_bases * n_shifts), n_shifts), axis=1)
    for atom in range(len(frac_2)):
        same = np.flatnonzero(~forbidden[atom])
        kept = []
        at_once = max(1, _MOST_AT_ONCE // (3 * len(same)))
        for start in range(0, len(alive), at_once):
            some = alive[start : start + at_once]
            rows = some[:, 0]
            apart = (frac_2[atom] + shifts[rows, some[:, 1]])[:, None] - frac_1[rows[:, None], same]
            apart -= np.round(apart)
            fits = (np.abs(apart) <= frac_tol[rows, None]).all(axis=2).any(axis=1)
            kept.append(some[fits])
        alive = np.concatenate(kept)
        if not len(alive):
            break
    return alive


class _Overlay:
    """Both crystals on the mean of two lattices, computed with pymatgen's own operations.

    Equally good assignments may have different displacements once their mean is subtracted, and the last bit decides
    between them, so every number here must be pymatgen's to the last bit. pbc_shortest_vectors uses this as a lattice.
    """

    pbc = (True, True, True)

    def __init__(
        self, basis: Array, target: Array, cart_1: Array, frac_2: Array, *, stol: float, reduced: bool
    ) -> None:
        from pymatgen.core import Lattice

        self.frac_1 = np.dot(cart_1, np.linalg.inv(basis))
        self.frac_1 -= np.floor(self.frac_1)
        self.frac_2 = frac_2
        mean = Lattice.from_parameters(*((_parameters(basis) + target) / 2))
        self.normalization = (len(cart_1) / exact_volume(mean.matrix)) ** (1 / 3)
        self.lll_matrix = mean.matrix.copy() if reduced else mean.lll_matrix
        self.lll_inverse: Array | None = None if reduced else mean.lll_inverse
        self.frac_tol = _reciprocal_lengths(self.lll_matrix) * stol / (np.pi * self.normalization)

    def get_lll_frac_coords(self, frac_coords: Array) -> Array:
        """Return (n, 3) coordinates in the reduced basis; the name is pymatgen's."""
        return frac_coords if self.lll_inverse is None else np.asarray(np.dot(frac_coords, self.lll_inverse))

    def displacements(self, partner: int, anchor: int, mask: NDArray[np.int64]) -> Array:
        """Return the lengths (n,) after the best assignment, minus their mean vector, over (volume / atom)^(1/3).

        Args:
            partner: atom of the first crystal on which the atom `anchor` of the second is placed.
            anchor: atom of the second crystal.
            mask: (n, n) one where an atom of the second and one of the first differ in species.
        """
        from pymatgen.util.coord_cython import pbc_shortest_vectors
        from scipy.optimize import linear_sum_assignment

        moved = self.frac_2 + (self.frac_1[partner] - self.frac_2[anchor])
        vectors, squares = pbc_shortest_vectors(
            self, moved, self.frac_1, mask, return_d2=True, lll_frac_tol=self.frac_tol
        )
        chosen = vectors[linear_sum_assignment(squares)]
        return np.asarray(np.sum((chosen - np.mean(chosen, axis=0)) ** 2, axis=-1) ** 0.5 * self.normalization)


def _parameters(lattice: Array) -> Array:
    """Return (6,) lengths and angles in degrees, to the last bit those of pymatgen's Lattice."""
    a, b, c = lattice
    lengths = np.sqrt(np.sum(lattice**2, axis=1))
    of_a, of_b, of_c = lengths.tolist()
    cosines = np.array([np.dot(b, c) / (of_b * of_c), np.dot(c, a) / (of_c * of_a), np.dot(a, b) / (of_a * of_b)])
    return np.concatenate([lengths, np.rad2deg(np.arccos(np.minimum(np.maximum(cosines, -1), 1)))])


def _surely_reduced(lattices: Array) -> NDArray[np.bool_]:
    """Return (m,) whether LLL reduction (delta 0.75) leaves lattices (m, 3, 3) unchanged; False for near ties."""
    a, b, c = np.moveaxis(lattices, 1, 0)

    def dot(x: Array, y: Array) -> Array:
        return np.asarray((x * y).sum(axis=-1))

    u_ba, u_ca = dot(b, a) / dot(a, a), dot(c, a) / dot(a, a)
    b_rest = b - u_ba[:, None] * a
    u_cb = dot(c, b_rest) / dot(b_rest, b_rest)
    c_rest = c - u_ca[:, None] * a - u_cb[:, None] * b_rest
    small = (np.abs([u_ba, u_ca, u_cb]) < 0.5 - _TIE).all(axis=0)
    second = dot(b_rest, b_rest) > (0.75 - u_ba**2) * dot(a, a) * (1 + _TIE)
    third = dot(c_rest, c_rest) > (0.75 - u_cb**2) * dot(b_rest, b_rest) * (1 + _TIE)
    return np.asarray(small & second & third)


def _reciprocal_lengths(lattice: Array) -> Array:
    """Return (..., 3) lengths of the reciprocal vectors, 2 pi included."""
    return np.asarray(2 * np.pi * np.linalg.norm(np.linalg.inv(lattice), axis=-2))
