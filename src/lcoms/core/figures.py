"""Figures of matplotlib as files that are whole or not there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150


def check_figure(path: Path) -> None:
    """Raises ConfigError where a figure of the name's kind cannot be written."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: figures are written as {', '.join(KINDS)}; end the name with one of them.")


def write_figure(figure: Figure, path: Path) -> None:
    """Write it in the kind that the name ends with.

    Raises:
        ConfigError: there is no such kind.
        OSError: it cannot be written.
    """
    check_figure(path)
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().lstrip("."), dpi=DOTS_PER_INCH)
    write_whole(path, buffer.getvalue())
