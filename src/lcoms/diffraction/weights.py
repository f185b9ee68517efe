"""The weights of the features of a fit, in `pattern_weights.json` of the weights.

`benchmarks/pattern_weights.py` fits them to simulated patterns of training compositions and several measured ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from lcoms.core.fitted import SHIPPED, fitted_file, read_fitted

PATTERN_FILE = "pattern_weights.json"
FORMAT = 2


class Features(NamedTuple):
    """Features of a fit that indicate whether the crystal is correct.

    Attributes:
        misfit: ln of the background-subtracted Rwp in excess of the noise level.
        angle: ln of 1 - cosine.
        unexplained: summed height of strong lines that the crystal lacks, in units of the strongest line.
        absent: ln of the fraction of the crystal's intensity where the pattern has none.
        volume: absolute relative change of the volume in the fit.
        shape: norm of the change of the cell's shape.
        texture: absolute logarithm of the March-Dollase coefficient.
        positions: ln of the background-subtracted Rwp in excess of the noise level if all intensities were free.
        intensities: ln of the Rwp in excess of that with free intensities and of the noise that these absorb.
    """

    misfit: float
    angle: float
    unexplained: float
    absent: float = 0.0
    volume: float = 0.0
    shape: float = 0.0
    texture: float = 0.0
    positions: float = 0.0
    intensities: float = 0.0

    def dot(self, other: Features) -> float:
        """Return the sum of the products of both."""
        return sum(one * weight for one, weight in zip(self, other, strict=True))


@dataclass(frozen=True)
class PatternWeights:
    """Weights of the features.

    Attributes:
        likelihood: weights of the log-likelihood, which is known up to a constant of the pattern.
        explained: weights of the log-odds that the crystal explains the pattern.
        intercept: intercept of these log-odds.
        least: probability from which a crystal explains the pattern.
    """

    likelihood: Features
    explained: Features
    intercept: float
    least: float


def load_pattern_weights(folder: Path = SHIPPED) -> PatternWeights:
    """Return the weights in a folder of weights; those that ship with the package if it has none.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    remedy = "fit it again with benchmarks/pattern_weights.py, or take it out of the folder"
    return read_fitted(fitted_file(folder, PATTERN_FILE), _weights, version=FORMAT, remedy=remedy)


def _weights(content: Mapping[str, Any]) -> PatternWeights:
    likelihood, explained = (_features(content[name]) for name in ("likelihood", "explained"))
    least = _finite(content["least"])
    if not 0 < least < 1:
        raise ValueError(f"{least} is not a probability between 0 and 1")
    return PatternWeights(likelihood, explained, _finite(content["intercept"]), least)


def _features(values: Mapping[str, float]) -> Features:
    return Features(**{name: _finite(value) for name, value in values.items()})


def _finite(value: float) -> float:
    if isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return float(value)
