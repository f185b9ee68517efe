"""Text files of diffractometers: UXD of Siemens and Bruker, and UDF of Philips; one scan over two theta."""

from __future__ import annotations

import re

import numpy as np

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real

DRIVES = ("COUPLED", "LOCKEDCOUPLED", "UNLOCKEDCOUPLED", "2THETA", "TWOTHETA")  # scans over two theta
_BLOCK = re.compile(r"^_(2THETA)?(COUNTS|CPS)\s*(=\s*\d+\s*)?$", re.IGNORECASE)
_UNREAD = re.compile(r"^_(2THETACOUNTSTIME|D-I|2THETA-I)\b", re.IGNORECASE)
IS_UXD = re.compile(r"^_(2THETA)?(COUNTS|CPS)\b|^_DRIVE\s*=|^_FILEVERSION\s*=", re.IGNORECASE | re.MULTILINE)
OFF = 0.6  # steps; the last angle of a scan may be rounded


def table_of_uxd(text: str) -> str:
    """Return the scan of a UXD file as lines of two theta and counts, or counts per second.

    Raises:
        FileFormatError: several scans, a scan that is not over two theta, or a damaged file.
    """
    keys: dict[str, str] = {}
    blocks: list[tuple[bool, list[float]]] = []
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith(";"):
            continue
        if _UNREAD.match(line):
            raise FileFormatError(f"a UXD file with {line.split('=')[0]}; export two theta and counts.")
        if (block := _BLOCK.match(line)) is not None:
            blocks.append((block[1] is not None, []))
        elif line.startswith("_"):
            key, _, value = line[1:].partition("=")
            keys[key.strip().upper()] = value.strip().strip("'\"")
        elif blocks:
            blocks[-1][1].extend(numbers_of(line.split(), "UXD"))
    if len(blocks) != 1:
        raise FileFormatError(f"a UXD file with {len(blocks)} scans; export the scan of the pattern alone.")
    if re.sub(r"[^A-Z0-9]", "", keys.get("DRIVE", "").upper()) not in DRIVES:
        raise FileFormatError(f"a UXD scan over {keys.get('DRIVE') or 'an unnamed axis'}, not over two theta.")
    paired, values = blocks[0]
    if paired and len(values) % 2:
        raise FileFormatError("the UXD scan ends with an angle without counts.")
    y = values[1::2] if paired else values
    x = values[::2] if paired else _equidistant(keys, len(y))
    lengths = [keys[name] for name in ("WL1", "WL2") if name in keys]
    return lines_of(lengths, x, y)


def _equidistant(keys: dict[str, str], n: int) -> list[float]:
    if "START" not in keys or "STEPSIZE" not in keys:
        raise FileFormatError("a UXD scan without _START and _STEPSIZE.")
    start, step = numbers_of([keys["START"], keys["STEPSIZE"]], "UXD")
    return (start + step * np.arange(n)).tolist()


def table_of_udf(text: str) -> str:
    """Return the scan of a UDF file as lines of two theta and counts.

    Raises:
        FileFormatError: the range or the step is missing, or the number of counts is not that of the range.
    """
    head, found, counts = text.partition("RawScan")
    if not found or "RawScan" in counts:
        raise FileFormatError("a UDF file without exactly one scan (RawScan).")
    fields = [line.rstrip(" /").split(",") for line in head.splitlines()]
    keys = {field[0].strip(): field[1:] for field in fields}
    try:
        (first, last), (step,) = _words(keys["DataAngleRange"]), _words(keys["ScanStepSize"])
    except (KeyError, ValueError):
        raise FileFormatError("a UDF file without DataAngleRange and ScanStepSize.") from None
    (start, end, width), values = numbers_of([first, last, step], "UDF"), counts.replace("/", " ").replace("\x1a", " ")
    y = numbers_of(values.replace(",", " ").split(), "UDF")
    if width <= 0 or abs(start + width * (len(y) - 1) - end) > OFF * width:
        raise FileFormatError(
            f"{len(y)} counts in steps of {width:g} degrees do not run from {start:g} to {end:g}; the file is wrong."
        )
    lengths = [word for name in ("LabdaAlpha1", "LabdaAlpha2") for word in _words(keys.get(name, []))[:1]]
    return lines_of(lengths, (start + width * np.arange(len(y))).tolist(), y)


def _words(parts: list[str]) -> list[str]:
    return [part.strip() for part in parts if part.strip()]


def lines_of(lengths: list[str], x: list[float], y: list[float]) -> str:
    """Return lines of two theta (degrees) and counts, preceded by the wavelengths (angstrom) and the names."""
    head = f"# wavelength {' '.join(lengths)}\n2theta,counts\n"
    return head + "\n".join(f"{a!r},{b!r}" for a, b in zip(x, y, strict=True))


def numbers_of(words: list[str], kind: str) -> list[float]:
    """Return the numbers in words of a kind of file.

    Raises:
        FileFormatError: a word is not a number.
    """
    try:
        return [real(word) for word in words]
    except ValueError:
        raise FileFormatError(f"the {kind} scan has {' '.join(words)[:40]!r} in place of numbers.") from None
