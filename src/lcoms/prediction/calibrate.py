"""How likely the first candidate is the known ground state: logistic regression on what a ranked prediction shows.

Fitted on validation compositions, whose crystals neither the weights nor the templates have seen. A probability is
stated only for predictions made as those that the model was fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from lcoms.core.errors import ConfigError, DataError, WeightsError
from lcoms.models.manifest import record_files
from lcoms.models.weights import CALIBRATION_FILE
from lcoms.prediction.scoring import LEAST_PROBABILITY
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.symmetry import space_group_order

FORMAT = 4
WIDE_GAP = 0.1  # eV/atom of the score; wider ones say no more
CLOSE = 0.03  # eV/atom of the score; candidates within it of the first are rivals
FAR_LATENT = 6.0  # latent distance; beyond it a decode has gone wrong
FEATURES = (
    "gap of the score to the next",
    "logarithm of the rivals",
    "logarithm of n_found",
    "share of all n_found",
    "logarithm of the order of the space group",
    "surrogate energy above its lowest",
    "logarithm of the prototype probability",
    "latent distance",
    "energy above the lowest",
    "logarithm of the atoms in the cell",
    "elements",
)


def evidence(candidates: Sequence[Candidate]) -> list[float]:
    """`FEATURES` of a ranked prediction with at least one relaxed candidate; empty without one."""
    relaxed = [c for c in candidates if c.is_relaxed]
    if not relaxed:
        return []
    first = relaxed[0]
    gaps = sorted(c.score - first.score for c in relaxed[1:])
    lowest = min(c.decoded.energy_per_atom for c in relaxed)
    return [
        min(gaps[0], WIDE_GAP) / WIDE_GAP if gaps else 1.0,
        log(1 + sum(gap < CLOSE for gap in gaps)),
        log(max(first.n_found, 1)),
        first.n_found / max(1, sum(c.n_found for c in relaxed)),
        log(space_group_order(first.space_group)),
        min(first.decoded.energy_per_atom - lowest, 1.0),
        log(first.prototype_probability + LEAST_PROBABILITY),
        min(first.decoded.latent_distance, FAR_LATENT),
        min(first.energy_above_lowest, 1.0),
        log(first.crystal.n_atoms),
        float(len(first.crystal.composition.counts)),
    ]


@dataclass(frozen=True)
class CalibrationModel:
    """Coefficients of the standardised features.

    Attributes:
        n_fitted: predictions it was fitted on.
        spec: how these were made.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    n_fitted: int
    spec: PredictionSpec

    def probability(self, features: Sequence[float]) -> float:
        """That the first candidate is the known ground state."""
        x = (np.asarray(features) - self.mean) / self.scale
        return float(expit(x @ self.coefficients + self.intercept))


@dataclass(frozen=True)
class Calibration:
    """The models that were fitted, each for its own way of making predictions."""

    models: tuple[CalibrationModel, ...] = ()

    def find(self, spec: PredictionSpec) -> CalibrationModel | None:
        """The model fitted for predictions made so; None where there is none."""
        wanted = what_matters(spec)
        return next((model for model in self.models if what_matters(model.spec) == wanted), None)

    def with_model(self, model: CalibrationModel) -> Calibration:
        """With this model in place of one for the same way of making predictions."""
        wanted = what_matters(model.spec)
        return Calibration((*(m for m in self.models if what_matters(m.spec) != wanted), model))

    def save(self, folder: Path) -> None:
        """Write calibration.json, whole or not at all."""
        models = [asdict(model) | {"spec": model.spec.to_dict()} for model in self.models]
        content = {"format": FORMAT, "features": FEATURES, "models": models}
        write_whole(folder / CALIBRATION_FILE, json.dumps(content, indent=1) + "\n")
        record_files(folder, [CALIBRATION_FILE])


def what_matters(spec: PredictionSpec) -> PredictionSpec:
    """A specification without what leaves the probability of its first candidate alone."""
    return replace(spec, n_candidates=1, seed=0, search=replace(spec.search, exclude_same=False))


def load_calibration(folder: Path) -> Calibration:
    """The models that belong to the weights of a folder; none where there is no file.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return Calibration()
    again = "fit it again with lcoms fit calibration"
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        known = content["format"] == FORMAT and tuple(content["features"]) == FEATURES
        models = tuple(_model(row) for row in content["models"]) if known else ()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, ConfigError) as error:
        raise WeightsError(f"{path} is damaged; {again}, or take it out of the folder.") from error
    if not known:
        raise WeightsError(f"{path} was made by another version of lcoms; {again}.")
    for model in models:
        numbers = (*model.mean, *model.scale, *model.coefficients, model.intercept)
        sizes = {len(model.mean), len(model.scale), len(model.coefficients)}
        if sizes != {len(FEATURES)} or not all(map(isfinite, numbers)) or min(model.scale) <= 0:
            raise WeightsError(f"{path} is damaged; {again}, or take it out of the folder.")
    return Calibration(models)


def _model(row: Mapping[str, Any]) -> CalibrationModel:
    mean, scale, coefficients = (tuple(map(float, row[name])) for name in ("mean", "scale", "coefficients"))
    spec = PredictionSpec.from_dict(row["spec"])
    return CalibrationModel(mean, scale, coefficients, float(row["intercept"]), int(row["n_fitted"]), spec)


def fit_calibration(
    features: Float[NDArray[np.float64], "n k"], right: NDArray[np.bool_], *, spec: PredictionSpec, ridge: float = 1.0
) -> CalibrationModel:
    """Logistic regression with an L2 penalty on standardised features.

    Raises:
        DataError: fewer than ten predictions, or all right or all wrong.
    """
    if len(features) < 10 or right.all() or not right.any():
        raise DataError("a calibration needs at least ten predictions, some right and some wrong.")
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    x, sign = (features - mean) / scale, np.where(right, 1.0, -1.0)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (x @ w[:-1] + w[-1])
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + ridge / 2 * (w[:-1] ** 2).sum()
        return value, np.append(x.T @ pull + ridge * w[:-1], pull.sum())

    w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return CalibrationModel(tuple(mean), tuple(scale), tuple(w[:-1]), float(w[-1]), len(x), spec)


def cross_validated(
    features: Float[NDArray[np.float64], "n k"], right: NDArray[np.bool_], *, folds: int = 10, seed: int = 0
) -> Float[NDArray[np.float64], " n"]:
    """Probabilities for each prediction by a model that was fitted without it."""
    fold = np.random.default_rng(seed).permutation(len(features)) % folds
    found = np.zeros(len(features))
    for k in range(folds):
        model = fit_calibration(features[fold != k], right[fold != k], spec=PredictionSpec())
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
