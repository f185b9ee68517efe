"""Tables of numbers that could be read as a powder pattern and are not one: several scans, other columns, thousands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError

SHARED = 0.5  # of the shorter range; scans that are pieces of one pattern overlap by less
REPEATED = 0.9  # correlation of repeated scans
SHUFFLED = 0.1  # of the points step backwards in a table without an order
LEAST_RUN = 10  # points
LEAST_PADDING = 20  # points
FAR = 50  # steps
UNEVEN = 0.5  # logarithm of the ratio of neighbouring steps; about 1.1 for random places
RELATED = 0.5  # correlation of neighbouring points
SIMILAR = 0.5  # of the highest counts; errors of counts are smaller
_GROUPS = r"[0-9]{1,3}(?:[%s][0-9]{3})+(?:[.][0-9]+)?"
_SPACES = "\u00a0\u2009\u202f"  # that do not break
_ANGLE = r"\"?[+-]?[0-9]+(?:[.,][0-9]+)?\"?"
_THOUSANDS = re.compile(
    rf"{_ANGLE}(?:[\t;]\s*{_GROUPS % f' ,{_SPACES}'}|\s+{_GROUPS % f',{_SPACES}'}"
    rf"|\s*[\s,;]\s*\"{_GROUPS % f' ,{_SPACES}'}\")"
)


def require_one_scan(x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Raise FileFormatError if a table holds scans of different patterns over the same range, one after the other."""
    steps = np.diff(x)
    back = np.flatnonzero(steps * np.sign(np.sign(steps).sum() or 1.0) < 0)
    if not len(back) or len(back) > SHUFFLED * len(x):
        return
    pieces = [piece for piece in np.split(np.arange(len(x)), back + 1) if len(piece) >= LEAST_RUN]
    for first, second in pairwise(pieces):
        low, high = (max(x[first].min(), x[second].min()), min(x[first].max(), x[second].max()))
        if high - low > SHARED * min(np.ptp(x[first]), np.ptp(x[second])) and not _same(x, y, first, second):
            raise FileFormatError(
                f"several patterns: after {x[first[-1]]:g} the first column goes back to {x[second[0]]:g}; keep one."
            )


def _same(x: NDArray[np.float64], y: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]) -> bool:
    """Return whether two scans have the same points and much the same counts."""
    one, other = (order[np.argsort(x[order])] for order in (first, second))
    if len(one) != len(other) or not np.allclose(x[one], x[other], atol=1e-6):
        return False
    return bool(np.corrcoef(y[one], y[other])[0, 1] > REPEATED)


def require_no_thousands(lines: Sequence[str]) -> None:
    """Raise FileFormatError if counts are written with separators of thousands, such as 5,200 or 5 200."""
    found = next((line for line in lines if _THOUSANDS.fullmatch(line)), None)
    if found is not None:
        raise FileFormatError(
            f"{found[:40]!r} is an angle and counts with separators of thousands, or three numbers; write the counts "
            "without separators, or the columns with commas throughout."
        )


def require_errors_last(second: NDArray[np.float64], third: NDArray[np.float64]) -> None:
    """Raise FileFormatError if the second of three columns without names is the square root of the third."""
    usable = (second > 0) & (third > 0)
    if usable.sum() < len(second) / 2:
        return
    of_third, of_second = (
        np.median(np.abs(error[usable] ** 2 / counts[usable] - 1))
        for error, counts in ((second, third), (third, second))
    )
    if of_third < 0.1 < of_second:
        raise FileFormatError(
            "the second of three columns is the square root of the third, as errors are of counts; name the columns in "
            "the line above, such as 2theta,error,counts, or keep two."
        )


def too_large_for_errors(counts: NDArray[np.float64], third: NDArray[np.float64]) -> str:
    """Return a note if the third of three columns without names is as large as the counts, otherwise empty."""
    if not np.nanmax(third) > SIMILAR * np.nanmax(counts):
        return ""
    return "the third of three columns, which is too large for errors of the counts, is not used"


def without_stray_line(
    x: NDArray[np.float64], y: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points in the order of the file without the first, with a note, if it is none.

    It is none if it is far from the others, such as a line of wavelengths or of the number of points.
    """
    steps = np.diff(np.sort(x[1:]))
    if len(steps) < LEAST_RUN or not (steps > 0).any():
        return x, y
    usual, first, last = np.median(steps[steps > 0]), x[1:].min(), x[1:].max()
    if min(abs(x[1:] - x[0])) >= FAR * usual and not first < x[0] < last:
        notes.append(f"the first line, at {x[0]:g}, is far from the pattern and is left out")
        return x[1:], y[1:]
    return x, y


def without_range_line(table: NDArray[np.float64], at: int, notes: list[str]) -> NDArray[np.float64]:
    """Return rows (n, columns) without the first, with a note, if it states the first and last angle (column at)."""
    row, x = table[0], table[1:, at]
    steps = np.diff(np.sort(x))
    if not (steps > 0).any() or row[at] != x.min():
        return table
    if not (abs(np.delete(row, at) - x.max()) < np.median(steps[steps > 0])).any():
        return table
    notes.append(
        f"the first line, {' '.join(f'{value:g}' for value in row)}, is the range of the pattern and is left out"
    )
    return table[1:]


def require_profile(x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Raise FileFormatError if ascending points are a list of reflections: uneven steps and unrelated intensities."""
    steps = np.diff(x)
    uneven = np.median(np.abs(np.diff(np.log(steps)))) > UNEVEN and len(np.unique(steps.round(4))) > len(steps) / 4
    if uneven and np.corrcoef(y[1:], y[:-1])[0, 1] < RELATED:
        raise FileFormatError(
            "the angles have no common step, and neighbouring intensities are unrelated, as in a list of reflections; "
            "a measured profile is needed."
        )


def without_padding(
    x: NDArray[np.float64], y: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a pattern without the zeros that stand for points not measured before and after it, with a note."""
    measured = np.flatnonzero(y)
    if not len(measured) or np.median(y[measured[0] : measured[-1] + 1]) <= 0:
        return x, y
    first = measured[0] if measured[0] >= LEAST_PADDING else 0
    last = measured[-1] + 1 if len(y) - measured[-1] > LEAST_PADDING else len(y)
    if last - first < len(y):
        notes.append(f"{len(y) - last + first} points of zero counts before or after the pattern are left out")
    return x[first:last], y[first:last]
