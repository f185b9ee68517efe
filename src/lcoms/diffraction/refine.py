"""Least-squares fit of a pattern: symmetry-allowed strains, scale, width, zero shift and residual background.

Levenberg-Marquardt with weak priors, which keep parameters that the pattern does not determine near typical values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.lines import Lines, lorentz_polarisation
from lcoms.diffraction.prepare import Prepared
from lcoms.diffraction.profile import BROAD_TAIL, TAIL, profile_matrices
from lcoms.diffraction.radiation import DOUBLET

N_BACKGROUND = 3  # Chebyshev polynomials that correct the background
SYSTEMATIC = 0.03  # of a line's height: systematic error of profiles and intensities
FLOOR = 0.002  # of the strongest line
SHAPE = 7  # zero shift, ln width, its growth, eta, thermal motion, second line of the doublet, scale
TYPICAL_B = 0.8  # square angstrom
MOST_SINE, MOST_THETA = 0.9995, 1.4  # lines beyond are out of reach; radians, limits the growth of the width

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """The part of the fit that depends on the pattern alone and is the same for all candidates.

    Attributes:
        grid: (n,) degrees.
        target: (n,) net intensities, broadened.
        weights: (n,) inverse standard deviations.
        broadening: degrees; full width at half maximum of the Gaussian with which the pattern was broadened.
        chebyshev: (n, 3) background polynomials.
    """

    grid: FloatArray
    target: FloatArray
    weights: FloatArray
    broadening: float
    chebyshev: FloatArray


@dataclass(frozen=True, eq=False)
class State:
    """Parameters of a fit.

    Attributes:
        values: strains (m,), then zero shift (degrees), ln width, growth of the width, eta, thermal motion (square
            angstrom), second line of the doublet, scale, and coefficients of the background polynomials (3,).
        cost: half the sum of squares, priors included.
        texture: (k,) factors of preferred orientation.
    """

    values: FloatArray
    texture: FloatArray
    cost: float = field(default=np.inf)

    @property
    def n_strains(self) -> int:
        return len(self.values) - SHAPE - N_BACKGROUND


@dataclass(frozen=True, eq=False)
class Model:
    """A profile and its parts.

    Attributes:
        profile: (n,) profile of the lines alone.
        polynomial: (n,) residual background.
        jacobian: (n, p) derivatives with respect to the parameters.
        places: (k,) positions of the first line of each doublet in degrees, zero shift included.
        areas: (k or 2 k,) areas of all lines; second lines of the doublets follow the first ones.
        lines: (n, k or 2 k) sparse profiles of lines of unit area.
    """

    profile: FloatArray
    polynomial: FloatArray
    jacobian: FloatArray
    places: FloatArray
    areas: FloatArray
    lines: csc_matrix


def make_window(pattern: Prepared, broadening: float) -> Window:
    """Return the pattern broadened by a Gaussian, on a grid coarse enough for the broadening.

    Args:
        broadening: full width at half maximum, degrees; 0 leaves the pattern sharp.
    """
    grid, target, noise = pattern.two_theta, pattern.net, pattern.noise
    if broadening > 0:
        from scipy.ndimage import gaussian_filter1d

        sigma = broadening / 2.3548 / pattern.step
        target = gaussian_filter1d(target, sigma, mode="constant")
        factor = max(1, int(np.hypot(broadening, pattern.width) / pattern.step / 6))
        grid, target, noise = grid[::factor], target[::factor], noise[::factor] / np.sqrt(sigma + 1)
    top = float(target.max())
    spread = np.sqrt(np.square(noise) + np.square(SYSTEMATIC * np.maximum(target, 0)) + (FLOOR * top) ** 2)
    even = np.linspace(-1, 1, len(grid))
    chebyshev = np.stack([np.ones_like(even), even, 2 * even**2 - 1], 1)
    return Window(grid, target, 1 / spread / np.sqrt(len(grid)), broadening, chebyshev)


def first_state(lines: Lines, strains: FloatArray, pattern: Prepared) -> State:
    """Return typical values, with the scale that fits the strongest line."""
    ratio = DOUBLET if pattern.radiation.second is not None else 0.0
    shape = [0.0, np.log(pattern.width), 0.0, 0.5, TYPICAL_B, ratio, pattern.width]
    return State(np.concatenate([strains, shape, np.zeros(N_BACKGROUND)]), np.ones(len(lines.strengths)))


def refine(lines: Lines, pattern: Prepared, window: Window, state: State, *, steps: int, sharp: bool) -> State:
    """Reduce the misfit, starting from a state.

    Args:
        steps: largest number of steps.
        sharp: whether to fit widths, shapes and thermal motion as well.
    """
    free = _free(state, pattern, sharp=sharp)
    prior_mean, prior_weight = _priors(state.n_strains, pattern)
    damping, values = 1e-3, _scaled(state, lines, pattern, window)

    def misfits(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        model = evaluate(lines, pattern, window, replace(state, values=values), shapes=sharp)
        misfit = (model.profile + model.polynomial - window.target) * window.weights
        residual = np.concatenate([misfit, (values - prior_mean) * prior_weight])
        return residual, np.concatenate([model.jacobian * window.weights[:, None], np.diag(prior_weight)])

    residual, jacobian = misfits(values)
    cost = 0.5 * float(residual @ residual)
    for _ in range(steps):
        active = jacobian[:, free]
        normal, gradient = active.T @ active, active.T @ residual
        trial = values.copy()
        trial[free] -= np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), gradient)
        trial = _bounded(trial, state.n_strains)
        new_residual, new_jacobian = misfits(trial)
        new_cost = 0.5 * float(new_residual @ new_residual)
        if new_cost < cost:
            gain = (cost - new_cost) / cost
            values, residual, jacobian, cost = trial, new_residual, new_jacobian, new_cost
            damping = max(damping / 5, 1e-7)
            if gain < 1e-3:
                break
        else:
            damping *= 10
            if damping > 1e4:
                break
    return replace(state, values=values, cost=cost)


def evaluate(lines: Lines, pattern: Prepared, window: Window, state: State, *, shapes: bool = True) -> Model:
    """Return the profile of a state and its derivatives.

    Args:
        shapes: whether to compute derivatives with respect to width and eta; they are zero otherwise.
    """
    placed = _placed(lines, pattern, window, state)
    m, scale = state.n_strains, state.values[state.n_strains + SHAPE - 1]
    tail = BROAD_TAIL if window.broadening else TAIL
    matrices = profile_matrices(
        window.grid, placed.places, placed.widths, placed.eta, tail=tail, shapes=shapes and not window.broadening
    )
    areas = scale * placed.units * placed.shares
    by_strain = matrices.by_place @ (areas[:, None] * placed.moves)
    by_zero = matrices.by_place @ areas
    by_shape = np.zeros((len(window.grid), 3))
    if matrices.by_width is not None and matrices.by_eta is not None:
        by_shape[:, :2] = matrices.by_width @ np.stack([areas, areas * placed.bends], 1)
        by_shape[:, 2] = matrices.by_eta @ areas
    by_thermal, by_second = -areas * placed.thermal, np.where(placed.second, scale * placed.units, 0.0)
    by_area = matrices.value @ np.stack([by_thermal, by_second, placed.units * placed.shares], 1)
    jacobian = np.column_stack([by_strain, by_zero, by_shape, by_area, window.chebyshev])
    polynomial = window.chebyshev @ state.values[m + SHAPE :]
    first = placed.places[~placed.second]
    return Model(scale * by_area[:, 2], polynomial, jacobian, first, areas, matrices.value)


class _Placed(NamedTuple):
    """Lines of a state; second lines of the doublets follow the first ones.

    Attributes:
        places: (n,) positions in degrees, zero shift included.
        widths: (n,) degrees.
        eta: Lorentzian fraction.
        units: (n,) areas without the scale and the doublet's ratio.
        shares: (n,) 1 for the first line of a doublet, the intensity ratio for the second.
        second: (n,) whether a line is the second of a doublet.
        bends: (n,) derivative of ln width with respect to the growth of the width.
        moves: (n, m) derivatives of the positions with respect to the strains, degrees.
        thermal: (n,) decrease of ln area per unit of thermal motion, 1/square angstrom.
    """

    places: FloatArray
    widths: FloatArray
    eta: float
    units: FloatArray
    shares: FloatArray
    second: NDArray[np.bool_]
    bends: FloatArray
    moves: FloatArray
    thermal: FloatArray


def _placed(lines: Lines, pattern: Prepared, window: Window, state: State) -> _Placed:
    zero, log_width, growth, eta, thermal, ratio, _ = state.values[state.n_strains :][:SHAPE]
    lengths, slopes = _lengths(lines, state.values[: state.n_strains])
    radiation = pattern.radiation
    waves = np.array([radiation.wavelength] if radiation.second is None else [radiation.wavelength, radiation.second])
    sines = np.outer(waves, lengths).ravel() / 2
    theta = np.arcsin(np.minimum(sines, MOST_SINE))
    length, n = np.tile(lengths, len(waves)), len(waves)
    second = np.arange(len(theta)) >= len(lengths)
    middle = np.tan(np.radians((window.grid[0] + window.grid[-1]) / 4))
    bends = np.tan(np.minimum(theta, MOST_THETA)) - middle
    own = np.exp(np.clip(log_width + growth * bends, np.log(pattern.step), np.log(40 * pattern.width)))
    widths = np.hypot(own, window.broadening)
    heights = lines.strengths * lorentz_polarisation(theta[: len(lengths)], radiation) * state.texture
    units = np.tile(heights / max(float(heights.max(initial=0)), 1e-300), n) * (sines < MOST_SINE)
    return _Placed(
        places=np.degrees(2 * theta) + zero,
        widths=widths,
        eta=float(np.mean(eta * own / widths)) if len(widths) else float(eta),
        units=units * np.exp(-thermal * np.square(length) / 2),
        shares=np.where(second, ratio, 1.0),
        second=second,
        bends=bends,
        moves=-np.degrees(2 * np.tan(theta))[:, None] * np.tile(slopes, (n, 1)),
        thermal=np.square(length) / 2,
    )


def _lengths(lines: Lines, strains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return 1 / d of each family in the strained cell, and the derivatives of ln d with respect to the strains."""
    inverse = np.linalg.inv(np.eye(3) + np.tensordot(strains, lines.strains, 1))
    vectors = lines.vectors @ inverse  # the strain is symmetric
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / lengths[:, None]
    # d g / d e = -g E (1 + e)^-1
    slopes = np.einsum("ki,mij,jl,kl->km", unit, lines.strains, inverse, unit, optimize=True)
    return lengths, slopes


def _scaled(state: State, lines: Lines, pattern: Prepared, window: Window) -> FloatArray:
    """Return the parameters with the least-squares scale."""
    values, place = state.values.copy(), state.n_strains + SHAPE - 1
    model = evaluate(lines, pattern, window, state, shapes=False)
    unit = model.profile / max(values[place], 1e-12) * window.weights
    rest = (window.target - model.polynomial) * window.weights
    values[place] = max(float(unit @ rest) / max(float(unit @ unit), 1e-12), 1e-4)
    return values


def _free(state: State, pattern: Prepared, *, sharp: bool) -> NDArray[np.int64]:
    m = state.n_strains
    places = [*range(m), m, m + SHAPE - 1, *range(m + SHAPE, len(state.values))]
    if sharp:
        places += [m + 1, m + 2, m + 3, m + 4]
        if pattern.radiation.second is not None:
            places.append(m + 5)
    return np.array(sorted(places))


def _priors(n_strains: int, pattern: Prepared) -> tuple[FloatArray, FloatArray]:
    """Return typical values of the parameters and inverse standard deviations, weak because residuals are per point."""
    ratio = DOUBLET if pattern.radiation.second is not None else 0.0
    mean = [*[0.0] * n_strains, 0.0, np.log(pattern.width), 0.0, 0.5, TYPICAL_B, ratio, 0.0, *[0.0] * N_BACKGROUND]
    spread = [*[0.1] * n_strains, 0.3, 1.0, 1.0, 0.5, 2.0, 0.3, 1e6, *[0.3] * N_BACKGROUND]
    return np.array(mean), 0.3 / np.array(spread)


def _bounded(values: FloatArray, n_strains: int) -> FloatArray:
    lower = np.array([*[-0.12] * n_strains, -1.0, -8.0, -2.0, 0.0, -2.0, 0.0, 1e-5, *[-1.0] * N_BACKGROUND])
    upper = np.array([*[0.12] * n_strains, 1.0, 3.0, 3.0, 1.0, 8.0, 0.8, 1e4, *[1.0] * N_BACKGROUND])
    return np.clip(values, lower, upper)
