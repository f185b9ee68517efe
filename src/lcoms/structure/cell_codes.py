"""Shape of a crystal's conventional cell as one code per crystal: the discrete part of a library entry's latent.

A primitive lattice has many conventional cells, and the sites of orbits are given in one of them. The code identifies
it: it is the nearest of 32,768 points spread evenly over the ratios of lengths and the cosines of angles that the
crystal system leaves free. It does not contain the lengths themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.wyckoff import SymmetricCell

N_CELL_CODES = 32768
LONGEST = 1.8  # logarithm of a ratio of lengths
STEEPEST = 0.7  # cosine of an angle


def cell_code(number: int, conventional: Float[NDArray[np.float64], "3 3"]) -> int:
    """Return the code of a conventional cell of a space group; 0 if the crystal system fixes its shape.

    Args:
        number: of the space group.
        conventional: lattice vectors as rows.
    """
    free = _free(number)
    return int(_distances(_shapes(conventional)[free], number, None).argmin()) if free.any() else 0


def most_alike(
    cell: SymmetricCell, lattices: Sequence[Float[NDArray[np.float64], "3 3"]], code: int
) -> Float[NDArray[np.float64], "3 3"]:
    """Return the primitive lattice (lower triangular) whose conventional cell is closest to a code.

    Args:
        lattices: at least one, compatible with the space group of the cell; if triclinic, all bases are compared.
    """
    candidates = np.array(lattices)
    if cell.space_group <= 2:
        candidates = (_bases()[:, None] @ candidates).reshape(-1, 3, 3)
    free = _free(cell.space_group)
    shapes = _shapes(np.linalg.inv(cell.primitive) @ candidates)[:, free]
    best = candidates[_distances(shapes, cell.space_group, code).argmin()]
    return np.asarray(np.linalg.cholesky(best @ best.T), dtype=np.float64)


@cache
def codewords(n: int, count: int) -> Float[NDArray[np.float64], "count n"]:
    """Return points spread evenly over the unit cube, by powers of the generalised golden ratio (Roberts 2018)."""
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (n + 1))
    return np.asarray((0.5 + np.outer(np.arange(count), ratio ** -np.arange(1.0, n + 1))) % 1.0)


def _shapes(lattices: Float[NDArray[np.float64], "... 3 3"]) -> Float[NDArray[np.float64], "... 5"]:
    """Return ln(a / b), ln(c / b), cos(alpha), cos(beta), cos(gamma)."""
    metric = lattices @ np.swapaxes(lattices, -1, -2)
    lengths = np.sqrt(np.diagonal(metric, axis1=-2, axis2=-1))
    a, b, c = np.moveaxis(lengths, -1, 0)
    cosines = metric[..., [1, 0, 0], [2, 2, 1]] / np.stack([b * c, a * c, a * b], axis=-1)
    return np.concatenate([np.log(np.stack([a / b, c / b], axis=-1)), cosines], axis=-1)


def _free(number: int) -> NDArray[np.bool_]:
    """Return which of these the crystal system leaves free; rhombohedral groups have hexagonal axes."""
    if number <= 2:
        free = (True, True, True, True, True)
    elif number <= 15:
        free = (True, True, False, True, False)
    elif number <= 74:
        free = (True, True, False, False, False)
    else:
        free = (False, number <= 194, False, False, False)
    return np.array(free)


def _distances(shapes: Float[NDArray[np.float64], "... k"], number: int, code: int | None) -> NDArray[np.float64]:
    """Return the distances from shapes to the point of a code, or to the points of all codes."""
    points = _points(number)
    return np.asarray(np.linalg.norm(shapes - (points if code is None else points[code]), axis=-1))


@cache
def _points(number: int) -> Float[NDArray[np.float64], "n k"]:
    free = _free(number)
    reach = np.array([LONGEST, LONGEST, STEEPEST, STEEPEST, STEEPEST])[free]
    return np.asarray((2 * codewords(int(free.sum()), N_CELL_CODES) - 1) * reach)


@cache
def _bases() -> NDArray[np.float64]:
    """Return bases of a lattice in terms of a reduced one."""
    some = np.array(list(product((-1, 0, 1), repeat=9)), dtype=np.float64).reshape(-1, 3, 3)
    return np.asarray(some[np.round(np.linalg.det(some)) == 1])
