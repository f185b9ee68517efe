"""Probability that each candidate is the known ground state, from its score.

Either one candidate is the ground state or none is: candidate i with a probability proportional to
exp(-(s_i - E) / T), none with a probability proportional to exp(-n / T), where s_i is the score and E the lowest energy
of all candidates, eV/atom. The larger the cell, the more often all candidates are wrong: n = n_8 + b ln(N / 8) with the
number N of atoms in the cell of the first candidate. T, n_8 and b are fitted on validation compositions, whose crystals
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
from lcoms.prediction.spec import PhononSpec, PredictionSpec
from lcoms.prediction.stages import Candidate

FORMAT = 6
FEWEST = 10  # minimum number of predictions in a fit
USUAL_ATOMS = 8  # in the cell to which `none` refers
START = (0.04, 0.1, 0.0)  # eV/atom, initial values of temperature, none and its slope in a fit


class Scored(NamedTuple):
    """The relaxed candidates of one composition.

    Attributes:
        heights: scores above the lowest energy, eV/atom.
        right: whether each is the known ground state.
        n_atoms: number of atoms in the primitive cell of the candidate with the lowest score.
    """

    heights: Float[NDArray[np.float64], " n"]
    right: Bool[NDArray[np.bool_], " n"]
    n_atoms: int


@dataclass(frozen=True)
class CalibrationModel:
    """Conversion of scores to probabilities.

    Attributes:
        temperature: error of a score, eV/atom.
        none: score above the lowest energy assigned to the case that no candidate is correct, eV/atom, if the first
            candidate has eight atoms in its cell.
        slope: change of `none` for each factor e in the number of atoms, eV/atom.
        n_fitted: number of predictions it was fitted on.
        max_atoms: number of atoms in the largest cell of these predictions.
        spec: specification of these predictions.
        command: the command that fitted it.
    """

    temperature: float
    none: float
    slope: float
    n_fitted: int
    max_atoms: int
    spec: PredictionSpec
    command: str = ""

    def probabilities(
        self, heights: Float[NDArray[np.float64], " n"], n_atoms: int
    ) -> Float[NDArray[np.float64], " n"]:
        """Return the probability that each candidate is the known ground state; the remainder is that of none.

        Args:
            heights: scores above the lowest energy, eV/atom.
            n_atoms: number of atoms in the primitive cell of the candidate with the lowest score.
        """
        logs = self.log_weights(heights, n_atoms)
        shares = np.exp(logs - logs.max())
        return np.asarray(shares[:-1] / shares.sum())

    def log_weights(
        self, heights: Float[NDArray[np.float64], " n"], n_atoms: int
    ) -> Float[NDArray[np.float64], " n+1"]:
        """Return the logarithms of unnormalised probabilities: of the candidates, and of none; `probabilities`."""
        none = self.none + self.slope * np.log(n_atoms / USUAL_ATOMS)
        return np.asarray(-np.append(heights, none) / self.temperature)

    def state(self, candidates: Sequence[Candidate], left_out: float = 0.0) -> list[Candidate]:
        """Return the candidates, the relaxed ones with their probabilities.

        Args:
            left_out: probability of structures that could not be searched.
        """
        relaxed = [(c, c.relaxed) for c in candidates if c.relaxed is not None and c.relaxed.usable]
        if not relaxed:
            return list(candidates)
        lowest = min(mean_energies([one for _, one in relaxed]))
        first = min((c for c, _ in relaxed), key=lambda c: c.score)
        heights = np.array([c.score - lowest for c, _ in relaxed])
        found = self.probabilities(heights, first.crystal.n_atoms) * (1 - left_out)
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

    def applying(
        self, candidates: Sequence[Candidate], spec: PredictionSpec, models: Sequence[str]
    ) -> CalibrationModel | None:
        """Return the model fitted for such predictions; None if there is none, or if the first candidate is known.

        Args:
            models: names of the energy models used in the ranking.
        """
        if not models or spec.pressure or (candidates and candidates[0].known is not None):
            return None
        return self.find(spec.with_models(models))

    def save(self, folder: Path) -> None:
        """Write calibration.json atomically."""
        models = [asdict(model) | {"spec": model.spec.to_dict()} for model in self.models]
        write_whole(folder / CALIBRATION_FILE, json.dumps({"format": FORMAT, "models": models}, indent=1) + "\n")
        record_files(folder, [CALIBRATION_FILE])


def relevant_part(spec: PredictionSpec) -> PredictionSpec:
    """Return the specification with the options that do not affect probabilities set to fixed values."""
    search = replace(spec.search, exclude_same=False)
    return replace(spec, n_candidates=1, seed=0, search=search, phonons=PhononSpec())


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
    temperature, none, slope = (float(row[name]) for name in ("temperature", "none", "slope"))
    n_fitted, max_atoms = int(row["n_fitted"]), int(row["max_atoms"])
    if not (isfinite(none) and isfinite(slope) and isfinite(temperature) and temperature > 0 and max_atoms > 0):
        raise ValueError(f"temperature {temperature}, none {none}, slope {slope}, up to {max_atoms} atoms")
    return CalibrationModel(temperature, none, slope, n_fitted, max_atoms, spec, str(row["command"]))


def fit_calibration(cases: Sequence[Scored], *, spec: PredictionSpec, command: str = "") -> CalibrationModel:
    """Fit temperature, none and its slope by maximum likelihood; without different cell sizes the slope is zero.

    Args:
        command: that this fit is to be recorded with.

    Raises:
        DataError: fewer than ten predictions, or the ground state is among the candidates in all or none of them.
    """
    has = [bool(case.right.any()) for case in cases]
    if len(cases) < FEWEST or all(has) or not any(has):
        raise DataError("a calibration needs at least ten predictions, some with the ground state and some without.")

    sizes = {case.n_atoms for case in cases}

    def model(x: NDArray[np.float64]) -> CalibrationModel:
        temperature, none, slope = float(np.exp(x[0])), float(x[1]), float(x[2]) if len(x) > 2 else 0.0
        return CalibrationModel(temperature, none, slope, len(cases), max(sizes), spec, command)

    start = [np.log(START[0]), *START[1:]][: 3 if len(sizes) > 1 else 2]
    found = model(minimize(lambda x: _surprise(model(x), cases), start, method="Nelder-Mead").x)
    rounded = {name: round(getattr(found, name), 5) for name in ("temperature", "none", "slope")}
    return replace(found, **rounded)


def _surprise(model: CalibrationModel, cases: Sequence[Scored]) -> float:
    """Return the summed negative logarithm of the probability of what is right: candidates, or none of them."""
    total = 0.0
    for case in cases:
        logs = model.log_weights(case.heights, case.n_atoms)
        right = np.append(case.right, not case.right.any())
        total += float(np.logaddexp.reduce(logs) - np.logaddexp.reduce(logs[right]))
    return total


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
