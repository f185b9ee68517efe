"""The table of numbers in a text: which lines are points, which are a header, and whether commas are decimal."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real, without_fortran
from lcoms.diffraction.columns import axis_of
from lcoms.diffraction.doubts import require_no_thousands

_UNCERTAINTY = re.compile(r"(?<=[0-9.])\([0-9]+\)")
_UNKNOWN = re.compile(r"(?<!\S)[.?](?!\S)")  # in a loop of a CIF
_POINT = re.compile(r"[\"'(\[]?\s*[+-]?\.?[0-9]")  # how a point begins, also in quotes
NEXT_TABLE = ("loop_", "data_")
COMMENTS = ("#", "!", ";", "//", "'", '"', "/*", "*", "%", "_", *NEXT_TABLE)
FEW = 10  # lines of numbers, such as those that some programs write above the names of columns


def read_table(text: str) -> tuple[str, NDArray[np.float64]]:
    """Return the lines of a text that are not points of its table, and the points (n, columns).

    Raises:
        FileFormatError: there is no table, or more than one, or a line of it is not understood.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    require_no_thousands([line for _, line in lines])
    comma = _decimal_commas([line for _, line in lines])
    if any(line == "loop_" for _, line in lines):
        lines = [(number, _UNKNOWN.sub("nan", line)) for number, line in lines]
    header: list[str] = []
    rows: list[list[float]] = []
    ended = False  # by another loop or data block of a CIF
    for at, (number, line) in enumerate(lines):
        row = _numbers(line, decimal_commas=comma)
        ended = ended or (bool(rows) and line.startswith(NEXT_TABLE))
        if ended and row is not None and len(row) >= 2:
            raise FileFormatError(f"line {number} is in a second table of numbers; keep the loop of the pattern alone.")
        if ended:
            continue
        if row is not None and len(row) >= 2:
            rows.append(row)
            continue
        if 0 < len(rows) < FEW and axis_of(line) is not None:
            rows, header = [], [other for _, other in lines[:at]]
        if not rows or (line.startswith(COMMENTS) and not _POINT.match(line)):
            header.append(line)
        elif any(_POINT.match(other) for _, other in lines[at:]):
            raise FileFormatError(f"line {number} is not two numbers: {line[:40]!r}.")
        else:
            header = [*(other for _, other in lines[at:]), *header]
            break
    if not rows:
        raise FileFormatError("no powder pattern: no line has two numbers, an angle and counts.")
    return "\n".join(header), _of_one_width(rows)


def _of_one_width(rows: list[list[float]]) -> NDArray[np.float64]:
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # some programs write start, step and end of the scan first
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise FileFormatError(
            f"lines have {' or '.join(map(str, widths))} columns; all must have the same, an angle and its counts."
        )
    return np.array(rows)


def _numbers(line: str, *, decimal_commas: bool) -> list[float] | None:
    plain = without_fortran(_UNCERTAINTY.sub("", line.replace('"', ""))).strip(" \t,;")
    parts = re.split(r",?[\s;]+" if decimal_commas else r"[\s,;]+", plain)
    try:
        return [real(part.replace(",", ".") if decimal_commas else part) for part in parts]
    except ValueError:
        return None


def _decimal_commas(lines: list[str]) -> bool:
    """Return whether commas are decimal separators; columns are then separated otherwise, or by commas and spaces."""
    exponent = r"(?:[eE][+-]?\d+)?"
    number, decimal = rf"[+-]?\d+(?:,\d+)?{exponent}", rf"[+-]?\d+,\d+{exponent}"
    row = re.compile(rf"{number}(?:[\s;]+{number})+;?|{decimal}(?:,\s+{decimal})+")
    plain = [line.replace('"', "") for line in lines]
    hits = [line for line in plain if row.fullmatch(line)]
    return any("," in line for line in hits) and len(hits) >= 0.9 * sum(line[:1].isdigit() for line in plain)
