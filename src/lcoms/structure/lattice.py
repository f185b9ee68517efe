"""Lattice arithmetic on row vectors: a, b, c are the rows of a (3, 3) array in angstrom.

Cartesian = fractional @ lattice, as in ASE and pymatgen. Angles are in degrees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_AT_ONCE = 1 << 16  # vectors between atoms held in memory at a time


def lattice_from_parameters(lengths: Array, angles: Array) -> Array:
    """Return rows a, b, c for cell lengths and angles, a in the xz plane and c along z.

    Args:
        lengths: (..., 3) in angstrom.
        angles: (..., 3) alpha, beta, gamma in degrees.

    Returns:
        (..., 3, 3) lattices. Cells that cannot exist give non-finite or flat rows: see `is_valid_lattice`.
    """
    a, b, c = np.moveaxis(np.asarray(lengths, dtype=float), -1, 0)
    cos_alpha, cos_beta, cos_gamma = np.moveaxis(np.cos(np.radians(angles)), -1, 0)
    sin_alpha, sin_beta = np.sqrt(1 - cos_alpha**2), np.sqrt(1 - cos_beta**2)
    cos_gamma_star = np.clip((cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta), -1.0, 1.0)
    sin_gamma_star = np.sqrt(1 - cos_gamma_star**2)
    zero = np.zeros_like(a)
    return np.stack(
        [
            np.stack([a * sin_beta, zero, a * cos_beta], axis=-1),
            np.stack([-b * sin_alpha * cos_gamma_star, b * sin_alpha * sin_gamma_star, b * cos_alpha], axis=-1),
            np.stack([zero, zero, c], axis=-1),
        ],
        axis=-2,
    )


def parameters_from_lattice(lattice: Array) -> tuple[Array, Array]:
    """Return cell lengths (..., 3) in angstrom and angles (..., 3) in degrees of row-vector lattices (..., 3, 3)."""
    lattice = np.asarray(lattice, dtype=float)
    lengths = np.linalg.norm(lattice, axis=-1)
    unit = lattice / np.maximum(lengths, 1e-12)[..., None]
    cosines = np.stack([np.sum(unit[..., i, :] * unit[..., j, :], axis=-1) for i, j in ((1, 2), (0, 2), (0, 1))], -1)
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def volume(lattice: Array) -> Array:
    """Return cell volumes in cubic angstrom, never negative, of lattices (..., 3, 3)."""
    return np.asarray(np.abs(np.linalg.det(np.asarray(lattice, dtype=float))))


def plane_spacings(lattice: Array) -> Array:
    """Return distances (..., 3) in angstrom between neighbouring lattice planes normal to each reciprocal vector."""
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(np.asarray(lattice, dtype=float)), axis=-2))


def is_valid_lattice(lattice: Array) -> bool:
    """Return whether a (3, 3) lattice is finite and its volume exceeds a thousandth of the product of its lengths."""
    lattice = np.asarray(lattice, dtype=float)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        return False
    box = float(np.sqrt((lattice * lattice).sum(axis=1).prod()))
    return box > 1e-6 and float(volume(lattice)) > 1e-3 * box


def wrap(frac_coords: Array) -> Array:
    """Return fractional coordinates wrapped into [0, 1)."""
    wrapped = np.asarray(frac_coords, dtype=float) % 1.0
    return np.where(wrapped >= 1.0, 0.0, wrapped)


def shifts_within(reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all shifts (n, 3) in whole lattice vectors, up to `reach` (3,) along each, the last index fastest.

    The zero shift is in the middle.
    """
    ranges = (np.arange(-n, n + 1) for n in reach)
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)


def shortest_distance(lattice: Array, frac_coords: Array, *, up_to: float = np.inf) -> float:
    """Return the shortest distance in angstrom between atoms of a crystal, periodic copies of the same atom included.

    Every image that can be closer than the best one so far is searched, however thin or skewed the cell. Reduced cells
    (`niggli_reduce`) are fastest.

    Args:
        lattice: (3, 3) in angstrom.
        frac_coords: (n, 3), wrapped or not.
        up_to: angstrom; a longer distance need not be exact, only longer than this. A small value saves the search.
    """
    lattice, frac = np.asarray(lattice, dtype=float), np.asarray(frac_coords, dtype=float)
    spacings = plane_spacings(lattice)
    best = float(np.linalg.norm(lattice, axis=1).min())  # to the copy of the same atom in the next cell
    first, second = np.triu_indices(len(frac), k=1)
    pairs = frac[second] - frac[first]
    pairs -= np.round(pairs)
    if len(pairs):
        best = min(best, float(np.linalg.norm(pairs @ lattice, axis=1).min()))
    # A vector shorter than `best` has fractional components below best / spacing; those of `pairs` are up to a half.
    reach = np.floor(min(best, up_to) / spacings + 0.5).astype(int)
    if not reach.any():
        return best
    images = shifts_within(reach)
    copies = np.linalg.norm(images[np.any(images != 0, axis=1)] @ lattice, axis=1)
    best = min(best, float(copies.min(initial=best)))
    n = max(1, _AT_ONCE // max(1, len(pairs)))
    for start in range(0, len(images) if len(pairs) else 0, n):
        vectors = images[start : start + n, None] + pairs
        # Vectors with a component that is out of reach are skipped.
        chosen = vectors[np.all(np.abs(vectors) <= best / spacings, axis=2)]
        if len(chosen):
            best = min(best, float(np.linalg.norm(chosen @ lattice, axis=1).min()))
    return best


def niggli_reduce(lattice: Array, frac_coords: Array) -> tuple[Array, Array, bool]:
    """Return the Niggli-reduced cell of a crystal, rebuilt in the standard orientation.

    The tolerance is widened step by step; if all fail, an LLL-like (Minkowski) reduction is used instead.

    Returns:
        lattice (3, 3), frac_coords (n, 3) in [0, 1), and whether the Niggli reduction itself succeeded. A mirror
        image may be returned: distances and energies do not change.
    """
    import spglib

    cart_coords = np.asarray(frac_coords, dtype=float) @ lattice
    reduced, succeeded = None, False
    for tolerance in (1e-5, 1e-4, 1e-3, 1e-2):
        reduced = _quiet(spglib.niggli_reduce, lattice, tolerance)
        if (
            reduced is not None
            and is_valid_lattice(reduced)
            and abs(volume(reduced) - volume(lattice)) < 1e-4 * volume(lattice)
        ):
            succeeded = True
            break
    if not succeeded:
        from ase.geometry import minkowski_reduce

        reduced = minkowski_reduce(np.asarray(lattice, dtype=float))[0]
    reduced = np.asarray(reduced, dtype=float)
    frac = wrap(cart_coords @ np.linalg.inv(reduced))
    return lattice_from_parameters(*parameters_from_lattice(reduced)), frac, succeeded


def _quiet(function: Callable[..., Array | None], lattice: Array, tolerance: float) -> Array | None:
    """Return spglib's result, or None for failure: depending on its version, spglib returns None or raises."""
    try:
        return function(np.asarray(lattice, dtype=float), eps=tolerance)
    except Exception:  # spglib's exception types differ between its releases
        return None
