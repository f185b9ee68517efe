"""Radiation by name or wavelength: laboratory X-rays, synchrotron X-rays and neutrons.

Wavelengths of the K lines (angstrom) are those of pymatgen (International Tables, volume C, table 4.2.2.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lcoms.core.errors import ConfigError

K_LINES = {
    "Cu": (1.54056, 1.54439, 1.39222),
    "Co": (1.78896, 1.79285, 1.63079),
    "Mo": (0.7093, 0.71359, 0.63229),
    "Cr": (2.2897, 2.29361, 2.08487),
    "Fe": (1.93604, 1.93998, 1.75661),
    "Ag": (0.559421, 0.563813, 0.497082),
}
"""K-alpha-1, K-alpha-2 and K-beta-1 of each anode."""
DOUBLET = 0.5  # intensity of K-alpha-2 over that of K-alpha-1
SNAP = 3e-4  # relative; a wavelength this close to a K line is that line
KEV_ANGSTROM = 12.398419739  # Planck constant times speed of light, keV angstrom
LIMITS = {"xray": (0.1, 5.0), "neutron": (0.3, 10.0)}  # angstrom

_NAME = re.compile(r"([a-z]{2})k(a(?:lpha)?|b(?:eta)?)?(1|2)?", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?[\d.]+(?:e-?\d+)?)\s*(å|a|angstrom|k?ev|pm|nm)?", re.IGNORECASE)
_PLAIN = str.maketrans("αβ₁₂", "ab12")


@dataclass(frozen=True)
class Radiation:
    """Radiation that a powder was measured with.

    Attributes:
        name: for example CuKa.
        kind: "xray" (scattered by electrons) or "neutron" (scattered by nuclei).
        wavelength: angstrom, of the strongest line.
        second: angstrom, of the second line of the K-alpha doublet; None for a single wavelength.
        polarised: whether the beam is polarised, as at a synchrotron; intensities then have no polarisation factor.
        deuterated: whether hydrogen scatters as deuterium, which crystals do not tell apart from it.
    """

    name: str
    kind: Literal["xray", "neutron"]
    wavelength: float
    second: float | None = None
    polarised: bool = False
    deuterated: bool = False

    @property
    def mean(self) -> float:
        """Intensity-weighted mean wavelength in angstrom, as used in tables of lines."""
        if self.second is None:
            return self.wavelength
        return (self.wavelength + DOUBLET * self.second) / (1 + DOUBLET)


def read_radiation(text: str) -> Radiation:
    """Return the radiation given by a name (CuKa, MoKa1, CuKa1+CuKa2), a wavelength in angstrom, or "neutron 1.54".

    K-alpha without a number is the doublet, and so is its wavelength to two decimals, such as 1.54. A wavelength that
    is not a K line is taken as synchrotron radiation.

    Raises:
        ConfigError: the name is unknown, or the wavelength is out of range.
    """
    asked = re.sub(r"[\s_:=]+|(?<=[A-Za-z])-+", " ", text.strip().translate(_PLAIN)).strip()
    words = asked.split(" ", 1)
    if words[0].lower() in ("neutron", "neutrons", "n") and len(words) == 2:
        heavy = re.search(r"\b(?:d|deuterated)$", words[1], re.IGNORECASE)
        length = _length(words[1][: heavy.start()] if heavy else words[1], text, "neutron")
        name = f"neutron {length:g}{' D' if heavy else ''}"
        return Radiation(name, "neutron", length, deuterated=heavy is not None)
    if words[0].lower() in ("synchrotron", "xray") and len(words) == 2:
        length = _length(words[1], text, "xray")
        return Radiation(f"{words[0].lower()} {length:g}", "xray", length, polarised=words[0].lower() == "synchrotron")
    named = _named(asked)
    if named is not None:
        return named
    if _NUMBER.fullmatch(asked):
        return _numbered(_length(asked, text, "xray"), rounded=re.fullmatch(r"[0-9]\.[0-9]{2}", asked) is not None)
    raise ConfigError(
        f"{text!r} is not a radiation: give a name ({', '.join(f'{anode}Ka' for anode in K_LINES)}, or CuKa1), "
        "a wavelength in angstrom such as 0.4586, or 'neutron 1.54'."
    )


def _named(asked: str) -> Radiation | None:
    parts = [part.replace(" ", "") for part in asked.split("+")]
    found = [_NAME.fullmatch(part) for part in parts]
    if found[0] is None or found[0][1].capitalize() not in K_LINES:
        return None
    anode = found[0][1].capitalize()
    first, second, beta = K_LINES[anode]
    if len(parts) == 2:
        rest = re.fullmatch(rf"(?:{anode})?k?(?:a|alpha)?2", parts[1], re.IGNORECASE)
        return Radiation(f"{anode}Ka", "xray", first, second) if rest and found[0][3] == "1" else None
    if len(parts) > 2:
        return None
    if (found[0][2] or "a").lower().startswith("b"):
        return Radiation(f"{anode}Kb", "xray", beta)
    number = found[0][3]
    if number is None:
        return Radiation(f"{anode}Ka", "xray", first, second)
    return Radiation(f"{anode}Ka{number}", "xray", first if number == "1" else second)


def _numbered(length: float, *, rounded: bool) -> Radiation:
    """Return a K line or a doublet where the wavelength is close to its line or mean, else synchrotron radiation.

    Args:
        rounded: whether the wavelength is given to two decimals only.
    """
    for anode, (first, second, beta) in K_LINES.items():
        mean = (first + DOUBLET * second) / (1 + DOUBLET)
        if abs(length / mean - 1) < SNAP / 2 or (rounded and round(mean, 2) == length):
            return Radiation(f"{anode}Ka", "xray", first, second)
        for name, line in ((f"{anode}Ka1", first), (f"{anode}Ka2", second), (f"{anode}Kb", beta)):
            if abs(length / line - 1) < SNAP:
                return Radiation(name, "xray", length)
    return Radiation(f"synchrotron {length:g}", "xray", length, polarised=True)


def _length(text: str, asked: str, kind: Literal["xray", "neutron"]) -> float:
    found = _NUMBER.fullmatch(text.strip())
    try:
        value = float(found[1]) if found else float("nan")
    except ValueError:
        value = float("nan")
    unit = (found[2] or "a").lower() if found else "a"
    low, high = LIMITS[kind]
    if unit in ("kev", "ev"):
        value *= 1 if unit == "kev" else 1e-3
        value = KEV_ANGSTROM / value if value > 0 and kind == "xray" else float("nan")  # of photons
    value *= {"pm": 0.01, "nm": 10.0}.get(unit, 1.0)
    if not low <= value <= high:
        raise ConfigError(f"{asked!r}: give a wavelength between {low:g} and {high:g} angstrom, such as 1.5406.")
    return value
