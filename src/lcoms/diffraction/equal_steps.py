"""Text files of the range of a scan and its counts in equal steps: Sietronics, MDI, Rigaku, FullProf and others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real
from lcoms.diffraction.scans import OFF, lines_of, numbers_of

IS_CPI = re.compile(r"\s*SIETRONICS XRD SCAN\b", re.IGNORECASE)
IS_ASC = re.compile(r"^\*COUNT\s*=", re.MULTILINE)
_MDI = re.compile(
    r"\s*(?P<start>[\d.]+)\s+(?P<step>[\d.]+)\s+[\d.]+\s+(?P<anode>[A-Za-z]{1,2})\s+(?P<length>[\d.]+)"
    r"\s+(?P<end>[\d.]+)\s+(?P<n>\d+)\s*"
)
_ASC_KEY = re.compile(r"\*(\w+)\s*=\s*(.*)")
_TWO_THETA = re.compile(r"2\s*-?\s*theta", re.IGNORECASE)
LEAST_COUNTS = 60
TABLE = 3  # columns of angles, counts and errors, at most


def table_of_cpi(text: str) -> str:
    """Return the scan of a Sietronics file as lines of two theta and counts.

    Raises:
        FileFormatError: the file is damaged, or the number of counts is not that of the range.
    """
    head, found, counts = text.strip().partition("SCANDATA")
    fields = [line.strip() for line in head.splitlines()][1:]
    if not found or len(fields) < 5:
        raise FileFormatError("a Sietronics file without its range or without SCANDATA.")
    start, end, step = numbers_of(fields[:3], "Sietronics")
    return _table([f"anode {fields[3]}"], [fields[4]], (start, step, end), numbers_of(counts.split(), "Sietronics"))


def table_of_mdi(text: str) -> str | None:
    """Return the scan of an MDI file as lines of two theta and counts; None for a file of another kind.

    Raises:
        FileFormatError: the number of counts is not that of the range.
    """
    title, *lines = text.lstrip().splitlines()[:2] or [""]
    found = _MDI.fullmatch(lines[0]) if lines else None
    if found is None:
        return None
    y = numbers_of(" ".join(text.lstrip().splitlines()[2:]).split(), "MDI")
    start, step, end, n = numbers_of([found["start"], found["step"], found["end"], found["n"]], "MDI")
    if len(y) != n:
        raise FileFormatError(f"the MDI scan states {n:g} points but has {len(y)}.")
    return _table([title, f"anode {found['anode'].capitalize()}"], [found["length"]], (start, step, end), y)


def table_of_asc(text: str) -> str:
    """Return the scan of a Rigaku file (`.asc`) as lines of two theta and counts, or counts per second.

    Raises:
        FileFormatError: several scans, a scan that is not over two theta, or a damaged file.
    """
    keys: dict[str, str] = {}
    words: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        if (found := _ASC_KEY.match(line)) is not None:
            keys[found[1].upper()] = found[2].strip()
        elif not line.startswith("*"):
            words += line.replace(",", " ").split()
    if len(IS_ASC.findall(text)) != 1:
        raise FileFormatError("a Rigaku file with several scans; export the scan of the pattern alone.")
    if not _TWO_THETA.match(keys.get("SCAN_AXIS", "")):
        raise FileFormatError(f"a Rigaku scan over {keys.get('SCAN_AXIS') or 'an unnamed axis'}, not over two theta.")
    if missing := [name for name in ("START", "STEP", "STOP") if name not in keys]:
        raise FileFormatError(f"a Rigaku scan without {' and '.join(missing)}.")
    y = numbers_of(words, "Rigaku")
    start, step, end, n = numbers_of([keys[name] for name in ("START", "STEP", "STOP", "COUNT")], "Rigaku")
    if len(y) != n:
        raise FileFormatError(f"the Rigaku scan states {n:g} points but has {len(y)}.")
    lengths = [keys[name] for name in ("WAVE_LENGTH1", "WAVE_LENGTH2") if name in keys]
    return _table([], lengths, (start, step, end), y)


def table_of_free(text: str) -> str | None:
    """Return counts that follow a line of start, step and end as lines of two theta and counts; None without any.

    Programs write such files with any number of counts per line (FullProf, DBWS, XFIT), with the end before the step
    (Rietica), or with as many errors after the counts (PSI).

    Raises:
        FileFormatError: the number of counts is not that of the range.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((at for at, line in enumerate(lines) if len(_leading(line)) >= TABLE), None)
    if at is None:
        return None
    first, rows = _leading(lines[at]), list(takewhile(bool, map(_row, lines[at + 1 :])))
    y = [value for row in rows for value in row]
    after = lines[at + 1 + len(rows) :]
    ranges = [one for one in ((first[0], first[1], first[2]), (first[0], first[2], first[1])) if _is_range(*one)]
    if not ranges or not rows or any(_leading(line) for line in after):
        return None
    header = [*lines[:at], re.sub(r"^([\d.eE+-]+[\s,;]*){3}", "", lines[at]), *after]
    many = len(rows[0]) > TABLE
    for one in ranges:
        for n in (len(y), len(y) // 2 if many and len(y) % 2 == 0 else len(y)):
            if _fits(n, *one):
                return _table(header, [], one, y[:n])
    if len(rows[0]) != len(first) and (many or len(rows[0]) == 1):
        _table(header, [], ranges[0], y)  # raises
    return None


def _is_range(start: float, step: float, end: float) -> bool:
    return 0 <= start < end <= 180 and step > 0 and (end - start) / step >= LEAST_COUNTS


def _fits(n: int, start: float, step: float, end: float) -> bool:
    return step > 0 and abs(start + step * (n - 1) - end) <= OFF * step


def _leading(line: str) -> list[float]:
    """Return the numbers that a line begins with."""
    numbers = []
    for word in re.split(r"[\s,;]+", line):
        try:
            numbers.append(real(word))
        except ValueError:
            break
    return numbers


def _row(line: str) -> list[float]:
    """Return the numbers of a line, or none if it has anything else."""
    words = re.split(r"[\s,;]+", line.strip(" \t,;"))
    return numbers if len(numbers := _leading(line)) >= len(words) else []


def _table(header: Sequence[str], lengths: list[str], steps: tuple[float, float, float], y: list[float]) -> str:
    """Return lines of two theta and counts below a header, for a range of start, step and end in degrees."""
    start, step, end = steps
    if not _fits(len(y), *steps):
        raise FileFormatError(
            f"{len(y)} counts in steps of {step:g} degrees do not run from {start:g} to {end:g}; the file is "
            "incomplete or has other numbers."
        )
    before = "".join(f"# {line}\n" for line in header if line)
    return before + lines_of(lengths, [start + step * number for number in range(len(y))], y)
