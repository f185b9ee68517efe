"""Probability that each candidate is the known ground state, from its score.

Either one candidate is the ground state or none is: candidate i with a probability proportional to
exp(-(s_i - E) / T), none with a probability proportional to exp(-n / T), where s_i is the score and E the lowest energy
of all candidates, eV/atom. The temperature T and the offset n are fitted on validation compositions, whose crystals
neither the weights nor the templates have seen. Probabilities are stated only for predictions made in the same way as
those used in the fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.optimize import minimize

from lcoms.core.disk import write_whole
from lcoms.core.errors import DataError
from lcoms.core.fitted import read_fitted
from lcoms.models.manifest import record_files
from lcoms.models.weights import CALIBRATION_FILE
from lcoms.prediction.rank import mean_energies
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate

FORMAT = 5
FEWEST = 10  # minimum number of predictions in a fit
CALIBRATED_ATOMS = 20  # largest known cell in the fits that ship; for larger ones the probabilities are too high
START = (0.04, 0.1)  # eV/atom, initial values of temperature and none in a fit


class Scored(NamedTuple):
    """The relaxed candidates of one composition.

    Attributes:
        heights: scores above the lowest energy, eV/atom.
        right: whether each is the known ground state.
    """

    heights: Float[NDArray[np.float64], " n"]
    right: Bool[NDArray[np.bool_], " n"]


@dataclass(frozen=True)
class CalibrationModel:
    """Conversion of scores to probabilities.

    Attributes:
        temperature: error of a score, eV/atom.
        none: score above the lowest energy assigned to the case that no candidate is correct, eV/atom.
        n_fitted: number of predictions it was fitted on.
        spec: specification of these predictions.
    """

    temperature: float
    none: float
    n_fitted: int
    spec: PredictionSpec

    def probabilities(self, heights: Float[NDArray[np.float64], " n"]) -> Float[NDArray[np.float64], " n"]:
        """Return the probability that each candidate is the known ground state; the remainder is that of none.

        Args:
            heights: scores above the lowest energy, eV/atom.
        """
        logs = -np.append(heights, self.none) / self.temperature
        shares = np.exp(logs - logs.max())
        return np.asarray(shares[:-1] / shares.sum())

    def state(self, candidates: Sequence[Candidate], left_out: float = 0.0) -> list[Candidate]:
        """Return the candidates, the relaxed ones with their probabilities.

        Args:
            left_out: probability of structures that could not be searched.
        """
        relaxed = [(c, c.relaxed) for c in candidates if c.relaxed is not None and c.relaxed.usable]
        if not relaxed:
            return list(candidates)
        lowest = min(mean_energies([one for _, one in relaxed]))
        found = self.probabilities(np.array([c.score - lowest for c, _ in relaxed])) * (1 - left_out)
        stated = {id(c): p for (c, _), p in zip(relaxed, found.tolist(), strict=True)}
        return [replace(c, probability=stated.get(id(c))) for c in candidates]


@dataclass(frozen=True)
class Calibration:
    """Fitted models, one for each way of making predictions."""

    models: tuple[CalibrationModel, ...] = ()

    def find(self, spec: PredictionSpec) -> CalibrationModel | None:
        """Return the model fitted for predictions made with this specification, or None."""
        wanted = relevant_part(spec)
        return next((model for model in self.models if relevant_part(model.spec) == wanted), None)

    def with_model(self, model: CalibrationModel) -> Calibration:
        """Return a calibration with this model, replacing any model for the same way of making predictions."""
        wanted = relevant_part(model.spec)
        return Calibration((*(m for m in self.models if relevant_part(m.spec) != wanted), model))

    def state(
        self, candidates: Sequence[Candidate], spec: PredictionSpec, models: Sequence[str], left_out: float
    ) -> list[Candidate]:
        """Return the candidates with probabilities, if a model was fitted for such predictions and the first is new.

        Args:
            models: names of the energy models used in the ranking.
            left_out: probability of structures that could not be searched.
        """
        if not models or spec.pressure or (candidates and candidates[0].known is not None):
            return list(candidates)
        model = self.find(spec.with_models(models))
        return list(candidates) if model is None else model.state(candidates, left_out)

    def save(self, folder: Path) -> None:
        """Write calibration.json atomically."""
        models = [asdict(model) | {"spec": model.spec.to_dict()} for model in self.models]
        write_whole(folder / CALIBRATION_FILE, json.dumps({"format": FORMAT, "models": models}, indent=1) + "\n")
        record_files(folder, [CALIBRATION_FILE])


def relevant_part(spec: PredictionSpec) -> PredictionSpec:
    """Return the specification with the options that do not affect probabilities set to fixed values."""
    return replace(spec, n_candidates=1, seed=0, search=replace(spec.search, exclude_same=False))


def load_calibration(folder: Path) -> Calibration:
    """Return the models that belong to the weights in a folder; none if there is no file.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    path = folder / CALIBRATION_FILE
    remedy = "take it out of the folder and fit it again with lcoms fit calibration"
    return read_fitted(path, _calibration, version=FORMAT, remedy=remedy) if path.is_file() else Calibration()


def _calibration(content: Mapping[str, Any]) -> Calibration:
    return Calibration(tuple(_model(row) for row in content["models"]))


def _model(row: Mapping[str, Any]) -> CalibrationModel:
    spec = PredictionSpec.from_dict(row["spec"])
    model = CalibrationModel(float(row["temperature"]), float(row["none"]), int(row["n_fitted"]), spec)
    if not (isfinite(model.none) and isfinite(model.temperature) and model.temperature > 0):
        raise ValueError(f"temperature {model.temperature}, none {model.none}")
    return model


def fit_calibration(cases: Sequence[Scored], *, spec: PredictionSpec) -> CalibrationModel:
    """Fit temperature and none by maximum likelihood.

    Raises:
        DataError: fewer than ten predictions, or the ground state is among the candidates in all or none of them.
    """
    has = [bool(case.right.any()) for case in cases]
    if len(cases) < FEWEST or all(has) or not any(has):
        raise DataError("a calibration needs at least ten predictions, some with the ground state and some without.")

    def loss(x: NDArray[np.float64]) -> float:
        model = CalibrationModel(float(np.exp(x[0])), float(x[1]), 0, spec)
        return -sum(_log_likelihood(model, case) for case in cases)

    x = minimize(loss, [np.log(START[0]), START[1]], method="Nelder-Mead").x
    return CalibrationModel(round(float(np.exp(x[0])), 5), round(float(x[1]), 5), len(cases), spec)


def _log_likelihood(model: CalibrationModel, case: Scored) -> float:
    logs = -np.append(case.heights, model.none) / model.temperature
    right = np.append(case.right, not case.right.any())
    return float(np.logaddexp.reduce(logs[right]) - np.logaddexp.reduce(logs))


def reliability(
    probabilities: Float[NDArray[np.float64], " n"], right: NDArray[np.bool_], *, bins: int = 5
) -> tuple[list[tuple[float, float, int]], float]:
    """Return mean probability, fraction correct and count in each of several bins of equal width, and the ECE.

    The expected calibration error (ECE) is the mean over predictions of the difference between the first two.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows = [
        (float(probabilities[place == k].mean()), float(right[place == k].mean()), int((place == k).sum()))
        for k in range(bins)
        if (place == k).any()
    ]
    return rows, sum(abs(p - share) * n for p, share, n in rows) / len(probabilities)
