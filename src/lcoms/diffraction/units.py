"""Units of the axis of a powder pattern, from the names of its columns: radians, nanometres and the like."""

from __future__ import annotations

import re
from math import degrees

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.header import is_wavelength

ANGSTROM = {"nm": 10.0, "nanomet": 10.0, "pm": 0.01, "picomet": 0.01, "bohr": 0.529177}
_UNIT = r"(nm|nanomet(?=er|re)|pm|picomet(?=er|re)|bohr)(?:ers?|res?|s)?"
_INVERSE = re.compile(
    rf"(?:inverse|inv\.?|reciprocal|/)\s*{_UNIT}\b|{_UNIT}\s*(?:\^?\s*[({{]?\s*[-−]\s*1|⁻¹)", re.IGNORECASE
)
_LENGTH = re.compile(rf"(?:^|[(\[/,]|\bin\s|\bd )\s*{_UNIT}\b(?!\s*\^?\s*[-−]\s*1|⁻)", re.IGNORECASE)
_RADIANS = re.compile(
    r"(?:^|[(\[/,\s])(rad(?:ian)?s?|mrad|arc\s*min\w*|arc\s*sec\w*|cdeg|centideg\w*|gon)(?![a-z])", re.IGNORECASE
)
_NAMES = {
    "two-theta": re.compile(r"2\s*[-_ ]?\s*(?:th|θ)|two\s*-?theta|tth|angle", re.IGNORECASE),
    "d": re.compile(r"\bd\b|spac", re.IGNORECASE),
    "q": re.compile(r"\bq|scatter|momentum|vector", re.IGNORECASE),
}
_SOURCE = re.compile(r"\bk[\s_-]*(?:a|α)|x[\s-]?ray", re.IGNORECASE)  # where rad. stands for radiation
_BARE = re.compile(rf"^\W*(?:rad|mrad|{_UNIT})", re.IGNORECASE)  # a line of units below that of names


def scale_of(header: str, axis: str) -> float:
    """Return the factor that converts the axis to degrees, angstrom or 1/angstrom, by the unit that the header names.

    Raises:
        FileFormatError: two theta is in a unit other than degrees and radians.
    """
    for line in (line.replace("_", " ") for line in header.splitlines() if not is_wavelength(line)):
        if _SOURCE.search(line) or not (_NAMES[axis].search(line) or _BARE.search(line)):
            continue
        if axis == "two-theta":
            if found := _RADIANS.search(line):
                return _in_degrees(found[1])
        elif found := (_INVERSE if axis == "q" else _LENGTH).search(line):
            length = ANGSTROM[next(filter(None, found.groups())).lower()]
            return 1 / length if axis == "q" else length
    return 1.0


def _in_degrees(unit: str) -> float:
    if re.match("rad", unit, re.IGNORECASE):
        return degrees(1.0)
    raise FileFormatError(f"two theta is in {unit}; degrees and radians can be read.")
