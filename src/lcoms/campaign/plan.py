"""What a campaign does with one formula; the same function runs in local processes and on a cluster.

A worker writes nothing: the texts of its files go back to the campaign, so that workers need no folder in common.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lcoms.api import predict_ranked
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError, LcomsError, WeightsError
from lcoms.models.weights import Weights, load_weights
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.output import prediction_files
from lcoms.prediction.pipeline import PredictConfig, RefineConfig
from lcoms.structure.crystal import Composition

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 1 << 29
_ONE_AT_A_TIME = threading.Lock()  # a worker of Dask may have several threads; predictions share the networks


@dataclass(frozen=True)
class Plan:
    """How each formula is predicted.

    Attributes:
        config: of the search.
        refined: how candidates are relaxed and ranked; None: not at all.
        weights: folder of trained weights on the worker; None: those in the package.
        digest: of these weights; a worker that finds others predicts nothing.
    """

    config: PredictConfig
    refined: RefineConfig | None
    weights: Path | None
    digest: str

    def identity(self) -> dict[str, Any]:
        """What two runs into one folder must have in common, ready for JSON."""
        return {
            "weights": self.digest,
            "options": to_dict(self.config),
            "relaxation": None if self.refined is None else to_dict(self.refined),
        }


class Answer(NamedTuple):
    """What came of one formula.

    Attributes:
        files: names and texts, as `lcoms predict` writes them; empty where nothing came of it.
        reason: one sentence why nothing came of it.
        seconds: that it took.
    """

    files: Mapping[str, str]
    reason: str
    seconds: float


def prepare(plan: Plan) -> Weights:
    """Load what every formula needs, once a process.

    Raises:
        WeightsError: the weights are missing, damaged or others than the campaign's.
        OracleError: the oracle cannot be made here.
    """
    named = () if plan.refined is None else (plan.refined.oracle, plan.refined.second_oracle)
    return _prepared(plan.weights, plan.digest, tuple(filter(None, named)))


def predict_one(formula: str, plan: Plan) -> Answer:
    """Predict one formula; whatever is wrong with the formula itself is an answer, too.

    Raises:
        WeightsError, OracleError: as `prepare`; no formula can be predicted here.
    """
    with _ONE_AT_A_TIME:
        weights = prepare(plan)
        clock = time.perf_counter()
        files, reason = _predict(formula, plan, weights)
        return Answer(files, reason, round(time.perf_counter() - clock, 2))


def _predict(formula: str, plan: Plan, weights: Weights) -> tuple[dict[str, str], str]:
    try:
        prediction = predict_ranked(Composition.from_formula(formula), weights, plan.config, plan.refined, processes=1)
        if prediction.candidates:
            return prediction_files(prediction), ""
        return {}, f"no valid crystal came out of {prediction.n_starts} starts."
    except (ConfigError, WeightsError):
        raise
    except LcomsError as error:
        return {}, str(error)
    except Exception as error:  # one formula that hits a defect must not end thousands of others
        text = (str(error).strip() or "no reason given").splitlines()[0]
        return {}, f"{type(error).__name__}: {text}"


@lru_cache(maxsize=1)
def _prepared(folder: Path | None, digest: str, oracles: tuple[str, ...]) -> Weights:
    _keep_freed_memory()
    weights = load_weights(folder)
    if weights.digest != digest:
        where = "in the package" if folder is None else f"in {folder}"
        raise WeightsError(
            f"a worker has other weights {where} ({weights.digest}) than the campaign ({digest}); copy them there."
        )
    for oracle in oracles:
        make_oracle(oracle)
    return weights


def _keep_freed_memory() -> None:
    """Let glibc use freed memory again.

    Dask starts its workers with a setting by which each large array is mapped anew and given back when it is freed; the
    system then spends most of a prediction on clearing pages. Other C libraries have no such setting.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
