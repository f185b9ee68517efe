"""How likely the first candidate is the known ground state: logistic regression on what a ranked prediction shows.

Fitted on validation compositions, whose crystals neither the weights nor the starts have seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from lcoms.core.config import parse_json
from lcoms.core.disk import write_whole
from lcoms.core.errors import DataError, WeightsError
from lcoms.prediction.candidate import Candidate
from lcoms.prediction.scoring import LEAST_SUPPORT
from lcoms.structure.symmetry import space_group_order

CONFIDENCE_FILE = "confidence.json"
FORMAT = 3
WIDE_GAP = 0.1  # eV/atom of the score; wider ones say no more
CLOSE = 0.03  # eV/atom of the score; candidates within it of the first are rivals
FAR_LATENT = 6.0  # latent distance; beyond it a decode has gone wrong
FEATURES = (
    "gap of the score to the next",
    "logarithm of the rivals",
    "logarithm of the times found",
    "share of all times found",
    "logarithm of the order of the space group",
    "surrogate energy above its best",
    "logarithm of the support",
    "latent distance",
    "oracle energy above the lowest",
    "logarithm of the atoms in the cell",
    "elements",
)


def evidence(candidates: Sequence[Candidate]) -> list[float]:
    """`FEATURES` of a ranked prediction with at least one relaxed candidate; empty without one."""
    relaxed = [c for c in candidates if c.relaxation is not None and isfinite(c.relaxation.energy_per_atom)]
    if not relaxed:
        return []
    first = relaxed[0]
    gaps = sorted(c.score - first.score for c in relaxed[1:])
    assert first.relaxation is not None
    return [
        min(gaps[0], WIDE_GAP) / WIDE_GAP if gaps else 1.0,
        log(1 + sum(gap < CLOSE for gap in gaps)),
        log(max(first.count, 1)),
        first.count / max(1, sum(c.count for c in relaxed)),
        log(space_group_order(first.space_group)),
        min(first.energy_per_atom - min(c.energy_per_atom for c in relaxed), 1.0),
        log(first.support + LEAST_SUPPORT),
        min(first.latent_distance, FAR_LATENT),
        min(first.relaxation.energy_above_lowest, 1.0),
        log(first.crystal.n_atoms),
        float(len(first.crystal.composition.counts)),
    ]


@dataclass(frozen=True)
class ConfidenceModel:
    """Coefficients of the standardised features.

    Attributes:
        n_fitted: predictions it was fitted on.
        oracle: what relaxed and ranked them, `RefineConfig.ranked_by`.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    n_fitted: int
    oracle: str

    def probability(self, features: Sequence[float]) -> float:
        """That the first candidate is the known ground state."""
        x = (np.asarray(features) - self.mean) / self.scale
        return float(expit(x @ self.coefficients + self.intercept))

    def save(self, folder: Path) -> None:
        """Write it as JSON, beside the models of other oracles that the folder has; those of other versions go."""
        try:
            models = load_confidence(folder)
        except WeightsError:
            models = {}
        models[self.oracle] = self
        content = {"format": FORMAT, "features": FEATURES, "models": [asdict(model) for model in models.values()]}
        write_whole(folder / CONFIDENCE_FILE, json.dumps(content, indent=1) + "\n")


def load_confidence(folder: Path) -> dict[str, ConfidenceModel]:
    """The models that belong to the weights of a folder, by what ranked the candidates; none where there is no file.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    path = folder / CONFIDENCE_FILE
    if not path.is_file():
        return {}
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        known = content["format"] == FORMAT and tuple(content["features"]) == FEATURES
        models = [_model(row) for row in content["models"]] if known else []
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged; fit it anew or take it out of the folder.") from error
    if not known or any({len(m.mean), len(m.scale), len(m.coefficients)} != {len(FEATURES)} for m in models):
        raise WeightsError(f"{path} was made by another version of lcoms; fit it anew.")
    return {model.oracle: model for model in models}


def _model(row: Mapping[str, Any]) -> ConfidenceModel:
    mean, scale, coefficients = (tuple(map(float, row[name])) for name in ("mean", "scale", "coefficients"))
    return ConfidenceModel(mean, scale, coefficients, float(row["intercept"]), int(row["n_fitted"]), str(row["oracle"]))


def fit_confidence(
    features: Float[NDArray[np.float64], "n k"], right: NDArray[np.bool_], *, oracle: str, ridge: float = 1.0
) -> ConfidenceModel:
    """Logistic regression with an L2 penalty on standardised features.

    Raises:
        DataError: fewer than ten predictions, or all right or all wrong.
    """
    if len(features) < 10 or right.all() or not right.any():
        raise DataError("a confidence needs at least ten predictions, some right and some wrong.")
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    x, sign = (features - mean) / scale, np.where(right, 1.0, -1.0)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (x @ w[:-1] + w[-1])
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + ridge / 2 * (w[:-1] ** 2).sum()
        return value, np.append(x.T @ pull + ridge * w[:-1], pull.sum())

    w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return ConfidenceModel(tuple(mean), tuple(scale), tuple(w[:-1]), float(w[-1]), len(x), oracle)


def cross_validated(
    features: Float[NDArray[np.float64], "n k"], right: NDArray[np.bool_], *, folds: int = 10, seed: int = 0
) -> Float[NDArray[np.float64], " n"]:
    """Probabilities for each prediction by a model that was fitted without it."""
    fold = np.random.default_rng(seed).permutation(len(features)) % folds
    found = np.zeros(len(features))
    for k in range(folds):
        model = fit_confidence(features[fold != k], right[fold != k], oracle="")
        found[fold == k] = [model.probability(row.tolist()) for row in features[fold == k]]
    return found


def reliability(
    probabilities: Float[NDArray[np.float64], " n"], right: NDArray[np.bool_], *, bins: int = 5
) -> tuple[list[tuple[float, float, int]], float]:
    """Mean probability, share that was right and number in each of some bins of equal width, and the ECE.

    The expected calibration error is the mean over predictions of the distance between the first two.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows = [
        (float(probabilities[place == k].mean()), float(right[place == k].mean()), int((place == k).sum()))
        for k in range(bins)
        if (place == k).any()
    ]
    return rows, sum(abs(p - share) * n for p, share, n in rows) / len(probabilities)
