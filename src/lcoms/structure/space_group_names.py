"""Settings of space groups by name, number or Hall symbol, in the spellings found in files.

Settings (unique axes, cell choices, origins, axes of rhombohedral groups) and their operations are from gemmi's table,
full symbols from spglib's. Spaces, underscores, brackets and capitals in names are ignored; old cubic names without a
bar (F m 3 m), SHELX brackets (P2(1)/c), ICSD endings (H, R, RS, HS, S, Z) and e glides are understood.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lcoms.structure.cif_expand import Operations

if TYPE_CHECKING:
    import gemmi
    from spglib import SpaceGroupType

LONGEST = 60  # characters of a symbol
_OLD_CUBIC = (*range(200, 207), *range(221, 231))
_E_GLIDES = {"Aem2": "Abm2", "Aea2": "Aba2", "Cmce": "Cmca", "Cmme": "Cmma", "Ccce": "Ccca"}
_BARS = str.maketrans("₁₂₃₄₅₆–−‐¯", "123456----", "\u0304\u0305")
_ENDING = re.compile(r"(?:[\s:]*O?(?P<origin>[12])|[\s:]*(?P<axes>[HRShrsZz]{1,2}))$")
_ORIGIN = re.compile(r"[\s:(,]*(?:(?:origin|choice)[\sa-z]*([12])\)?|\(O([12])\)$)", re.IGNORECASE)
_NUMBERED = re.compile(r"\(\s*([0-9]{2,3})\s*\)$|(?:^|[(\s,]+)(?:no\.?|#)\s*([0-9]{1,3})\s*\)?$", re.IGNORECASE)
_NUMBER_BEFORE = re.compile(r"([0-9]{1,3})[\s,:]+([A-Za-z].*)")  # as ISODISTORT writes 225 F4/m-32/m, Fm-3m, Oh-5
_NUMBER_FIRST = re.compile(r"([0-9]{1,3})(?:\.0|:[0-9A-Za-z-]{1,4})?\s*(?:[(,]\s*([^0-9()].*?)\)?)?")
_ORIGINS = {"S": "1", "Z": "2"}


@dataclass(frozen=True)
class Setting:
    """One setting of a space group.

    Attributes:
        name: such as R -3 m:H.
        extension: H, R, 1 or 2; empty if there is no choice.
        standard: whether it is the reference setting of the International Tables.
        hall: Hall symbol, which gives the operations.
        axes: unique axis and cell choice such as b2, or the order of the axes such as cab; empty if there is no choice.
    """

    number: int
    name: str
    extension: str
    standard: bool
    hall: str
    axes: str = ""

    def has_code(self, code: str) -> bool:
        """Return whether this is a setting of an `IT_coordinate_system_code` such as b2, cab, 2, 2cab or H."""
        axes, extension = self.axes or "abc", self.extension.lower()
        return code.lower() in filter(None, (axes, extension, extension + axes))

    def operations(self) -> Operations:
        return _operations(self.hall)


@cache
def _operations(hall: str) -> Operations:
    import gemmi

    return as_operations(list(gemmi.symops_from_hall(hall)))


def as_operations(ops: Iterable[gemmi.Op]) -> Operations:
    """Return operations of gemmi as arrays."""
    listed = list(ops)
    rotations = np.array([op.rot for op in listed], dtype=float) / 24
    return Operations(rotations, np.array([op.tran for op in listed], dtype=float) / 24)


@cache
def all_settings() -> tuple[Setting, ...]:
    """Return the whole table, by number."""
    import gemmi

    return tuple(
        Setting(s.number, s.xhm(), s.ext.strip("\x00"), s.is_reference_setting(), s.hall, s.qualifier)
        for s in gemmi.spacegroup_table()
    )


def settings_of(number: int) -> list[Setting]:
    """Return all settings of a space group, the standard one first; none if there is no such number."""
    return sorted((s for s in all_settings() if s.number == number), key=lambda s: not s.standard)


def setting_of_hall(symbol: str) -> Setting | None:
    """Return the setting of a Hall symbol, with number 0 if only its operations are known; None if it is invalid."""
    import gemmi

    wanted = _plain_hall(symbol)
    for setting in all_settings():
        if _plain_hall(setting.hall) == wanted:
            return setting
    try:
        group = gemmi.symops_from_hall(symbol.replace("_", " "))
        found = gemmi.find_spacegroup_by_ops(group)
    except (RuntimeError, ValueError):
        return None
    if len(list(group)) > 192:
        return None
    known = next((s for s in all_settings() if found is not None and s.hall == found.hall), None)
    return known or Setting(0, symbol, "", False, symbol.replace("_", " "))


def _plain_hall(symbol: str) -> str:
    return " ".join(symbol.replace("_", " ").split()).lower()


def settings_named(name: str) -> list[Setting]:
    """Return the settings that a Hermann-Mauguin name may mean, those of a stated axis or origin choice first.

    A name without a choice means all settings of that name. A name without spaces can be short for several.
    """
    for text, extension in _readings(name):
        found = _by_name().get(text, ())
        if not found:
            continue
        settings = [all_settings()[i] for i in found]
        if extension:
            chosen = [s for s in settings if s.extension == extension]
            if not chosen and name.rstrip()[-2:-1] in " :" and not any(s.extension for s in settings):
                return sorted(settings, key=lambda s: not s.standard)  # a group without such a choice
            if not chosen:
                continue
            rest = [s for s in settings if s.extension != extension]
            return chosen + rest
        return sorted(settings, key=lambda s: not s.standard)
    return [all_settings()[i] for i in _without_marks().get(_plain(name), ())]


def lacks_marks(name: str) -> bool:
    """Return whether a name is understood only because one group has it if bars and slashes are left out, as P21c."""
    return not any(text in _by_name() for text, _ in _readings(name)) and _plain(name) in _without_marks()


def without_number(name: str) -> tuple[str, str]:
    """Return a name without quotes and without the number that some programs append, and that number or an empty text.

    The brackets of SHELX, as in P2(1), are not such a number.
    """
    text = name.strip("'\" ")
    if re.fullmatch("[0-9]{1,3}", text):
        return "", text
    if match := _NUMBER_BEFORE.match(text):
        return match[2], match[1]
    match = _NUMBERED.search(text)
    return (text[: match.start()].strip(), match[1] or match[2]) if match else (text, "")


def stated_extension(name: str) -> str:
    """Return the axis or origin choice that a name states: H, R, 1 or 2, or empty."""
    for text, extension in _readings(name):
        found = [all_settings()[i] for i in _by_name().get(text, ())]
        if found and (not extension or any(s.extension == extension for s in found)):
            return extension
    return ""


def _readings(name: str) -> list[tuple[str, str]]:
    """Return plain names, each with the stated choice, in the order in which they are tried."""
    text = _tidy(name)
    readings = [(_plain(text), "")]
    match = _ENDING.search(text)
    if match:
        bare = text[: match.start()]
        if match["origin"]:
            readings.append((_plain(bare), match["origin"]))
        else:
            letters = match["axes"].upper()
            extension = next((c for c in letters if c in "HR"), "") or _ORIGINS.get(letters[-1], "")
            readings.append((_plain(bare), extension))
    if re.search(r"[1346]\s?-", text):  # the bar behind its digit
        readings.append((_plain(re.sub(r"([1346])\s?-", r"-\1", text)), ""))
    if "," in text:  # several symbols, or a note
        readings.append((_plain(text.partition(",")[0]), ""))
    if text[:1].upper() == "H":  # as the PDB writes rhombohedral groups on hexagonal axes
        readings.append((_plain("R" + text[1:]), "H"))
    return readings


def _tidy(name: str) -> str:
    """Return a name with bars, LaTeX and markup converted to plain text."""
    text = re.sub(r"\\(?:bar|overline)\s*\{?\s*([0-9])\s*\}?", r"-\1", name)
    text = re.sub(r"\\=\s*([0-9])", r"-\1", text)  # as in journals of the IUCr
    text = re.sub(r"([0-9])[\u0304\u0305]", r"-\1", text).translate(_BARS)
    text = _ORIGIN.sub(lambda m: f":{m[1] or m[2]}", re.sub(r"<sub>|</sub>|[$~^]", "", text))
    text = re.sub(r"([0-9])\s*bar|bar\s*([0-9])", lambda m: f"-{m[1] or m[2]}", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def _plain(name: str) -> str:
    return re.sub(r"[\s_(){}]", "", name).lower()


@cache
def _by_name() -> dict[str, tuple[int, ...]]:
    """Return indices in `all_settings` by plain name: full, short, old and with e glides."""
    import gemmi

    names: dict[str, dict[int, None]] = {}
    full = _full_symbols()
    for place, (setting, entry) in enumerate(zip(all_settings(), gemmi.spacegroup_table(), strict=True)):
        spellings = {entry.hm, entry.short_name(), *full.get(setting.hall, ())}
        if 3 <= setting.number <= 15:  # P 21/b with unique axis c: the cell shows which axis is unique
            spellings.add("".join(part for part in entry.hm.split() if part != "1"))
        if setting.extension == "H":
            spellings.discard(entry.short_name())
        if setting.number in _OLD_CUBIC:
            spellings |= {spelling.replace("-3", "3") for spelling in spellings}
        compact = entry.hm.replace(" ", "")
        spellings |= {new for new, old in _E_GLIDES.items() if compact == old}
        for spelling in spellings:
            names.setdefault(_plain(spelling), {})[place] = None
    return {name: tuple(places) for name, places in names.items()}


@cache
def _without_marks() -> dict[str, tuple[int, ...]]:
    """Return indices in `all_settings` by plain names without bars and slashes that belong to one group only."""
    places: dict[str, dict[int, None]] = {}
    for name, found in _by_name().items():
        places.setdefault(re.sub("[-/]", "", name), {}).update(dict.fromkeys(found))
    return {
        name: tuple(sorted(found, key=lambda i: not all_settings()[i].standard))
        for name, found in places.items()
        if len({all_settings()[i].number for i in found}) == 1
    }


def _full_symbols() -> dict[str, set[str]]:
    """Return full and short symbols by Hall symbol, from spglib."""
    found: dict[str, set[str]] = {}
    for kind in _spglib_types():
        names = {kind.international_full.strip(), *([] if "=" in kind.international else [kind.international])}
        found.setdefault(kind.hall_symbol, set()).update(names)
    return found


def number_of_group(text: str) -> int:
    """Return the number of a space group given by number or symbol, or both; 0 if it is none, or two different ones.

    Symbols are Hermann-Mauguin (full, short or old, in any setting), Hall, or Schoenflies such as Oh^5.
    """
    plain = text.strip().strip("'\"")
    if len(plain) > LONGEST:
        return 0
    match = _NUMBER_FIRST.fullmatch(plain)
    name, number = (match[2] or "", match[1]) if match else without_number(plain)
    name, _, behind = (name, "", number) if number else plain.partition(",")
    number = number or behind.strip()
    if number and not (number.isdecimal() and 1 <= int(number) <= 230):
        return 0
    named = _number_of_symbol(name.strip()) if name.strip() else int(number or 0)
    return named if not number or named == int(number) else 0


def _number_of_symbol(name: str) -> int:
    import gemmi

    group: Any = gemmi.find_spacegroup_by_name(name.replace("_", ""))
    if group is not None:
        return int(group.number)
    if (settings := settings_named(name)) and not lacks_marks(name):
        return settings[0].number
    hall = next((s.number for s in all_settings() if _plain_hall(s.hall) == _plain_hall(name)), 0)
    return hall or (number_of_schoenflies(name) if "^" in name else 0)


def number_of_schoenflies(symbol: str) -> int:
    """Return the space group number of a Schoenflies symbol such as Oh^5, 0 if there is none."""
    wanted = re.sub(r"[\s_^{}$]", "", symbol).lower()
    if not wanted:
        return 0
    names = ((kind.schoenflies.replace("^", "").lower(), kind.number) for kind in _spglib_types())
    return next((int(number) for name, number in names if name == wanted), 0)


def _spglib_types() -> list[SpaceGroupType]:
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [spglib.get_spacegroup_type(hall_number) for hall_number in range(1, 531)]
    return [kind for kind in found if kind is not None]
