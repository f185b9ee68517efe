"""Preferred orientation of plates or needles along one axis, after March (1932) and Dollase (1986).

The intensity of a plane at angle a to the axis is multiplied by (r^2 cos^2 a + sin^2 a / r)^(-3/2); r < 1 for plates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.lines import Lines
from lcoms.diffraction.prepare import Prepared
from lcoms.diffraction.refine import SHAPE, State, Window, evaluate

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

COEFFICIENTS = np.exp(np.linspace(np.log(0.35), np.log(2.5), 15))
FINER = np.exp(np.linspace(-0.105, 0.105, 7))  # factors of the best of these coefficients
LEAST_GAIN = 0.12  # relative decrease of the misfit; less does not indicate preferred orientation
N_AXES = 6  # directions of preferred orientation that are tried
N_FAMILIES = 12  # families of the largest spacings, from which axes are chosen


def march_dollase(lines: Lines, axis: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean factors (k, n) of each family for coefficients (n,).

    Args:
        axis: (3,) reciprocal vector along the axis.
    """
    squares = np.square(lines.members @ (axis / np.linalg.norm(axis)))
    r = coefficients[None, :]
    factors = (r**2 * squares[:, None] + (1 - squares[:, None]) / r) ** -1.5
    k = len(lines.strengths)
    sums = np.stack([np.bincount(lines.family, column, minlength=k) for column in factors.T], 1)
    return np.asarray(sums / np.bincount(lines.family, minlength=k)[:, None])


def fitted_texture(
    lines: Lines, pattern: Prepared, window: Window, state: State
) -> tuple[State, float, tuple[int, int, int] | None]:
    """Return the state with the factors that reduce the misfit most, the coefficient, and the axis or None.

    The texture that the state has is replaced.
    """
    state = replace(state, texture=np.ones(len(lines.strengths)))
    plain = _misfit(lines, pattern, window, state)
    profile = _unit_profiles(lines, pattern, window, state)
    target = (window.target - window.chebyshev @ state.values[state.n_strains + SHAPE :]) * window.weights

    def best_of(place: int, coefficients: NDArray[np.float64]) -> tuple[float, int, float]:
        fitted = profile @ march_dollase(lines, lines.vectors[place], coefficients)
        scales = (target @ fitted) / np.maximum(np.square(fitted).sum(0), 1e-12)
        misfits = np.square(target[:, None] - fitted * scales).sum(0)
        least = int(np.argmin(misfits))
        return float(misfits[least]), place, float(coefficients[least])

    misfit, place, coefficient = min(best_of(axis, COEFFICIENTS) for axis in _axes(lines))
    misfit, place, coefficient = min((misfit, place, coefficient), best_of(place, coefficient * FINER))
    if misfit > (1 - LEAST_GAIN) * plain:
        return state, 1.0, None
    factors = march_dollase(lines, lines.vectors[place], np.array([coefficient]))[:, 0]
    return replace(state, texture=factors), coefficient, lines.indices(place)


def _axes(lines: Lines) -> list[int]:
    """Return families of large spacings with distinct directions."""
    chosen: list[int] = []
    directions = lines.planes / np.maximum(np.gcd.reduce(lines.planes, axis=1), 1)[:, None]
    for place in range(min(N_FAMILIES, len(directions))):
        if not any((directions[place] == directions[other]).all() for other in chosen):
            chosen.append(place)
    return chosen[:N_AXES]


def _misfit(lines: Lines, pattern: Prepared, window: Window, state: State) -> float:
    model = evaluate(lines, pattern, window, state, shapes=False)
    return float(np.square((model.profile + model.polynomial - window.target) * window.weights).sum())


def _unit_profiles(lines: Lines, pattern: Prepared, window: Window, state: State) -> csc_matrix:
    """Return the sparse weighted profiles (n, k) of each family without texture."""
    from scipy.sparse import csc_matrix, diags

    k = len(lines.strengths)
    model = evaluate(lines, pattern, window, state, shapes=False)
    n = len(model.areas)
    gather = csc_matrix((model.areas, (np.arange(n), np.arange(n) % k)), shape=(n, k))
    return diags(window.weights) @ (model.lines @ gather)
