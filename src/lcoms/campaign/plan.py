"""Work on one formula of a campaign; the same function runs in local processes and on a cluster.

A worker writes nothing: the texts of its files are returned to the campaign, so that workers need no shared folder.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lcoms import __version__
from lcoms.core.errors import ConfigError, LcomsError, WeightsError, is_want
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Typed
from lcoms.prediction.result import require_candidates
from lcoms.prediction.spec import PredictionSpec

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_KEPT_BYTES = 1 << 29
_ONE_AT_A_TIME = threading.Lock()  # a worker of Dask may have several threads; predictions share the networks


@dataclass(frozen=True)
class Plan:
    """How each formula is predicted.

    Attributes:
        spec: options of the predictions.
        weights: folder of trained weights on the worker; None: those in the package.
        digest: hash of these weights; a worker that finds others predicts nothing.
        options: options as the user typed them, for the record.
    """

    spec: PredictionSpec
    weights: Path | None
    digest: str
    options: Typed = ()

    def versions(self) -> tuple[str, ...]:
        """Return the versions of lcoms and the energy models, which may change within a campaign, but not silently.

        Raises:
            OracleError: an oracle cannot be created here.
        """
        found = [text for name in self.spec.models for text in make_oracle(name).provenance]
        return (f"lcoms {__version__}", *dict.fromkeys(found))

    def identity(self) -> dict[str, Any]:
        """Return what all runs in one folder must have in common, ready for JSON."""
        return {"weights": self.digest, "spec": self.spec.to_dict()}


class Answer(NamedTuple):
    """Result of one formula.

    Attributes:
        files: names and texts, as `lcoms predict` writes them; empty if it failed.
        reason: one sentence why it failed.
        seconds: time taken.
        passing: whether the machine lacked resources, so that another attempt may succeed.
    """

    files: Mapping[str, str]
    reason: str
    seconds: float
    passing: bool = False


def prepare(plan: Plan) -> Predictor:
    """Load what every formula needs, once per process.

    Raises:
        WeightsError: the weights are missing, damaged or different from the campaign's.
        OracleError: an energy model cannot be created here.
    """
    return _prepared(plan)


def predict_one(formula: str, plan: Plan) -> Answer:
    """Predict one formula; an error specific to the formula is returned in the answer.

    Raises:
        WeightsError, OracleError: as for `prepare`; no formula can be predicted here.
    """
    with _ONE_AT_A_TIME:
        predictor = prepare(plan)
        clock = time.perf_counter()
        files, reason, passing = _predict(formula, predictor, plan.options)
        return Answer(files, reason, round(time.perf_counter() - clock, 2), passing)


def _predict(formula: str, predictor: Predictor, options: Typed) -> tuple[dict[str, str], str, bool]:
    try:
        found = require_candidates(predictor.predict(formula))
        return replace(found, options=options).files(), "", False
    except (ConfigError, WeightsError):
        raise
    except LcomsError as error:
        return {}, str(error), is_want(error)
    except Exception as error:  # a defect met by one formula must not end thousands of others
        text = (str(error).strip() or "no reason given").splitlines()[0]
        return {}, f"{type(error).__name__}: {text}", is_want(error)


@lru_cache(maxsize=1)
def _prepared(plan: Plan) -> Predictor:
    _keep_freed_memory()
    bundle = WeightBundle.load(plan.weights)
    if bundle.digest != plan.digest:
        where = "in the package" if plan.weights is None else f"in {plan.weights}"
        raise WeightsError(
            f"a worker has other weights {where} ({bundle.digest}) than the campaign ({plan.digest}); "
            "copy those of the campaign there."
        )
    return Predictor(bundle, plan.spec, processes=1)


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory.

    Dask starts its workers with a setting by which each large array is newly mapped, and returned to the system when it
    is freed; most of a prediction is then spent on clearing pages. Other C libraries have no such setting.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
