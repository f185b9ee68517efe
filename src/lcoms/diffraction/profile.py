"""Sum of lines with pseudo-Voigt profiles on an even grid, and its derivatives.

A line at x0 with full width w at half maximum and unit area is eta L + (1 - eta) G (Thompson, Cox and Hastings 1987).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

FOUR_LN2 = 4 * np.log(2)
TAIL, BROAD_TAIL = 6.0, 2.0  # widths on each side beyond which a line is cut: sharp, or broadened by a Gaussian
MOST_HALF = 400  # steps


class ProfileMatrices(NamedTuple):
    """Sparse matrices (n_points, n_lines) that multiply areas (n_lines,) to give profiles.

    Attributes:
        value: profiles of the lines.
        by_place: derivative with respect to x0, per degree.
        by_width: derivative with respect to ln w; None where it was not requested.
        by_eta: derivative with respect to eta; None where it was not requested.
    """

    value: csc_matrix
    by_place: csc_matrix
    by_width: csc_matrix | None
    by_eta: csc_matrix | None


def profile_matrices(
    grid: NDArray[np.float64],
    places: NDArray[np.float64],
    widths: NDArray[np.float64],
    eta: float,
    *,
    tail: float = TAIL,
    shapes: bool = True,
) -> ProfileMatrices:
    """Return profiles of lines at positions (k,) in degrees with widths (k,) on an even grid (n,).

    Args:
        tail: widths on each side beyond which a line is cut.
        shapes: whether to compute the derivatives with respect to width and eta, which take time.
    """
    from scipy.sparse import csc_matrix

    step, n = float(grid[1] - grid[0]), len(grid)
    half = int(min(MOST_HALF, np.ceil(tail * float(widths.max(initial=step)) / step)))
    middle = np.rint((places - grid[0]) / step).astype(np.int64)
    index = middle[:, None] + np.arange(-half, half + 1)[None, :]
    distance = grid[0] + index * step - places[:, None]
    ratio = distance / widths[:, None]
    square = np.square(ratio)
    gauss = np.sqrt(FOUR_LN2 / np.pi) / widths[:, None] * np.exp(-FOUR_LN2 * square)
    denominator = 1 + 4 * square
    lorentz = 2 / np.pi / widths[:, None] / denominator
    along_gauss, along_lorentz = (1 - eta) * gauss * 2 * FOUR_LN2, eta * lorentz * 8 / denominator
    slope = along_gauss + along_lorentz
    value = eta * lorentz + (1 - eta) * gauss
    outside = (index < 0) | (index >= n)
    rows = np.clip(index, 0, n - 1).ravel()
    starts = np.arange(len(places) + 1) * index.shape[1]

    def matrix(data: NDArray[np.float64]) -> csc_matrix:
        data[outside] = 0
        return csc_matrix((data.ravel(), rows, starts), shape=(n, len(places)))

    by_place = matrix(slope * ratio / widths[:, None])
    if not shapes:
        return ProfileMatrices(matrix(value), by_place, None, None)
    return ProfileMatrices(matrix(value.copy()), by_place, matrix(slope * square - value), matrix(lorentz - gauss))
