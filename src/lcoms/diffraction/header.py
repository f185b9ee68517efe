"""Statements in the header of a powder pattern: names of columns, units, wavelength, and axes that are not read."""

from __future__ import annotations

import re

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import K_LINES, KEV_ANGSTROM, Radiation

SAME_LENGTH = 3e-3  # relative; stated wavelengths are rounded
SHORTEST = 0.1  # angstrom
_WAVELENGTH = r"wave[\s_-]*length|wellenl\S{1,2}nge|(?:longueur|longitud|lunghezza)\s+d\S{1,2}\s*ond[ea]|\blambda\b|λ"
_LENGTH = re.compile(rf"{_WAVELENGTH}|\b_?wl[12]?\b|k[\s_-]*alpha", re.IGNORECASE)
_BARE = re.compile(r"\s*([0-2]\.[0-9]{3,})\s*(?:\n|$)")  # on the first line, as DASH writes it
_NUMBER = re.compile(r"(?<![0-9.A-Za-z])([0-9]\.[0-9]{2,})(?![0-9eE])")
_RATIO = re.compile(r"ratio|intensit|sin", re.IGNORECASE)
_FOREIGN = re.compile(
    r"(?P<theta>(?:bragg\s*)?(?:angle\W*)?(?:th(?:eta)?|θ)(?![a-z\s/_-]*2)(?![a-z])|bragg(?!.*2\s*-?\s*(?:th|θ)))"
    r"|omega\b|ω|phi\b|φ|chi\b|χ|psi\b|azimuth|energy|e\s*[(\[]k?ev|wave\s*(?:number|length)|λ|cm\s*\^?-1|raman"
    r"|tof\b|time\b|t\s*[(\[]\s*[mµμu]?s\b|(?:\w+ )*time of flight|channel|pixel|position\s*[(\[]\s*mm|temperature"
    r"|1\s*/\s*d|d\s*\*|s\s*(?:$|[(\[=])|sin|r\s*(?:$|[(\[,]|(?:å|a|angstrom|mm)\b)"
)
_NOT_COUNTS = re.compile(
    r"\b(log|lg|sqrt)(?:10)?\b|\bln(?:\b|[iy(]|counts)|√|square\s*root|\^\s*\(?(?:0\.5|1/2)|[(\[]\s*db\s*[)\]]",
    re.IGNORECASE,
)
_DIRECT = re.compile(  # a number right behind the word
    rf"(?:{_WAVELENGTH})\s*(?:[(\[]\s*(?P<before>nm|pm|m|å|a|angstrom)\s*[)\]])?\s*[:=]?\s*"
    r"(?P<number>[0-9]+[.,][0-9]+(?:e-?[0-9]+)?)\s*(?P<unit>nm|pm|m)?\b",
    re.IGNORECASE,
)
_IN_METRES = 1e-7  # smaller numbers are wavelengths in metres
_KEV = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*keV\b|\bkeV\s*[)\]]\s*[:=,]?\s*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)
_EV = re.compile(
    r"energy[^\n0-9]{0,20}([0-9]{4,6}(?:\.[0-9]+)?)\s*eV\b|energy\s*[(\[]\s*eV\s*[)\]]\s*[:=,]?\s*([0-9]{4,6})",
    re.IGNORECASE,
)
_NOT_BEAM = re.compile("threshold|resolution|window|cut", re.IGNORECASE)
_METALS = {"copper": "Cu", "cobalt": "Co", "molybdenum": "Mo", "chromium": "Cr", "iron": "Fe", "silver": "Ag"}
_ANODES, _NAMED = "|".join(K_LINES), "|".join(_METALS)
_ANODE = re.compile(
    rf"(?:anode|target|tube)[^,;\n]{{0,25}}?\b({_ANODES})\b|\b({_ANODES})[\s-]*K[\s_\\-]*(?:alpha|α|a)"
    rf"|(?:(?:anode|target|tube)[\s_]*(?:material|name|type)?\s*,|source\s*[:=])\s*\"?({_ANODES})\b(?!\.)"
    rf"|(?:anode|target|tube|source|radiation)\W{{1,6}}({_NAMED})\b|\b({_NAMED})\s*(?:anode|target|tube|radiation|k)\b",
    re.IGNORECASE,
)
_OTHER_ANODE = re.compile(
    r"(?i:anode|target)(?i:[\s_]*(?:material|name|type))?\s*[:=,]?\s*[\"']?(Au|Ga|In|Ni|Pd|Rh|Ti|W|Zn)\b(?!\.)"
)  # without lines in K_LINES
_SCAN = re.compile(
    r"scan[\s_]*(?:axis|type)(?:[\s_]*x)?[\s\",:;=]+(omega|phi|chi|psi|theta|eta|[xyz]|rocking(?:\s*curve)?)\W*$"
    r"|x[\s-]*axis(?:\s*unit)?(?:\s*is)?\s*[:=]\s*(time[\s-]of[\s-]flight|tof|energy|wavelength|omega|phi|chi|theta(?![\s/-]*2))\b"
    r"|^#S\s+\d+\s+\w*scan\s+(omega|om|phi|chi|eta|psi|th|theta|energy)\b",
    re.IGNORECASE | re.MULTILINE,
)


def loop_names(header: str) -> str:
    """Return a header with the names of a CIF loop, one per line, joined to one line of column names."""
    before, loop, after = header.rpartition("loop_")
    if not loop:
        return header
    names = [line.strip().lstrip("_") for line in after.splitlines() if line.strip().startswith("_")]
    return "\n".join([before.strip(), ", ".join(names)])


def require_scan(header: str) -> None:
    """Raise FileFormatError if a header names the axis of the scan, and it is not two theta."""
    if found := _SCAN.search(header):
        axis = next(filter(None, found.groups()))
        raise FileFormatError(f"a scan over {axis}, not over two theta.")


def is_wavelength(line: str) -> bool:
    """Return whether a line of a header states a wavelength."""
    return _LENGTH.search(line) is not None and re.search(r"[0-9][.,][0-9]", line) is not None


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
    stated += [(float(found[1]), SAME_LENGTH) for found in [_BARE.match(header)] if found]
    stated = [(length, off) for length, off in stated if length > SHORTEST]
    stated = [_in_angstrom(match) for match in _DIRECT.finditer("\n".join(lines))] + stated
    stated += [(KEV_ANGSTROM / energy, off) for energy, off in _energies(header)]
    known = [radiation.wavelength, radiation.mean, *([radiation.second] if radiation.second else [])]
    known += [length / 10 for length in known]  # in nanometres
    if not stated or any(abs(one / other - 1) < off for one, off in stated for other in known):
        return
    length = stated[0][0]
    raise FileFormatError(
        f"the header states a wavelength of {length:.7g} angstrom, but {radiation.name} ({radiation.mean:.4g} "
        f"angstrom) is to be used; give --wavelength {length:.7g}, or take the statement out of the header."
    )


def _energies(header: str) -> list[tuple[float, float]]:
    """Return stated photon energies in keV, each with the relative error that its rounding allows."""
    texts = [(first or second, 1.0) for first, second in _KEV.findall(header)]
    lines = "\n".join(line for line in header.splitlines() if not _NOT_BEAM.search(line))
    texts += [(first or second, 1e-3) for first, second in _EV.findall(lines)]
    return [(float(text) * unit, _rounding(text)) for text, unit in texts if float(text) > 0]


def _in_angstrom(match: re.Match[str]) -> tuple[float, float]:
    """Return a stated wavelength in angstrom, and the relative error that its rounding allows."""
    text = match["number"].replace(",", ".").lower()
    unit = (match["unit"] or match["before"] or "").lower()
    unit = "m" if float(text) < _IN_METRES else unit
    return float(text) * {"nm": 10.0, "pm": 0.01, "m": 1e10}.get(unit, 1.0), _rounding(text.partition("e")[0])


def _rounding(number: str) -> float:
    decimals = len(number.partition(".")[2])
    return max(SAME_LENGTH, 0.51 * 10.0**-decimals / float(number)) if float(number) else SAME_LENGTH


def require_radiation(header: str, radiation: Radiation) -> None:
    """Raise FileFormatError if a header names an anode or a kind of radiation other than that to be used."""
    words = ["".join(found).lower() for found in _ANODE.findall(header)]
    anodes = list(dict.fromkeys(_METALS.get(word) or word.capitalize() for word in words))
    near = [anode for anode in anodes if any(abs(radiation.mean / line - 1) < 0.01 for line in K_LINES[anode])]
    if anodes and not near:
        raise FileFormatError(
            f"the header names {anodes[0]} radiation, but {radiation.name} is to be used; give --wavelength "
            f"{anodes[0]}Ka, or take the name out of the header."
        )
    if not anodes and (found := _OTHER_ANODE.search(header)) and radiation.kind == "xray" and radiation.second:
        raise FileFormatError(
            f"the header names {found[1]} radiation, but {radiation.name} is to be used; give the --wavelength in "
            "angstrom, or take the name out of the header."
        )
    if (radiation.second or radiation.kind == "neutron") and re.search(r"\bsynchrotron\b", header, re.IGNORECASE):
        raise FileFormatError(
            f"the header says synchrotron, but {radiation.name} is to be used; give the --wavelength in angstrom, or "
            "take the word out of the header."
        )
    if re.search(r"\belectron\s+diffraction\b", header, re.IGNORECASE):
        raise FileFormatError("the header says electron diffraction; X-ray and neutron patterns can be fitted.")
    neutron, xray = (bool(re.search(word, header, re.IGNORECASE)) for word in (r"\bneutrons?\b", r"\bx[\s-]?rays?\b"))
    if neutron != xray and neutron != (radiation.kind == "neutron"):
        kinds = ("neutrons", "X-rays") if neutron else ("X-rays", "neutrons")
        hint = "'neutron 1.54'" if neutron else "CuKa"
        raise FileFormatError(
            f"the header says {kinds[0]}, but {radiation.name} ({kinds[1]}) is to be used; give a --wavelength such as "
            f"{hint}, or take the word out of the header."
        )
