"""Read measured powder patterns from text files: columns of two theta, d or Q in any order, and formats of programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError, FileFormatError
from lcoms.diffraction.columns import chosen_columns
from lcoms.diffraction.doubts import (
    require_errors_last,
    require_one_scan,
    require_profile,
    too_large_for_errors,
    without_padding,
    without_range_line,
    without_stray_line,
)
from lcoms.diffraction.equal_steps import IS_ASC, IS_CPI, table_of_asc, table_of_cpi, table_of_free, table_of_mdi
from lcoms.diffraction.gsas import BANK, table_of_gsas
from lcoms.diffraction.header import loop_names, require_radiation, require_scan, require_wavelength
from lcoms.diffraction.powder_cif import table_of_cif, table_of_range
from lcoms.diffraction.radiation import Radiation
from lcoms.diffraction.scans import IS_UXD, table_of_udf, table_of_uxd
from lcoms.diffraction.tables import read_table
from lcoms.diffraction.units import scale_of
from lcoms.diffraction.xrdml import table_of_xrdml
from lcoms.structure.io import decoded, file_bytes

AXES = ("two-theta", "d", "q")
LEAST_POINTS = 60  # of a pattern
LEAST_ANGLE = -20.0  # degrees; a scan that begins lower is over another axis
LEAST_CONTRAST = 4.0  # height of the highest points over the scatter between neighbours
USELESS = 2.6  # angstrom; numbers that end at larger spacings are not two theta
_SEVERAL_PER_LINE = re.compile(r"^##XYDATA\s*=\s*\(X\+\+", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class PowderPattern:
    """A measured pattern.

    Attributes:
        two_theta: (n,) degrees, ascending.
        counts: (n,) in any unit.
        radiation: radiation it was measured with.
        name: name of the file.
        notes: changes made to the data while reading.
    """

    two_theta: NDArray[np.float64]
    counts: NDArray[np.float64]
    radiation: Radiation
    name: str = "pattern"
    notes: tuple[str, ...] = ()


def read_pattern(path: str | Path, radiation: Radiation, *, axis: str | None = None) -> PowderPattern:
    """Read a file of two columns, or three with errors, or a file of a program, compressed or not.

    Args:
        axis: kind of the first column: two-theta, d (angstrom) or q (1/angstrom); None takes it from the header, and
            two theta where the header does not name it.

    Raises:
        FileFormatError: the file cannot be read, or is not a powder pattern.
        ConfigError: there is no such axis.
    """
    path = Path(path)
    if axis is not None and axis.lower() not in AXES:
        raise ConfigError(f"{axis!r} is not an axis of a powder pattern; choose {', '.join(AXES)}.")
    try:
        content = file_bytes(path)
        return parse_pattern(_decoded(content), radiation, axis=axis, name=path.name)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def parse_pattern(text: str, radiation: Radiation, *, axis: str | None = None, name: str = "pattern") -> PowderPattern:
    """Read a pattern from a text, as `read_pattern` does from a file."""
    header, table = read_table(text)
    require_wavelength(header, radiation)
    require_radiation(header, radiation)
    require_scan(header)
    header = loop_names(header)
    at, counts, chosen, note, named = chosen_columns(
        header, table.shape[1], None if axis is None else axis.lower(), table
    )
    notes = [note] if note else []
    table = without_range_line(table, at, notes)
    x, y = table[:, at], table[:, counts]
    if not named and table.shape[1] == 3:
        require_errors_last(y, table[:, 2])
        notes += filter(None, [too_large_for_errors(y, table[:, 2])])
    if "*RAS_INT_START" in header and table.shape[1] == 3:
        y = y * table[:, 2]  # the attenuation
    _require_fine_steps(x)
    require_one_scan(x, y)
    guessed, chosen = chosen is None, chosen or "two-theta"
    if chosen == "two-theta":
        x, y = without_stray_line(x, y, notes)
    two_theta, y = _to_two_theta(x * scale_of(header, chosen), y, chosen, radiation, notes)
    if guessed or chosen != "two-theta":
        _require_reach(two_theta, chosen, radiation)
    if (y < 0).any():
        notes.append(f"{int((y < 0).sum())} counts are negative and are used as they are")
    if chosen != "two-theta":
        two_theta, y = without_stray_line(two_theta, y, notes)
    order = np.argsort(two_theta, kind="stable")
    two_theta, y = _merged(*without_padding(two_theta[order], y[order], notes), notes)
    _require_pattern(two_theta, y)
    return PowderPattern(two_theta, y, radiation, name, tuple(notes))


def _decoded(content: bytes) -> str:
    text = decoded(content)
    if "\x00" in text[:4096]:
        raise FileFormatError("a binary file; export the pattern as text of two columns, two theta and counts.")
    if "<xrdMeasurements" in text[:4096]:
        return table_of_xrdml(text)
    if BANK.search(text):
        return table_of_gsas(text)
    if text.startswith("SampleIdent,"):
        return table_of_udf(text)
    if IS_UXD.search(text):
        return table_of_uxd(text)
    if IS_CPI.match(text):
        return table_of_cpi(text)
    if IS_ASC.search(text):
        return table_of_asc(text)
    for table_of in (table_of_range, table_of_cif, table_of_mdi, table_of_free):
        if (table := table_of(text)) is not None:
            return table
    if _SEVERAL_PER_LINE.search(text):
        raise FileFormatError("JCAMP-DX data with several counts per line; export two columns, two theta and counts.")
    if text.lstrip().startswith(("<?xml", "<xrd", "{", "<!DOCTYPE", "<html")):
        raise FileFormatError("not a table; export the pattern as text of two columns, two theta and counts.")
    return text


def _require_reach(two_theta: NDArray[np.float64], axis: str, radiation: Radiation) -> None:
    highest = float(two_theta.max())
    if highest <= 0:
        return  # reported later
    spacing = radiation.mean / 2 / np.sin(np.radians(highest / 2))
    if spacing <= USELESS:
        return
    if axis == "two-theta":
        what = "if the first column is d or Q, add --axis d or --axis q; if it is two theta, the range is too narrow"
        what += " to tell crystals apart, and --axis two-theta fits it all the same."
    else:
        what = "if the first column is two theta, use --axis two-theta."
    raise FileFormatError(
        f"read as {axis} it ends at {highest:.5g} degrees two theta, a spacing of {spacing:.1f} angstrom; {what}"
    )


def _to_two_theta(
    x: NDArray[np.float64], y: NDArray[np.float64], axis: str, radiation: Radiation, notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise FileFormatError("some values are not finite numbers.")
    if axis == "two-theta":
        if LEAST_ANGLE <= x.min() < 0 < x.max():  # on the other side of the beam, in curved detectors
            notes.append(f"{int((x < 0).sum())} points below zero degrees are left out")
            x, y = x[x >= 0], y[x >= 0]
        if x.min() < 0 or x.max() >= 180:
            raise FileFormatError(f"two theta runs from {x.min():g} to {x.max():g}; it must lie between 0 and 180.")
        return x, y
    if x.min() < 0 or x.max() > 1000:
        raise FileFormatError(f"{axis} runs from {x.min():g} to {x.max():g}; these are not spacings of a crystal.")
    inverse = 1 / np.maximum(x, 1e-9) if axis == "d" else x / (2 * np.pi)
    sine = radiation.mean * inverse / 2
    kept = (sine < 0.999) & (x > 1e-6)
    if kept.sum() < len(x):
        notes.append(f"{len(x) - int(kept.sum())} points cannot be reached with {radiation.name} and are left out")
    if kept.sum() < LEAST_POINTS:
        raise FileFormatError(f"read as {axis}, {int(kept.sum())} points can be reached with {radiation.name}.")
    return np.degrees(2 * np.arcsin(sine[kept])), y[kept]


def _merged(
    x: NDArray[np.float64], y: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average points that have the same angle."""
    angles, places, n = np.unique(x, return_inverse=True, return_counts=True)
    if len(angles) < len(x):
        notes.append(f"{len(x) - len(angles)} points of the same angle are averaged")
    return angles, np.bincount(places, y) / n


def _require_fine_steps(x: NDArray[np.float64]) -> None:
    """Raise FileFormatError if most points share their angle and all are whole: decimals were taken for columns."""
    if len(x) > LEAST_POINTS and (x == np.round(x)).all() and len(np.unique(x)) * 5 < len(x):
        raise FileFormatError(
            "all angles are whole, and most are there several times; if commas are both decimals and separators, write "
            "decimal points."
        )


def _require_pattern(x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    if len(x) < LEAST_POINTS:
        raise FileFormatError(
            f"only {len(x)} points; a measured profile of at least {LEAST_POINTS} points is needed, not a list of "
            "reflections."
        )
    if x[-1] - x[0] < 3:
        raise FileFormatError(f"two theta runs over {x[-1] - x[0]:.2g} degrees only; a pattern needs at least 3.")
    scatter = float(np.median(np.abs(np.diff(y, 2)))) / 1.65
    contrast = float(np.percentile(y, 99.8) - np.median(y))
    if y.max() <= 0:
        raise FileFormatError("no counts are positive; this is not a powder pattern.")
    if np.ptp(y) == 0:
        raise FileFormatError("all counts are the same; this is not a powder pattern.")
    require_profile(x, y)
    if contrast < LEAST_CONTRAST * scatter:
        raise FileFormatError("no reflection rises above the noise; this is not a powder pattern.")
