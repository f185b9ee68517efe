"""Preparation of a measured pattern for fits: even steps, background, noise, line width and visible lines."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import Radiation
from lcoms.diffraction.reading import LEAST_POINTS, PowderPattern

STEPS_PER_WIDTH = 5.0  # enough points over the full width at half maximum
MOST_POINTS = 5000
KNOTS = 30  # of the background spline
SMOOTHNESS = 10.0  # lambda of the background's penalised spline (pybaselines)
STANDS_OUT = 6.0  # times the noise: least prominence of a line
WEAKEST_PEAK = 0.02  # of the strongest
BEYOND = 1.05  # of 1 / d of the last line that stands out; high angles where none does are not fitted
MOST_REACH = 1.15  # 1/angstrom; lines of smaller spacings take time and add little information


@dataclass(frozen=True, eq=False)
class Peak:
    """A line that stands out in the measured pattern.

    Attributes:
        two_theta: degrees.
        height: relative to the strongest line (1).
    """

    two_theta: float
    height: float


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pattern on an even grid; intensities are in units of the strongest line's height.

    Attributes:
        two_theta: (n,) degrees, evenly spaced.
        net: (n,) background-subtracted intensities.
        background: (n,) background intensities.
        noise: (n,) standard deviation estimated from the scatter between neighbouring points.
        unit: counts of the strongest line.
        width: full width at half maximum of typical lines, degrees.
        peaks: lines that stand out from the noise, by angle.
    """

    radiation: Radiation
    two_theta: NDArray[np.float64]
    net: NDArray[np.float64]
    background: NDArray[np.float64]
    noise: NDArray[np.float64]
    unit: float
    width: float
    peaks: tuple[Peak, ...]
    name: str

    @property
    def step(self) -> float:
        """Step of the grid in degrees."""
        return float(self.two_theta[1] - self.two_theta[0])

    @property
    def reach(self) -> float:
        """Largest 1 / d in the pattern, 1/angstrom."""
        return 2 * float(np.sin(np.radians(self.two_theta[-1] / 2))) / self.radiation.mean


def prepare(pattern: PowderPattern) -> Prepared:
    """Fit the background by penalised splines (pspline_arpls of pybaselines), then estimate noise, width and lines.

    Raises:
        FileFormatError: no line stands out from the noise.
    """
    sine = min(1.0, MOST_REACH * pattern.radiation.mean / 2)
    inside = np.sin(np.radians(pattern.two_theta / 2)) <= sine
    x, y = pattern.two_theta[inside], pattern.counts[inside]
    if len(x) < LEAST_POINTS:
        raise FileFormatError(
            f"{pattern.name}: with {pattern.radiation.name} nearly all spacings are below "
            f"{1 / MOST_REACH:.2f} angstrom; is the wavelength right?"
        )
    x, y = _even(x, y, float(np.median(np.diff(x))))
    width = _width(x, y - _background(x, y), _scatter(y))
    coarse = max(width / STEPS_PER_WIDTH, float(np.ptp(x)) / MOST_POINTS)
    factor = int(coarse / (x[1] - x[0]))
    if factor > 1:
        n = len(x) // factor * factor
        x, y = x[:n].reshape(-1, factor).mean(1), y[:n].reshape(-1, factor).mean(1)
    background = _background(x, y)
    net = y - background
    noise = _noise(y)
    found = _peaks(net, noise)
    if not len(found):
        raise FileFormatError(f"{pattern.name}: no reflection rises above the noise; this is not a powder pattern.")
    unit = float(net[found].max())
    peaks = tuple(Peak(float(x[i]), float(net[i] / unit)) for i in found if net[i] > WEAKEST_PEAK * unit)
    n = int((np.sin(np.radians(x / 2)) <= BEYOND * np.sin(np.radians(peaks[-1].two_theta / 2))).sum())
    x, net, background, noise = x[:n], net[:n], background[:n], noise[:n]
    return Prepared(pattern.radiation, x, net / unit, background / unit, noise / unit, unit, width, peaks, pattern.name)


def _even(
    x: NDArray[np.float64], y: NDArray[np.float64], step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate to even steps."""
    step = max(step, float(np.ptp(x)) / (4 * MOST_POINTS))
    even = np.arange(x[0], x[-1] + step / 2, step)
    return even, np.interp(even, x, y)


def _background(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    from pybaselines import Baseline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        knots = min(KNOTS, len(x) // 4)
        return np.asarray(Baseline(x).pspline_arpls(y, lam=SMOOTHNESS, num_knots=knots)[0], dtype=np.float64)


def _scatter(y: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(np.diff(y, 2)))) / (0.6745 * np.sqrt(6)) + 1e-4 * float(np.ptp(y))


def _noise(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return noise that grows with the square root of the counts and equals the scatter at their median."""
    level = max(float(np.median(y)), 1e-3 * float(y.max()))
    return _scatter(y) * np.sqrt(np.maximum(y, level) / level)


def _peaks(net: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.int64]:
    from scipy.signal import find_peaks

    smooth = np.convolve(net, np.ones(3) / 3, mode="same")
    found, _ = find_peaks(smooth, height=3 * noise, prominence=STANDS_OUT * noise / np.sqrt(3), distance=3)
    return np.asarray(found, dtype=np.int64)


def _width(x: NDArray[np.float64], net: NDArray[np.float64], scatter: float) -> float:
    """Return the median full width at half maximum of the strongest lines, degrees."""
    from scipy.signal import find_peaks, peak_widths

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, facts = find_peaks(net, prominence=max(5 * scatter, 0.04 * float(net.max())))
        strongest = found[np.argsort(-facts["prominences"])[:10]]
        widths = peak_widths(net, strongest)[0]
    step = float(x[1] - x[0])
    return float(max(np.median(widths), 1.5)) * step if len(widths) else 5 * step
