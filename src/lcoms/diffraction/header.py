"""Statements in the header of a powder pattern: names of columns, units, wavelength, and axes that are not read."""

from __future__ import annotations

import re

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import Radiation

SAME_LENGTH = 3e-3  # relative; stated wavelengths are rounded
SHORTEST = 0.1  # angstrom
_LENGTH = re.compile(r"wave[\s_-]*length|\blambda\b|λ|\b_?wl[12]?\b|k[\s_-]*alpha", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![0-9.A-Za-z])([0-9]\.[0-9]{2,})")
_RATIO = re.compile(r"ratio|intensit|sin", re.IGNORECASE)
_PER_NM = re.compile(r"nm\s*\^?\s*[({]?\s*[-−]\s*1|1\s*/\s*nm|nm⁻¹|/\s*nm\b", re.IGNORECASE)
_IN_NM = re.compile(r"[(\[]\s*nm\s*[)\]]", re.IGNORECASE)
_FOREIGN = re.compile(
    r"(?P<theta>th(?:eta)?\b|θ)|omega\b|ω|energy|e\s*[(\[]k?ev|tof\b|time\b|channel|1\s*/\s*d|s\s*[(\[=]|sin|bragg"
)
_NOT_COUNTS = re.compile(r"\b(log|ln|lg|sqrt)(?:10)?\b|√|square\s*root", re.IGNORECASE)


def loop_names(header: str) -> str:
    """Return a header with the names of a CIF loop, one per line, joined to one line of column names."""
    before, loop, after = header.rpartition("loop_")
    if not loop:
        return header
    names = [line.strip().lstrip("_") for line in after.splitlines() if line.strip().startswith("_")]
    return "\n".join([before.strip(), ", ".join(names)])


def scale_of(header: str, axis: str) -> float:
    """Return the factor that converts the axis to angstrom or 1/angstrom: other than 1 for nanometres in the header."""
    if axis == "q" and _PER_NM.search(header):
        return 0.1
    return 10.0 if axis == "d" and _IN_NM.search(header) else 1.0


def require_axis(name: str) -> None:
    """Raise FileFormatError if the name of the first column is that of an axis other than two theta, d and Q."""
    found = _FOREIGN.match(name.strip())
    if found is None:
        return
    hint = "double the angles" if found["theta"] else "convert it"
    raise FileFormatError(
        f"the first column is named {name.strip()[:30]!r}; two theta, d and Q can be read, so {hint}, or add --axis "
        "two-theta, d or q if the name is wrong."
    )


def require_counts(name: str) -> None:
    """Raise FileFormatError if the name of the counts says that they are on another scale."""
    if _NOT_COUNTS.search(name):
        raise FileFormatError(f"the counts are named {name.strip()[:30]!r}; give them on a linear scale.")


def require_wavelength(header: str, radiation: Radiation) -> None:
    """Raise FileFormatError if a header states wavelengths, and none of them is that of the radiation."""
    lines = [line for line in header.splitlines() if _LENGTH.search(line) and not _RATIO.search(line)]
    stated = [float(number) for line in lines for number in _NUMBER.findall(line) if float(number) > SHORTEST]
    known = [radiation.wavelength, radiation.mean, *([radiation.second] if radiation.second else [])]
    known += [length / 10 for length in known]  # in nanometres
    if not stated or any(abs(one / other - 1) < SAME_LENGTH for one in stated for other in known):
        return
    raise FileFormatError(
        f"the header states a wavelength of {stated[0]:.7g} angstrom, but {radiation.name} ({radiation.mean:.4g} "
        f"angstrom) is to be used; give --wavelength {stated[0]:.7g}, or take the statement out of the header."
    )
