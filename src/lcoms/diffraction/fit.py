"""Fit a crystal to a powder pattern: from several start cells, with broad lines first and then sharp ones.

The best fit is kept. Atoms keep their fractional coordinates; the cell is strained only as the symmetry allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.diffraction.coarse import Spectrum, cell_starts, spectrum
from lcoms.diffraction.distortion import strained_cell, strained_point_groups
from lcoms.diffraction.free import free_profile
from lcoms.diffraction.lines import Lines, allowed_strains, find_lines
from lcoms.diffraction.prepare import Peak, Prepared, prepare
from lcoms.diffraction.reading import PowderPattern
from lcoms.diffraction.refine import Model, State, Window, evaluate, first_state, make_window, refine
from lcoms.diffraction.scattering import scattering_factors
from lcoms.diffraction.texture import fitted_texture
from lcoms.diffraction.weights import PatternWeights, load_pattern_weights
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import PrimitiveStandard, primitive_standard

STRONG = 0.1  # of the strongest line
EXPLAINED = 0.2  # a line is explained where the fit reaches this fraction of its height
MARGIN = 1.06  # lines are computed this far beyond the pattern so that no strain can move others in
COARSE_MISFIT = 0.005  # relative error of the cell that broad lines must bridge
N_STARTS = 3
HOPEFUL = 1.5  # times the lowest cost with broad lines, up to which a second cell is refined with sharp lines
FAR, N_FAR = (
    0.14,
    5,
)  # largest strain from which a cubic crystal is fitted in a cell of lower symmetry, and their number
COSINE_WIDTHS = 2.0  # broadening of both patterns for the cosine, in line widths


@dataclass(frozen=True, eq=False)
class Tick:
    """Position of a line of the fitted crystal.

    Attributes:
        two_theta: degrees, zero shift included.
        planes: Miller indices in the conventional cell.
        intensity: relative to the strongest line (100).
    """

    two_theta: float
    planes: tuple[int, int, int]
    intensity: float


@dataclass(frozen=True, eq=False)
class PatternFit:
    """How well a crystal fits a pattern.

    Attributes:
        crystal: primitive cell with the fitted lattice.
        rwp: weighted profile R factor, with background counts included in the denominator; 0 is perfect.
        rwp_net: the same relative to the counts above the background; candidates are compared by it.
        rwp_noise: value of `rwp_net` that the noise alone would give.
        rwp_free: value of `rwp_net` with the same lines at the intensities that fit best, whatever the atoms.
        n_lines: number of lines whose intensities the pattern resolves.
        cosine: cosine similarity between the square roots of both broadened patterns, which preferred orientation
            changes little; 1 is perfect.
        zero_shift: degrees.
        width: full width at half maximum in the middle of the pattern, degrees.
        scale_change: relative change of the volume in the fit.
        strain: norm of the change of the cell's shape at constant volume.
        n_cell: number of cell parameters that the symmetry leaves free.
        texture: March-Dollase coefficient; 1 is no preferred orientation.
        texture_axis: direction of preferred orientation in the conventional cell; None where there is none.
        thermal: overall B in square angstrom.
        two_theta: (n,) degrees.
        observed: (n,) counts, background included.
        profile: (n,) fitted counts, background included.
        background: (n,) counts.
        ticks: positions of the crystal's lines.
        unexplained: strong lines of the pattern that the crystal does not have.
        absent: fraction of the crystal's intensity where the pattern has none.
        weights: weights of its features.
    """

    crystal: Crystal
    rwp: float
    rwp_net: float
    rwp_noise: float
    rwp_free: float
    n_lines: int
    cosine: float
    zero_shift: float
    width: float
    scale_change: float
    strain: float
    n_cell: int
    texture: float
    texture_axis: tuple[int, int, int] | None
    thermal: float
    two_theta: NDArray[np.float64]
    observed: NDArray[np.float64]
    profile: NDArray[np.float64]
    background: NDArray[np.float64]
    ticks: tuple[Tick, ...]
    unexplained: tuple[Peak, ...]
    absent: float
    weights: PatternWeights


class PatternFitter:
    """Fits many crystals to one pattern, which is prepared once.

    Args:
        weights: weights of the features of the fits; None: those that ship with the package.

    Raises:
        FileFormatError: no line stands out from the noise.
    """

    def __init__(self, pattern: PowderPattern, weights: PatternWeights | None = None) -> None:
        self.pattern = prepare(pattern)
        self.weights = load_pattern_weights() if weights is None else weights
        self._spectrum: Spectrum = spectrum(self.pattern)
        end = np.radians(0.4 * self.pattern.two_theta[-1])
        offset = float(np.degrees(2 * np.tan(end) * COARSE_MISFIT))
        broad = [width for width in (2.5 * offset, 0.8 * offset) if width > 0.7 * self.pattern.width]
        self._broad = [make_window(self.pattern, width) for width in broad]
        self._sharp = make_window(self.pattern, 0.0)
        self._known: WeakKeyDictionary[Crystal, dict[float, PatternFit]] = WeakKeyDictionary()
        self._distorted: WeakKeyDictionary[Crystal, dict[float, list[PatternFit]]] = WeakKeyDictionary()

    def check(self, composition: Composition) -> None:
        """Check that patterns of a composition can be calculated.

        Raises:
            FormulaError: an element has no tabulated scattering factor.
        """
        try:
            scattering_factors(composition.atomic_numbers, self.pattern.radiation, np.zeros(1))
        except ConfigError as error:
            raise FormulaError(f"{error} The pattern cannot be fitted; predict without it.") from error

    def screen(self, crystal: Crystal, *, symprec: float = 0.01) -> float:
        """Return the cosine with broad lines for the best cell; at 0.01 s it shows which crystals are worth a fit.

        Raises:
            ConfigError: an element has no tabulated scattering factor, or the cell has too many planes.
        """
        return self._screen(crystal, symprec)

    def fit(self, crystal: Crystal, *, symprec: float = 0.01) -> PatternFit:
        """Fit one crystal; the result is cached for the lifetime of the crystal.

        Args:
            symprec: angstrom; tolerance of the symmetry that the cell keeps.

        Raises:
            ConfigError: an element has no tabulated scattering factor, or the cell has too many planes.
        """
        known = self._known.setdefault(crystal, {})
        if symprec not in known:
            known[symprec] = self._fit(primitive_standard(crystal, symprec=symprec))
        return known[symprec]

    def fit_distorted(self, crystal: Crystal, *, symprec: float = 0.01) -> list[PatternFit]:
        """Fit one crystal in cells of lower symmetry, one fit for each of `strained_point_groups`; cached as `fit`.

        A cubic crystal is first strained by up to `FAR`, as the pattern asks: many tetragonal ones are far from cubic.

        Raises:
            ConfigError: an element has no tabulated scattering factor, or the cell has too many planes.
        """
        known = self._distorted.setdefault(crystal, {})
        if symprec not in known:
            cell = primitive_standard(crystal, symprec=symprec)
            groups = strained_point_groups(cell.rotations)
            known[symprec] = [self._fit(self._near(replace(cell, rotations=group))) for group in groups]
        return known[symprec]

    def _near(self, cell: PrimitiveStandard) -> PrimitiveStandard:
        """Return the cell strained so that its lines with any further strain agree best; unchanged for 3 strains."""
        _, *others = allowed_strains(cell.crystal.lattice, cell.rotations)
        if len(others) != 1:
            return cell
        tried = [strained_cell(cell, amount * others[0]) for amount in np.linspace(-FAR, FAR, N_FAR)]
        return max(tried, key=self._screen)

    def _screen(self, cell: Crystal | PrimitiveStandard, symprec: float = 0.01) -> float:
        lines = find_lines(cell, self.pattern.radiation, MARGIN * self.pattern.reach, symprec=symprec)
        return cell_starts(lines, self.pattern, self._spectrum, n=1)[0].cosine if len(lines.strengths) else 0.0

    def _fit(self, cell: PrimitiveStandard) -> PatternFit:
        lines = find_lines(cell, self.pattern.radiation, MARGIN * self.pattern.reach)
        if not len(lines.strengths):
            return self._result(lines, first_state(lines, np.zeros(len(lines.strains)), self.pattern), 1.0, None)
        starts = cell_starts(lines, self.pattern, self._spectrum, n=N_STARTS)
        states = [first_state(lines, start.strains, self.pattern) for start in starts]
        for at, window in enumerate(self._broad):
            states = [refine(lines, self.pattern, window, state, steps=8, sharp=False) for state in states]
            if not at:  # a strongly textured pattern leads all starts to wrong cells
                states = [self._textured(lines, window, state) for state in states]
            states = sorted(states, key=lambda state: state.cost)[:2]
        states = [state for state in states if state.cost <= HOPEFUL * states[0].cost]
        states = [refine(lines, self.pattern, self._sharp, state, steps=4, sharp=False) for state in states]
        best = min(states, key=lambda state: state.cost)
        best = refine(lines, self.pattern, self._sharp, best, steps=10, sharp=True)
        textured = bool((best.texture != 1).any())
        best, coefficient, axis = fitted_texture(lines, self.pattern, self._sharp, best)
        if textured or axis is not None:
            best = refine(lines, self.pattern, self._sharp, best, steps=6, sharp=True)
        return self._result(lines, best, coefficient, axis)

    def _textured(self, lines: Lines, window: Window, state: State) -> State:
        """Return the state refined with preferred orientation, if the pattern indicates any."""
        found, _, axis = fitted_texture(lines, self.pattern, window, state)
        return state if axis is None else refine(lines, self.pattern, window, found, steps=4, sharp=False)

    def fit_all(self, crystals: Sequence[Crystal], *, symprec: float = 0.01) -> list[PatternFit]:
        """Return the fits of several crystals, in their order."""
        return [self.fit(crystal, symprec=symprec) for crystal in crystals]

    def _result(self, lines: Lines, state: State, coefficient: float, axis: tuple[int, int, int] | None) -> PatternFit:
        pattern, m = self.pattern, state.n_strains
        model = evaluate(lines, pattern, self._sharp, state, shapes=False)
        fitted = lines.strained(state.values[:m])
        background = pattern.background + model.polynomial
        observed, profile = pattern.net + pattern.background, model.profile + background
        net, noise = pattern.net - model.polynomial, pattern.noise
        volumes = fitted.volume / lines.crystal.volume
        unit = pattern.unit
        return PatternFit(
            crystal=fitted,
            rwp=_rwp(observed - profile, observed, noise),
            rwp_net=_rwp(net - model.profile, net, noise),
            rwp_noise=_rwp(noise, net, noise),
            rwp_free=_rwp(net - free_profile(model, net, noise), net, noise),
            n_lines=_n_lines(pattern, model),
            cosine=_cosine(pattern, model),
            zero_shift=float(state.values[m]),
            width=float(np.exp(state.values[m + 1])),
            scale_change=float(volumes - 1),
            strain=float(np.linalg.norm(state.values[1:m])),
            n_cell=m,
            texture=coefficient,
            texture_axis=axis,
            thermal=float(state.values[m + 4]),
            two_theta=pattern.two_theta,
            observed=observed * unit,
            profile=profile * unit,
            background=background * unit,
            ticks=_ticks(lines, model, self._sharp),
            unexplained=_unexplained(pattern, model),
            absent=_absent(pattern, model),
            weights=self.weights,
        )


def fit_pattern(crystal: Crystal, pattern: PowderPattern, *, symprec: float = 0.01) -> PatternFit:
    """Fit one crystal to one pattern; for many crystals `PatternFitter` is faster."""
    return PatternFitter(pattern).fit(crystal, symprec=symprec)


def _rwp(misfit: NDArray[np.float64], base: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Return sqrt(sum w misfit^2 / sum w base^2) with w = 1 / noise^2 (Young 1993); 1 where there is nothing to fit."""
    whole = float(np.square(base / noise).sum())
    return float(np.sqrt(np.square(misfit / noise).sum() / whole)) if whole > 0 else 1.0


def _cosine(pattern: Prepared, model: Model) -> float:
    from scipy.ndimage import gaussian_filter1d

    sigma = COSINE_WIDTHS * pattern.width / 2.3548 / pattern.step
    target = np.maximum(pattern.net - model.polynomial, 0)
    first, second = (np.sqrt(np.maximum(gaussian_filter1d(y, sigma), 0)) for y in (target, model.profile))
    floor = np.sqrt(gaussian_filter1d(np.maximum(pattern.noise, 0), sigma)) * 0.5
    first = np.maximum(first - floor, 0)
    second = np.maximum(second - floor, 0)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def _ticks(lines: Lines, model: Model, window: Window) -> tuple[Tick, ...]:
    areas = model.areas[: len(model.places)]
    strongest = max(float(areas.max(initial=0)), 1e-300)
    inside = (model.places >= window.grid[0]) & (model.places <= window.grid[-1])
    return tuple(
        Tick(float(model.places[at]), lines.indices(at), float(100 * areas[at] / strongest))
        for at in np.flatnonzero(inside).tolist()
    )


def _unexplained(pattern: Prepared, model: Model) -> tuple[Peak, ...]:
    reach = max(1, int(0.7 * pattern.width / pattern.step))
    missing = []
    for peak in pattern.peaks:
        place = round((peak.two_theta - pattern.two_theta[0]) / pattern.step)
        around = model.profile[max(0, place - reach) : place + reach + 1]
        if peak.height >= STRONG and float(around.max(initial=0)) < EXPLAINED * peak.height:
            missing.append(peak)
    return tuple(missing)


def _n_lines(pattern: Prepared, model: Model) -> int:
    x = pattern.two_theta
    inside = int(((model.places >= x[0]) & (model.places <= x[-1])).sum())
    return min(inside, int(np.ptp(x) / pattern.width))


def _absent(pattern: Prepared, model: Model) -> float:
    """Return the fraction of the fitted lines' area that exceeds the pattern by more than twice the noise."""
    over = np.maximum(model.profile - np.maximum(pattern.net - model.polynomial, 0) - 2 * pattern.noise, 0)
    return float(over.sum() / max(float(model.profile.sum()), 1e-12))
