"""From fits to probabilities: which of several crystals gave the pattern, and whether any of them did.

Log-likelihood and log-odds are linear in the features of a fit, with the weights that the fit was made with
(`lcoms.diffraction.weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.fit import PatternFit
from lcoms.diffraction.weights import Features

LEAST, LEAST_ANGLE, LEAST_ABSENT = 0.02, 1e-3, 3e-3  # floors of logarithms: better fits are not told apart
MOST_NAMED = 6  # lines


def features(fit: PatternFit) -> Features:
    """Return the features of a fit."""
    absorbed = fit.rwp_noise**2 * fit.n_lines / len(fit.two_theta)
    return Features(
        misfit=_excess(fit.rwp_net, fit.rwp_noise),
        angle=log(max(1 - fit.cosine, LEAST_ANGLE)),
        unexplained=sum(peak.height for peak in fit.unexplained),
        absent=log(fit.absent + LEAST_ABSENT),
        volume=abs(fit.scale_change),
        shape=fit.strain,
        texture=abs(log(fit.texture)),
        positions=_excess(fit.rwp_free, fit.rwp_noise),
        intensities=_excess(fit.rwp_net, sqrt(fit.rwp_free**2 + absorbed)),
    )


def log_likelihood(fit: PatternFit) -> float:
    """Return the log-likelihood of the pattern given the crystal, up to a constant of the pattern.

    It can be added to logarithms of other probabilities, such as those of energies and prototypes.
    """
    return features(fit).dot(fit.weights.likelihood)


def pattern_probabilities(fits: Sequence[PatternFit]) -> NDArray[np.float64]:
    """Return the probabilities (n,) of the crystals from the pattern alone, provided that one of them is correct."""
    logs = np.array([log_likelihood(fit) for fit in fits])
    shares = np.exp(logs - logs.max()) if len(logs) else logs
    return np.asarray(shares / shares.sum())


def explained_probability(fit: PatternFit) -> float:
    """Return the probability that this crystal gave the pattern, regardless of other candidates."""
    odds = fit.weights.intercept + features(fit).dot(fit.weights.explained)
    return 1 / (1 + exp(-min(max(odds, -50.0), 50.0)))


def explains(fit: PatternFit) -> bool:
    """Return whether the crystal explains the pattern."""
    return explained_probability(fit) >= fit.weights.least


def explained(fits: Sequence[PatternFit]) -> bool:
    """Return whether the most likely crystal explains the pattern."""
    return bool(fits) and explains(max(fits, key=log_likelihood))


def verdict(fits: Sequence[PatternFit]) -> str:
    """Return a sentence if no crystal explains the pattern or the best leaves strong lines unexplained, else empty."""
    if not fits:
        return "There is no crystal to compare with the pattern."
    best = max(fits, key=log_likelihood)
    n = len(best.unexplained)
    lines = f"{n} strong line{'s' if n > 1 else ''} unexplained"
    angles = ", ".join(f"{peak.two_theta:.2f}" for peak in best.unexplained[:MOST_NAMED])
    where = f" (at {angles}{', ...' if n > MOST_NAMED else ''} degrees)"
    if not explains(best):
        return f"No crystal explains the pattern: {lines + where if n else f'Rwp {best.rwp:.2f} at best'}."
    return f"The most probable crystal leaves {lines}{where}: an impurity?" if n else ""


def _excess(misfit: float, noise: float) -> float:
    return log(max(misfit**2 - noise**2, LEAST**2)) / 2
