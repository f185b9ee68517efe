"""Which columns of a table are the axis and the counts, from the names above them or from their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.header import require_axis, require_counts

Axis = Literal["two-theta", "d", "q"]
_AXES: tuple[tuple[Axis, str], ...] = (
    ("two-theta", r"2\s*[-_ ]?\s*(theta|th\b|θ)|two\s*[-_]?theta|tth|angle|degree"),
    ("q", r"\bq\b|q\s*\(|scattering vector|momentum transfer|1/a\b|a\^-1|å-1|inverse angstrom"),
    ("d", r"\bd\b|d[-_ ]?spac|d\s*\(|spacing"),
)
_COUNTS = r"count|intens|\bdet(?:ector)?\b|\bg\s*\(r\)|\bobs|yobs|iobs|\bi\b|\by\b|cps|signal"
_SEPARATED = re.compile(r"[,;\t]|\S\s{2,}\S")
_OTHER = r"err|sigma|esd|calc|diff|back|bkg|bgr|index|point|\bno\b|\bn\b|#"
_DIVISOR = r"\b(?:time|monitor|mon|attenuat\w*)\b"
_MARKS = "#!;%*'\" \t_"


def axis_of(header: str) -> Axis | None:
    """Return the axis that the first column of a header names, in the last line that names one; None without any."""
    for line in reversed(header.lower().splitlines()):
        first = re.split(r"[,;\t]|\s{2,}", line.lstrip(_MARKS))[0]
        if (axis := _axis(first)) is not None:
            require_axis(first if re.match(r"s\s*[(\[]", first) else "")
            return axis
    return None


class Columns(NamedTuple):
    """Columns of the axis and of the counts, the kind of axis (None where nothing names it), a note, and if named."""

    axis: int
    counts: int
    kind: str | None
    note: str = ""
    named: bool = False


def chosen_columns(header: str, n: int, axis: str | None, table: NDArray[np.float64]) -> Columns:
    """Return the columns to be read.

    Args:
        header: lines before the numbers.
        n: number of columns.
        axis: kind of axis given by the user.

    Raises:
        FileFormatError: the columns cannot be told apart, or they are another axis or not counts.
    """
    for place, line in enumerate(reversed(header.lower().splitlines())):
        names = _names(line, n)
        if axis is None and names and _names_columns(names, last=place == 0 and _SEPARATED.search(line) is not None):
            require_axis(names[0].replace("_", " "))
        axes = {at: found for at, name in enumerate(names) if (found := _axis(name)) is not None}
        if not axes and axis is None and any(_is_counts(name) for name in names[1:]):
            _require_not_counts(names[0])
        fitting = [at for at in axes if axis in (None, axes[at])]
        if not fitting:
            continue
        rest = [at for at in range(n) if at not in axes and not re.search(_OTHER, names[at])]
        rest = [at for at in rest if not _is_ordered(table[:, at])] or rest  # indices and times elapsed
        others = [at for at in range(n) if at not in axes]
        if not others and len(set(axes.values())) == 1:
            continue  # one name, with a comma
        if not others:
            raise FileFormatError("no column is named as counts; add the column of counts.")
        counts = [at for at in rest if _is_counts(names[at])] or rest or others
        require_counts(names[counts[0]])
        _require_one_measure(names, table, counts[0])
        doubtful = len(counts) > 1 or not rest
        note = f"counts are read from column {counts[0] + 1}, {names[counts[0]]}" if doubtful else ""
        return Columns(fitting[0], counts[0], axis or axes[fitting[0]], note, named=True)
    if n > 3:
        raise FileFormatError(f"{n} columns; keep two (two theta and counts), or name them in the line above.")
    if n == 3 and len(table) > 3 and _is_ordered(table[:, 1]):
        raise FileFormatError(
            "the second of three columns is monotonic, which counts are not; name the columns in the line above, "
            "such as 2theta,d,counts, or keep two."
        )
    return Columns(0, 1, axis or axis_of(header))


def _is_ordered(column: NDArray[np.float64]) -> bool:
    """Return whether the values of a column increase or decrease throughout, as those of an axis do."""
    steps = np.diff(column)
    return bool((steps > 0).all() or (steps < 0).all())


def _is_counts(name: str) -> bool:
    return re.search(_COUNTS, name.replace("_", " ")) is not None


def _names_columns(names: Sequence[str], *, last: bool) -> bool:
    """Return whether words are names of columns: one is that of counts, or they are separated above the numbers."""
    return any(_is_counts(name) for name in names[1:]) or (last and not any(re.search("[0-9]", n) for n in names[1:]))


def _require_one_measure(names: Sequence[str], table: NDArray[np.float64], counts: int) -> None:
    """Raise FileFormatError if the time or the monitor of the points varies, so that their counts do not compare."""
    for at, name in enumerate(names):
        column = table[:, at]
        if (
            at != counts
            and re.search(_DIVISOR, name)
            and not _is_ordered(column)
            and np.ptp(column) > 0.01 * abs(column).max()
        ):
            raise FileFormatError(
                f"the column named {name[:30]!r} varies from point to point; correct the counts for it, and omit it."
            )


def _require_not_counts(name: str) -> None:
    if _is_counts(name) and not re.search(_OTHER, name):
        raise FileFormatError(
            f"no column is named as an axis, the first is {name[:30]!r}; add the column of two theta, d or Q."
        )


def _names(line: str, n: int) -> list[str]:
    """Return the names of the columns if the line has exactly n of them, else an empty list."""
    bare = re.sub("^#l ", "", line.strip()).lstrip(_MARKS)  # as SPEC begins a line of names
    for between in (r"[,;\t]", r"\s{2,}", r"\s+"):
        names = [name.strip(" \"'") for name in re.split(between, bare)]
        if len(names) == n:
            return names
    return []


def _axis(name: str) -> Axis | None:
    name = name.replace("_", " ")
    if re.search(r"1\s*/\s*d\b|\bd\s*\*", name) or (re.search("sin", name) and not re.match(r"q\b", name)):
        return None
    return next((axis for axis, words in _AXES if re.search(words, name)), None)
