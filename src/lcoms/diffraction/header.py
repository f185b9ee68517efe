"""Statements in the header of a powder pattern: names of columns, units, wavelength, and axes that are not read."""

from __future__ import annotations

import re

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import K_LINES, KEV_ANGSTROM, Radiation

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


_DIRECT = re.compile(  # a number right behind the word
    r"(?:wave[\s_-]*length|\blambda|λ)\s*(?:[(\[]\s*(?P<before>nm|pm|å|a|angstrom)\s*[)\]])?\s*[:=]?\s*"
    r"(?P<number>[0-9]+[.,][0-9]+)\s*(?P<unit>nm|pm)?\b",
    re.IGNORECASE,
)
_KEV = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*keV\b", re.IGNORECASE)
_ANODES = "|".join(K_LINES)
_ANODE = re.compile(
    rf"(?:anode|target|tube)[^,;\n]{{0,25}}?\b({_ANODES})\b|\b({_ANODES})[\s-]*K[\s_\\-]*(?:alpha|α|a)", re.IGNORECASE
)


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
    """Raise FileFormatError if a header states wavelengths or energies, and none of them is that of the radiation."""
    lines = [line for line in header.splitlines() if _LENGTH.search(line) and not _RATIO.search(line)]
    stated = [(float(number), SAME_LENGTH) for line in lines for number in _NUMBER.findall(line)]
    stated = [(length, off) for length, off in stated if length > SHORTEST]
    stated = [_in_angstrom(match) for match in _DIRECT.finditer("\n".join(lines))] + stated
    stated += [(KEV_ANGSTROM / float(text), _rounding(text)) for text in _KEV.findall(header) if float(text) > 0]
    known = [radiation.wavelength, radiation.mean, *([radiation.second] if radiation.second else [])]
    known += [length / 10 for length in known]  # in nanometres
    if not stated or any(abs(one / other - 1) < off for one, off in stated for other in known):
        return
    length = stated[0][0]
    raise FileFormatError(
        f"the header states a wavelength of {length:.7g} angstrom, but {radiation.name} ({radiation.mean:.4g} "
        f"angstrom) is to be used; give --wavelength {length:.7g}, or take the statement out of the header."
    )


def _in_angstrom(match: re.Match[str]) -> tuple[float, float]:
    """Return a stated wavelength in angstrom, and the relative error that its rounding allows."""
    text = match["number"].replace(",", ".")
    unit = (match["unit"] or match["before"] or "").lower()
    return float(text) * {"nm": 10.0, "pm": 0.01}.get(unit, 1.0), _rounding(text)


def _rounding(number: str) -> float:
    decimals = len(number.partition(".")[2])
    return max(SAME_LENGTH, 0.51 * 10.0**-decimals / float(number)) if float(number) else SAME_LENGTH


def require_radiation(header: str, radiation: Radiation) -> None:
    """Raise FileFormatError if a header names an anode or a kind of radiation other than that to be used."""
    anodes = list(dict.fromkeys((first or second).capitalize() for first, second in _ANODE.findall(header)))
    near = [anode for anode in anodes if any(abs(radiation.mean / line - 1) < 0.01 for line in K_LINES[anode])]
    if anodes and not near:
        raise FileFormatError(
            f"the header names {anodes[0]} radiation, but {radiation.name} is to be used; give --wavelength "
            f"{anodes[0]}Ka, or take the name out of the header."
        )
    neutron, xray = (bool(re.search(word, header, re.IGNORECASE)) for word in (r"\bneutrons?\b", r"\bx[\s-]?rays?\b"))
    if neutron != xray and neutron != (radiation.kind == "neutron"):
        kinds = ("neutrons", "X-rays") if neutron else ("X-rays", "neutrons")
        hint = "'neutron 1.54'" if neutron else "CuKa"
        raise FileFormatError(
            f"the header says {kinds[0]}, but {radiation.name} ({kinds[1]}) is to be used; give a --wavelength such as "
            f"{hint}, or take the word out of the header."
        )
