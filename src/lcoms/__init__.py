"""Crystal structure prediction by latent conservative objective models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcoms.api import predict
    from lcoms.structure.crystal import Composition, Crystal

__version__ = "0.1.0"
__all__ = ["Composition", "Crystal", "__version__", "predict"]

# Where the names of the front page live: they are loaded when asked for, so that `import lcoms` stays quick.
_HOMES = {"Composition": "lcoms.structure.crystal", "Crystal": "lcoms.structure.crystal", "predict": "lcoms.api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lcoms' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
