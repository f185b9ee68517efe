"""Simulated powder patterns of a crystal: its lines, and whole measurements with noise and other disturbances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.lines import find_lines, lorentz_polarisation
from lcoms.diffraction.profile import profile_matrices
from lcoms.diffraction.radiation import DOUBLET, Radiation, read_radiation
from lcoms.diffraction.reading import PowderPattern
from lcoms.diffraction.texture import march_dollase
from lcoms.structure.crystal import Crystal

RADIATION = "CuKa"
ANGLES = (5.0, 90.0)  # degrees of two theta
WEAKEST = 0.2  # of 100; weaker lines are left out
ONE_LINE = 1e-4  # degrees; families closer than this are one line


class Line(NamedTuple):
    """A line of the pattern.

    Attributes:
        two_theta: degrees.
        intensity: relative to the strongest line (100).
        spacing: angstrom, of the lattice planes.
        planes: Miller indices of one plane of each overlapping family in the conventional cell, such as "(1 1 1)".
    """

    two_theta: float
    intensity: float
    spacing: float
    planes: str


def powder_pattern(
    crystal: Crystal, radiation: Radiation | None = None, *, angles: tuple[float, float] = ANGLES
) -> list[Line]:
    """Return the lines by angle, without thermal motion, at the mean wavelength of the radiation.

    Args:
        radiation: None is copper K-alpha.
        angles: first and last two theta, degrees.

    Raises:
        ConfigError: an element has no tabulated scattering factor.
    """
    radiation = radiation or read_radiation(RADIATION)
    lines = find_lines(crystal, radiation, 2 * float(np.sin(np.radians(angles[1] / 2))) / radiation.mean)
    theta = np.arcsin(lines.lengths * radiation.mean / 2)
    heights = lines.strengths * lorentz_polarisation(theta, radiation)
    found: list[Line] = []
    for angle, height, length, planes in zip(
        np.degrees(2 * theta), heights, lines.lengths, lines.planes.tolist(), strict=True
    ):
        name = "(" + " ".join(map(str, planes)) + ")"
        if found and angle - found[-1].two_theta < ONE_LINE:
            last = found[-1]
            found[-1] = last._replace(intensity=last.intensity + height, planes=f"{last.planes}, {name}")
        elif angle >= angles[0]:
            found.append(Line(float(angle), float(height), float(1 / length), name))
    strongest = max((line.intensity for line in found), default=1.0)
    scaled = [line._replace(intensity=100 * line.intensity / strongest) for line in found]
    return [line for line in scaled if line.intensity >= WEAKEST]


@dataclass(frozen=True)
class Measurement:
    """Settings and disturbances of a simulated measurement.

    Attributes:
        first, last, step: degrees of two theta.
        width: full width at half maximum in the middle, degrees.
        eta: Lorentzian fraction of the lines.
        counts: counts of the strongest line.
        background: counts of the background relative to those of the strongest line; half of it is a hump.
        zero_shift: degrees.
        thermal: overall B in square angstrom.
        texture: March-Dollase coefficient normal to the planes of the largest spacing; 1 is no preferred orientation.
        impurity: area of the impurity's lines relative to that of the crystal's lines.
    """

    first: float = 10.0
    last: float = 90.0
    step: float = 0.02
    width: float = 0.15
    eta: float = 0.5
    counts: float = 5000.0
    background: float = 0.05
    zero_shift: float = 0.0
    thermal: float = 0.8
    texture: float = 1.0
    impurity: float = 0.0


def measured_pattern(
    crystal: Crystal,
    radiation: Radiation,
    how: Measurement,
    random: np.random.Generator,
    *,
    impurity: Crystal | None = None,
) -> PowderPattern:
    """Return a pattern as a laboratory would measure it, with Poisson noise.

    Raises:
        ConfigError: an element has no tabulated scattering factor.
    """
    grid = np.arange(how.first, how.last + how.step / 2, how.step)
    profile = _profile(crystal, radiation, how, grid)
    if impurity is not None and how.impurity > 0:
        other = _profile(impurity, radiation, Measurement(**{**vars(how), "texture": 1.0}), grid)
        profile = profile + how.impurity * other * profile.sum() / max(float(other.sum()), 1e-300)
    signal = how.counts * profile / max(float(profile.max()), 1e-300)
    along = np.linspace(-1, 1, len(grid))
    hump = np.exp(-0.5 * np.square((along + random.uniform(-0.8, 0.2)) / 0.3))
    level = 0.5 * np.exp(-(along + 1) * random.uniform(0, 1.5)) + 0.5 * hump
    counts = random.poisson(signal + how.counts * how.background * level + 1).astype(np.float64)
    return PowderPattern(grid, counts, radiation, "simulated")


def _profile(
    crystal: Crystal, radiation: Radiation, how: Measurement, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    lines = find_lines(crystal, radiation, 2 * float(np.sin(np.radians(how.last / 2 + 1))) / radiation.wavelength)
    if not len(lines.strengths):
        return np.zeros_like(grid)
    waves = [(radiation.wavelength, 1.0)] + ([] if radiation.second is None else [(radiation.second, DOUBLET)])
    factors = march_dollase(lines, lines.vectors[0], np.array([how.texture]))[:, 0]
    strengths = lines.strengths * factors * np.exp(-how.thermal * np.square(lines.lengths) / 2)
    total = np.zeros_like(grid)
    for wave, share in waves:
        theta = np.arcsin(np.minimum(lines.lengths * wave / 2, 0.9999))
        areas = share * strengths * lorentz_polarisation(theta, radiation)
        widths = how.width * (0.7 + 0.6 * np.tan(theta) / np.tan(np.radians(how.last / 4)) / 2)
        matrices = profile_matrices(
            grid, np.degrees(2 * theta) + how.zero_shift, widths, how.eta, tail=15.0, shapes=False
        )
        total += matrices.value @ areas
    return total
