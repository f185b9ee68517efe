"""GSAS powder data: one constant-wavelength bank of type STD, ESD, FXY or FXYE, as GSAS-II reads it."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real

Values = NDArray[np.float64]
CENTIDEGREES = 100.0  # in a degree
CONSTANT = ("CONST", "CONS")
COLUMNS = {"FXYE": 3, "FXY": 2}
BANK = re.compile(r"^BANK\s+\d+\s+\d+", re.MULTILINE | re.IGNORECASE)
_FLIGHT = re.compile(r"\btof\b|time[- ]of[- ]flight|microsec|TIME_MAP", re.IGNORECASE)
EVEN = 0.02  # relative spread of steps; those of times of flight grow in proportion to the time


def table_of_gsas(text: str) -> str:
    """Return the bank of a GSAS file as lines of two theta (degrees) and counts, preceded by the lines before it.

    Raises:
        FileFormatError: several banks, a bank that is not over two theta, or fewer or more points than it states.
    """
    before, *banks = re.split(r"^(?=BANK\s+\d+\s+\d+)", text, flags=BANK.flags)
    if len(banks) != 1:
        raise FileFormatError(f"a GSAS file with {len(banks)} banks; keep the bank of the pattern alone.")
    record, *lines = banks[0].splitlines()
    words = record.split()
    kind = words[-1].upper() if not _is_number(words[-1]) else "STD"
    binning = words[4].upper() if len(words) > 4 else ""
    if binning not in CONSTANT or _FLIGHT.search(before):
        raise FileFormatError(
            f"a GSAS bank with {binning or 'no'} bins is not over two theta at one wavelength; time-of-flight and "
            "energy-dispersive patterns cannot be fitted."
        )
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if kind in COLUMNS:
        x, y = _columns(lines, COLUMNS[kind])
    elif kind in ("STD", "ESD"):
        y = _standard(lines) if kind == "STD" else _fields(lines, 16)[:, 0]
        start, step = _numbers(words[5:7]) if len(words) > 6 else (0.0, 0.0)
        x = np.array([start + step * number for number in range(len(y))])
    else:
        raise FileFormatError(f"a GSAS bank of type {kind}; STD, ESD, FXY and FXYE can be read.")
    if len(y) != int(words[2]):
        raise FileFormatError(f"the GSAS bank states {words[2]} points but has {len(y)}.")
    _require_angles(x)
    header = "".join(f"# {line}\n" for line in before.splitlines()) + "2theta,counts\n"
    return header + "\n".join(f"{a!r},{b!r}" for a, b in zip((x / CENTIDEGREES).tolist(), y.tolist(), strict=True))


def _require_angles(x: Values) -> None:
    """Raise FileFormatError unless positions are two theta in centidegrees."""
    steps = np.diff(x)
    if not len(steps) or not (steps > 0).all():
        raise FileFormatError("the positions of the GSAS bank do not increase.")
    uneven, in_proportion = _spread(steps), _spread(steps / np.maximum(x[:-1], 1e-9))
    if x.max() >= 180 * CENTIDEGREES or in_proportion < uneven / 2 > EVEN / 2:
        raise FileFormatError(
            f"the GSAS bank runs from {x.min():g} to {x.max():g}, which are not hundredths of degrees two theta; "
            "time-of-flight patterns cannot be fitted."
        )


def _spread(values: Values) -> float:
    return float(np.ptp(values) / np.median(values))


def _columns(lines: list[str], n: int) -> tuple[Values, Values]:
    rows = [_numbers(line.split()) for line in lines]
    if not rows or any(len(row) != n for row in rows):
        raise FileFormatError(f"the GSAS bank has lines of other than {n} numbers.")
    table = np.array(rows)
    return table[:, 0], table[:, 1]


def _standard(lines: list[str]) -> Values:
    """Return the counts of fields (I2, F6): the number of detectors and their mean."""
    table = _fields(lines, 8, split=2)
    if len({bool(n) for n in table[:, 0].tolist()}) > 1:
        raise FileFormatError("counts of the GSAS bank have more than six digits, which its type STD does not allow.")
    return table[:, 1]


def _fields(lines: list[str], width: int, *, split: int = 8) -> Values:
    """Return the pairs (n, 2) in fields of fixed width, each divided after some characters; absent counts are NaN."""
    if any("\t" in line for line in lines):
        raise FileFormatError("the GSAS bank has tabs, but its columns have a fixed width.")
    fields = [line[at : at + width] for line in lines for at in range(0, len(line.rstrip()), width)]
    absent = ("0", "nan") if split == 2 else ("nan", "0")
    parts = ((field[:split].strip(), field[split:].strip()) for field in fields)
    pairs = [_numbers([one or other for one, other in zip(part, absent, strict=True)]) for part in parts]
    if not pairs:
        raise FileFormatError("the GSAS bank has no points.")
    return np.array(pairs)


def _numbers(words: list[str]) -> list[float]:
    try:
        return [real(word) for word in words]
    except ValueError:
        raise FileFormatError(f"the GSAS bank has {' '.join(words)[:40]!r} in place of numbers.") from None


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?\d+)?", word) is not None
