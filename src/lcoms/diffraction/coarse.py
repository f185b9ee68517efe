"""Coarse search for a candidate's cell with broadened lines in ln(1/d), where an isotropic strain is a plain shift.

A correlation tries all isotropic strains at once, for each point of a grid of the other strains that the symmetry
allows. Intensities enter as square roots, which reduces the influence of preferred orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.lines import Lines, lorentz_polarisation
from lcoms.diffraction.prepare import Prepared

STEP = 0.001  # of ln(1/d)
BROAD = 0.005  # standard deviation in ln(1/d) of the broadened lines
MOST_SCALE = 0.05  # largest change of ln(1/d) by the isotropic strain
MOST_STRAIN = 0.045  # largest other strain
APART = 0.008  # strains closer than this count as one start
GRID = {0: 1, 1: 13, 2: 9, 3: 7, 5: 3}  # number of non-isotropic strains: grid points along each


class CellStart(NamedTuple):
    """A cell from which to refine.

    Attributes:
        strains: (m,) amounts of the strains that the symmetry allows.
        cosine: cosine similarity between the square roots of the broadened patterns.
    """

    strains: NDArray[np.float64]
    cosine: float


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The measured pattern as a function of ln(1/d): square roots of its intensities, broadened, with unit norm.

    Attributes:
        start: ln(1/d) of the first bin.
        values: (n,) one value per bin.
    """

    start: float
    values: NDArray[np.float64]


def spectrum(pattern: Prepared) -> Spectrum:
    """Return the spectrum of a measured pattern."""
    sine = np.sin(np.radians(pattern.two_theta / 2))
    inside = sine > 1e-3
    u = np.log(2 * sine[inside] / pattern.radiation.mean)
    root = np.sqrt(np.maximum(pattern.net[inside] - pattern.noise[inside], 0))
    area = np.concatenate([[0], np.cumsum((root[1:] + root[:-1]) / 2 * pattern.step)])
    edges = np.arange(u[0], u[-1] - STEP, STEP)
    values = np.diff(np.interp(edges, u, area))
    values = _broadened(values[None])[0]
    return Spectrum(float(edges[0]), values / (np.linalg.norm(values) + 1e-12))


def cell_starts(lines: Lines, pattern: Prepared, measured: Spectrum, *, n: int) -> list[CellStart]:
    """Return strained cells from which to refine, the most likely first.

    Args:
        n: largest number of cells; they differ from each other by more than `APART`.
    """
    others = _grid(len(lines.strains) - 1)
    margin = int(MOST_SCALE / STEP)
    slopes = lines.slopes()
    theta = np.arcsin(np.minimum(lines.lengths * pattern.radiation.mean / 2, 0.995))
    heights = lines.strengths * lorentz_polarisation(theta, pattern.radiation)
    u = np.log(lines.lengths) - others @ slopes[:, 1:].T
    n_bins = len(measured.values) + 2 * margin
    place = (u - measured.start) / STEP - 0.5 + margin
    inside = (place >= 0) & (place < n_bins - 1)
    rows = np.broadcast_to(np.arange(len(others))[:, None], place.shape)[inside]
    low = place[inside].astype(int)
    share, weight = place[inside] - low, np.broadcast_to(heights, place.shape)[inside]
    flat = np.bincount(rows * n_bins + low, weight * (1 - share), len(others) * n_bins)
    flat += np.bincount(rows * n_bins + low + 1, weight * share, len(others) * n_bins)
    models = _broadened(np.sqrt(flat.reshape(len(others), n_bins)))
    scores = _correlations(models, measured.values, margin)
    return _best(scores, others, margin, n)


def _grid(dimensions: int) -> NDArray[np.float64]:
    """Return the grid (points, dimensions) of the non-isotropic strains."""
    axis = np.linspace(-MOST_STRAIN, MOST_STRAIN, GRID.get(dimensions, 3)) if dimensions else np.zeros(1)
    if not dimensions:
        return np.zeros((1, 0))
    return np.array(list(product(axis, repeat=dimensions)))


def _broadened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    half = int(4 * BROAD / STEP)
    kernel = np.exp(-0.5 * np.square(np.arange(-half, half + 1) * STEP / BROAD))
    n = values.shape[1] + 2 * half
    spread = np.fft.irfft(np.fft.rfft(values, n) * np.fft.rfft(kernel, n), n)
    return np.asarray(spread[:, half : half + values.shape[1]])


def _correlations(models: NDArray[np.float64], measured: NDArray[np.float64], margin: int) -> NDArray[np.float64]:
    """Return cosines (points, 2 margin + 1) between the measured pattern and the models shifted by up to the margin."""
    n, size = len(measured), models.shape[1]
    products = np.fft.irfft(np.fft.rfft(models, size) * np.conj(np.fft.rfft(measured, size)), size)
    squares = np.cumsum(np.pad(np.square(models), ((0, 0), (1, 0))), axis=1)
    shifts = np.arange(2 * margin + 1)
    norms = np.sqrt(np.maximum(squares[:, shifts + n] - squares[:, shifts], 1e-12))
    return np.asarray(products[:, shifts] / norms)


def _best(scores: NDArray[np.float64], others: NDArray[np.float64], margin: int, n: int) -> list[CellStart]:
    """Return the best cells with distinct strains."""
    peak = np.zeros_like(scores, dtype=bool)
    peak[:, 1:-1] = (scores[:, 1:-1] >= scores[:, :-2]) & (scores[:, 1:-1] >= scores[:, 2:])
    points, shifts = np.nonzero(peak)
    order = np.argsort(-scores[points, shifts], kind="stable")[:200]
    kept: list[CellStart] = []
    for i in order:
        # A line measured at a smaller 1/d than in the model needs a larger cell.
        isotropic = (shifts[i] - margin) * STEP * np.sqrt(3)
        start = np.concatenate([[isotropic], others[points[i]]])
        if all(np.linalg.norm(start - other.strains) > APART for other in kept):
            kept.append(CellStart(start, float(scores[points[i], shifts[i]])))
        if len(kept) == n:
            break
    return kept or [CellStart(np.zeros(others.shape[1] + 1), 0.0)]
