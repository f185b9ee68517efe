"""Crystal structure prediction by latent conservative objective models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcoms.api import predict, predict_all
    from lcoms.core.errors import LcomsError
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Options
    from lcoms.prediction.result import Prediction
    from lcoms.prediction.spec import PredictionSpec
    from lcoms.structure.crystal import Composition, Crystal

__version__ = "0.1.0"
__all__ = [
    "Composition",
    "Crystal",
    "LcomsError",
    "Options",
    "Prediction",
    "PredictionSpec",
    "Predictor",
    "__version__",
    "predict",
    "predict_all",
]

# Modules of the public names, imported on first access so that `import lcoms` stays fast.
_HOMES = {
    "Composition": "lcoms.structure.crystal",
    "Crystal": "lcoms.structure.crystal",
    "LcomsError": "lcoms.core.errors",
    "Options": "lcoms.prediction.presets",
    "Prediction": "lcoms.prediction.result",
    "PredictionSpec": "lcoms.prediction.spec",
    "Predictor": "lcoms.prediction.pipeline",
    "predict": "lcoms.api",
    "predict_all": "lcoms.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lcoms' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
