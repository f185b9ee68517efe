"""Figures of matplotlib as files that are complete or absent."""

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
    """Raise ConfigError if the name does not end in a supported format of figures."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: figures are written as {', '.join(KINDS)}; end the name with one of them.")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format given by the extension of the name.

    Raises:
        ConfigError: the format is not supported.
        OSError: the file cannot be written.
    """
    check_figure(path)
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().lstrip("."), dpi=DOTS_PER_INCH)
    write_whole(path, buffer.getvalue())
