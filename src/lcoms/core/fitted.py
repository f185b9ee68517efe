"""JSON files of fitted numbers in a folder of weights: their format number, and errors if they are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lcoms.core.config import parse_json
from lcoms.core.errors import ConfigError, WeightsError

T = TypeVar("T")
SHIPPED = Path(__file__).parent.parent / "weights"
"""The folder of weights in the package."""


def fitted_file(folder: Path, name: str) -> Path:
    """Return a file of a folder of weights; that of the package if the folder has none."""
    return path if (path := folder / name).is_file() else SHIPPED / name


def read_fitted(path: Path, parse: Callable[[dict[str, Any]], T], *, version: int, remedy: str) -> T:
    """Return what a file contains.

    Args:
        parse: makes it from the content without the format number; may raise ValueError, KeyError, TypeError,
            AttributeError, OverflowError or ConfigError.
        version: format number of this version of lcoms.
        remedy: what to do if the file cannot be used; ends the sentence of the error.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    try:
        content: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        known = content.pop("format") == version
        if known:
            return parse(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, ConfigError) as error:
        raise WeightsError(f"{path} is damaged; {remedy}.") from error
    raise WeightsError(f"{path} was made by another version of lcoms; {remedy}.")
