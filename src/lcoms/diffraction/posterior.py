"""From fits to probabilities: which of several crystals gave the pattern, and whether any of them did.

Both are linear in the features of a fit; the weights stand in `pattern_weights.json`, fitted by
`benchmarks/pattern_weights.py` to simulated patterns of training compositions and some measured ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.fit import PatternFit

LEAST, LEAST_ANGLE, LEAST_ABSENT = 0.02, 1e-3, 3e-3  # of what logarithms are taken of: better fits are all alike
MOST_NAMED = 6  # lines
LIKELY = 0.5  # probability from which on a pattern counts as explained


class Features(NamedTuple):
    """What of a fit tells whether the crystal is right.

    Attributes:
        misfit: ln of Rwp beyond that of the noise, background left out.
        angle: ln of 1 - cosine.
        unexplained: heights of strong lines that the crystal lacks, in units of the strongest.
        absent: ln of the share of the crystal's intensity where the pattern has nothing.
        volume: change of the volume by the fit, relative, without a sign.
        shape: norm of the change of the cell's shape.
        texture: size of the logarithm of the March-Dollase coefficient.
    """

    misfit: float
    angle: float
    unexplained: float
    absent: float = 0.0
    volume: float = 0.0
    shape: float = 0.0
    texture: float = 0.0


@dataclass(frozen=True)
class PatternWeights:
    """Weights of the features.

    Attributes:
        likelihood: of the logarithm of the likelihood, up to a constant of the pattern.
        explained: of the log-odds that the crystal explains the pattern.
        intercept: of these.
    """

    likelihood: Features
    explained: Features
    intercept: float


def features(fit: PatternFit) -> Features:
    """Those of a fit."""
    return Features(
        misfit=_excess(fit.rwp_net, fit.rwp_noise),
        angle=log(max(1 - fit.cosine, LEAST_ANGLE)),
        unexplained=sum(peak.height for peak in fit.unexplained),
        absent=log(fit.absent + LEAST_ABSENT),
        volume=abs(fit.scale_change),
        shape=fit.strain,
        texture=abs(log(fit.texture)),
    )


@cache
def pattern_weights() -> PatternWeights:
    """Those in the package."""
    table = json.loads(files("lcoms.diffraction").joinpath("pattern_weights.json").read_text())
    return PatternWeights(Features(**table["likelihood"]), Features(**table["explained"]), table["intercept"])


def log_likelihood(fit: PatternFit, weights: PatternWeights | None = None) -> float:
    """Logarithm of how likely the pattern is if the crystal is right, up to a constant of the pattern.

    It can be added to logarithms of other probabilities, such as those of energies and prototypes.
    """
    return _dot((weights or pattern_weights()).likelihood, features(fit))


def pattern_probabilities(fits: Sequence[PatternFit]) -> NDArray[np.float64]:
    """Probabilities (n,) of the crystals by the pattern alone, if one of them is right."""
    logs = np.array([log_likelihood(fit) for fit in fits])
    shares = np.exp(logs - logs.max()) if len(logs) else logs
    return np.asarray(shares / shares.sum())


def explained_probability(fit: PatternFit, weights: PatternWeights | None = None) -> float:
    """How probably this crystal is what gave the pattern, whatever others there are."""
    chosen = weights or pattern_weights()
    odds = chosen.intercept + _dot(chosen.explained, features(fit))
    return 1 / (1 + exp(-min(max(odds, -50.0), 50.0)))


def explained(fits: Sequence[PatternFit]) -> bool:
    """Whether the likeliest crystal explains the pattern."""
    return bool(fits) and explained_probability(max(fits, key=log_likelihood)) >= LIKELY


def verdict(fits: Sequence[PatternFit]) -> str:
    """A sentence where no crystal explains the pattern, or where the likeliest leaves strong lines; else empty."""
    if not fits:
        return "There is no crystal to compare with the pattern."
    best = max(fits, key=log_likelihood)
    n = len(best.unexplained)
    lines = f"{n} strong line{'s' if n > 1 else ''} unexplained"
    angles = ", ".join(f"{peak.two_theta:.2f}" for peak in best.unexplained[:MOST_NAMED])
    where = f" (at {angles}{', ...' if n > MOST_NAMED else ''} degrees)"
    if not explained(fits):
        return f"No crystal explains the pattern: {lines + where if n else f'Rwp {best.rwp:.2f} at best'}."
    return f"The likeliest crystal leaves {lines}{where}: an impurity?" if n else ""


def _excess(misfit: float, noise: float) -> float:
    return log(max(misfit**2 - noise**2, LEAST**2)) / 2


def _dot(weights: Features, values: Features) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))
