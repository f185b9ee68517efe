"""Element of a site in a file, from type symbols (with charges, isotopes or odd capitals) and from labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from lcoms.core.errors import FormulaError
from lcoms.structure.elements import number_of
from lcoms.structure.formula import parse_formula
from lcoms.structure.reading import RefusedError, Topic

VACANCY = 0
VACANCIES = {"va", "vac", "vacancy", "vacancies", "x", "xx", "□", "vv"}
_SYMBOL = r"[A-Z][a-z]?"
_MIXTURE = re.compile(  # Fe/Mg, Al-Si, Fe0.5Mg0.5
    rf"({_SYMBOL})[0-9.]*[+-]?\s*(?:[/,+&]|-(?=[A-Z][a-z]))\s*({_SYMBOL})|({_SYMBOL})0?\.[0-9]+({_SYMBOL})"
)
_ROMAN = "VI{0,3}|I[VX]|I{1,3}"  # oxidation states
_RUN_ON = re.compile(rf"({_SYMBOL})[0-9]*({_SYMBOL})(?![a-z])")  # FeMg, Fe1Mg1, but also O1W and CaM2
_GROUP = re.compile(
    r"(?:[HD]2O|H3O)(?![a-z])|(?:NH[34]|OH2|SO[34]|PO4|CO3|NO3|ClO4|BF4|PF6|BO3|SiO4|AsO4|CH[34])(?![0-9a-z])"
)
WATER = ("OH", "OW")  # labels of oxygen, reported if no hydrogen is listed
ISOTOPES = {"D": 1, "T": 1}  # isotopes with their own symbols, and their atomic numbers
_SUM = re.compile(r"([A-Z][a-z]?)\s*([0-9]*\.?[0-9]*)")


def element_of(type_symbol: str, label: str, expected: Collection[int] = ()) -> tuple[int, str]:
    """Return the atomic number of a site (`VACANCY` for an empty one) and a remark, which may be empty.

    Args:
        type_symbol: as given in the file, empty if missing.
        label: of the site; used only if there is no type symbol.
        expected: elements of the formula sum; they decide between readings of a label.

    Raises:
        RefusedError: neither names an element, or a label is ambiguous.
    """
    if type_symbol.strip():
        return _of_symbol(type_symbol.strip(), label, expected)
    if not label.strip():
        raise RefusedError(Topic.NO_SYMBOLS, "a site has neither type symbol nor label, so its element is unknown.")
    return _of_label(label.strip(), expected)


def _of_symbol(symbol: str, label: str, expected: Collection[int]) -> tuple[int, str]:
    match = re.fullmatch(r"([0-9]{0,3})([A-Za-z□]+)([^A-Za-z]*)", symbol)
    if match and re.fullmatch(r"[0-9]*\.[0-9]+", match[3]):
        text = f"the type symbol {symbol} holds a fraction; write the element, and the fraction as its occupancy."
        raise RefusedError(Topic.UNKNOWN_ELEMENT, text)
    letters = match[2] if match else ""
    if _GROUP.match(symbol) or _is_group(letters, expected):
        text = f"the type symbol {symbol} is that of a group of atoms; list each atom with its element symbol."
        raise RefusedError(Topic.UNKNOWN_ELEMENT, text)
    found = _exact(letters)
    if found is not None:
        number, said = found
        if match is not None and match[1]:
            said = said or f"{match[1]}{letters} is read as {letters}."
        if number and _names_another(label, number, expected):
            said = (
                said or f"the label {label} and the type symbol {symbol} name different elements; the symbol is used."
            )
        if _MIXTURE.match(label):
            said = said or f"the label {label} names two elements; the type symbol {symbol} is used."
        if letters == "V" and re.match(r"va[c0-9]|va$", label, re.IGNORECASE):
            said = f"site {label} is vanadium by its type symbol; a vacancy would have the type symbol Va."
        return number, said
    stated = re.fullmatch(rf"({_SYMBOL})(?:\((?:{_ROMAN})\)|[+-](?:{_ROMAN}))", symbol)
    if stated and number_of(stated[1]):
        return number_of(stated[1]) or VACANCY, ""
    core = re.fullmatch(r"([A-Z][a-z]?)va?l?", letters)  # valence shells of multipole refinements: Cval, Siva
    if core and number_of(core[1]):
        return number_of(core[1]) or VACANCY, ""
    raise RefusedError(Topic.UNKNOWN_ELEMENT, f"{symbol} is not an element; write the element symbol of each atom.")


def _is_group(letters: str, expected: Collection[int]) -> bool:
    """Return whether two capitals are two elements of the formula sum, and the one element that they may be is not."""
    if len(letters) != 2 or not letters.isupper():
        return False
    return number_of(letters.capitalize()) not in expected and all(number_of(one) in expected for one in letters)


def _names_another(label: str, number: int, expected: Collection[int]) -> bool:
    """Return whether a label names another element than the type symbol, and no formula sum decides for the symbol."""
    found = re.match(r"[A-Z][a-z](?![a-z])|[A-Z](?![A-Za-z])", label)
    other = number_of(found[0]) if found else None
    if found is None or other in (None, number):
        return False
    return len(found[0]) == 2 or not expected or other in expected


def _exact(letters: str) -> tuple[int, str] | None:
    """Return the element of letters that are a complete symbol, in any capitals, and a remark."""
    if letters in ISOTOPES:
        return ISOTOPES[letters], f"{letters} is read as H."
    if letters.lower() in VACANCIES:
        return VACANCY, ""
    number = number_of(letters)
    if number:
        return number, ""
    number = number_of(letters.capitalize())
    return (number, f"{letters} is read as {letters.capitalize()}.") if number else None


def _of_label(label: str, expected: Collection[int]) -> tuple[int, str]:
    _require_one_atom(label, expected)
    match = re.match(r"[A-Za-z□]+", label)
    letters = match[0] if match else ""
    if letters.lower() in VACANCIES:
        return VACANCY, ""
    one, two = number_of(letters[:1].upper()), None
    if len(letters) >= 2:
        two = number_of(letters[:2].capitalize())
    isotope = letters[:1] in ISOTOPES and not two
    if isotope and (len(letters) == 1 or letters[1:].isupper()):
        return 1, f"{letters[:1]} is read as H."
    proper = letters[:1].isupper() and letters[1:2].islower()
    wanted = [number for number in ((two, one) if proper else (one, two)) if number and number in expected]
    if wanted and (proper or len(wanted) == 1):
        return wanted[0], ""
    if proper and two:
        return two, ""
    if len(wanted) == 2 or (one and two):
        raise RefusedError(
            Topic.UNKNOWN_ELEMENT, f"the label {label} may mean two elements; give an _atom_site_type_symbol."
        )
    word = re.fullmatch(r"[A-Z][a-z]{2,}", letters)
    if word or not (one or two):
        raise RefusedError(
            Topic.UNKNOWN_ELEMENT, f"the label {label} names no element; write the element symbol of each atom."
        )
    more = not expected and bool(re.match(r"[A-GI-Z][A-Z]", letters)) and bool(number_of(letters[1]))
    unknown = proper or (more and letters[:2] not in WATER)
    said = f"the label {label} is read as {letters[0]}." if unknown and one and one not in expected else ""
    return (one or two or VACANCY), said


def _require_one_atom(label: str, expected: Collection[int]) -> None:
    """Raise RefusedError if a label is that of a mixture of elements, of a group of atoms, or of a tetrahedral site."""
    mixture, run_on = _MIXTURE.match(label), _RUN_ON.match(label)
    symbols = [symbol for symbol in (mixture.groups() if mixture else run_on.groups() if run_on else ()) if symbol]
    named = [number_of(symbol) for symbol in symbols]
    if len(named) == 2 and all(named) and named[0] != named[1]:
        second_is_meant = named[1] in expected if expected else len(symbols[1]) == 2
        if mixture or (second_is_meant and len(symbols[1]) == 2):
            text = f"the label {label} names two elements; list each with its occupancy, or give a type symbol."
            raise RefusedError(Topic.UNKNOWN_ELEMENT, text)
    if re.match(rf"{_SYMBOL}0\.[0-9]", label):
        text = f"the label {label} holds a fraction; write the element, and the fraction as its occupancy."
        raise RefusedError(Topic.UNKNOWN_ELEMENT, text)
    if _GROUP.match(label) and not expected:
        text = f"the label {label} is that of a group of atoms; list each atom, or give a type symbol."
        raise RefusedError(Topic.UNKNOWN_ELEMENT, text)
    if re.match(r"T(?![A-Za-z])", label) and 1 not in expected:
        text = f"the label {label} may be a tetrahedral site or tritium; give an _atom_site_type_symbol."
        raise RefusedError(Topic.UNKNOWN_ELEMENT, text)


def formula_sum(text: str) -> Mapping[int, float] | None:
    """Return the counts of a `_chemical_formula_sum`, D as H; empty if missing, None if it cannot be understood."""
    text = text.replace(",", " ").strip()
    if not text:
        return {}
    if _SUM.sub("", text).strip(" "):
        return None
    counts: dict[int, float] = {}
    for symbol, digits in _SUM.findall(text):
        if symbol.lower() in VACANCIES:
            continue
        number = ISOTOPES.get(symbol) or number_of(symbol)
        if number is None or digits == ".":
            return None
        counts[number] = counts.get(number, 0.0) + (float(digits) if digits else 1.0)
    return {number: count for number, count in counts.items() if count > 0}


def moiety_formula(text: str) -> Mapping[int, float]:
    """Return the counts of a moiety or structural formula such as `Ca 2+, 2(Cl -)`; empty if it is not understood."""
    plain = re.sub(r"(?<=\s)[0-9]*[+-](?=[\s,)\]]|$)", "", text)
    try:
        counts = parse_formula(re.sub(r"\s", "", plain).replace(",", "·")).counts
    except FormulaError:
        return {}
    return {number: float(count) for number, count in counts.items()}
