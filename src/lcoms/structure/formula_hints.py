"""Suggestions for texts that are not formulas: other capitals, or the formula of a named element or mineral."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from lcoms.structure.elements import number_of

_HYDRATE = re.compile(r"(.+?)(?:\s*[-–—,;:×xX+●○∘˙ꞏ]\s*|\s+)([0-9]+(?:[./][0-9]+)?)\s*((?:H2O|D2O|NH3)[0-9]*)")
_BEFORE = re.compile(r"(?:([^\W\d_]{1,8}|[0-9]{1,2}[A-Z]|[A-Z]_\{?[a-z]\}?)['′″\"]*-|([a-z]+)\s+)(\S+)")
LONGEST_TEXT = 100
LONGEST_SYMBOLS = 3  # letters of a word that may be element symbols without capitals
_LATTICES = ("bcc", "fcc", "hcp", "dhcp", "ccp", "bct", "fct")
_GREEK = re.compile(r"[α-ω]['′]*\s*(\S+)")
_LETTER = re.compile(r"([a-z])\s?([A-Z]\S*)")  # cBN
_WORDS_BEFORE = re.compile(r"(?:\S*[a-zα-ω]{4,}\S*\s+)+(\S+)")
_WORDS_BEHIND = re.compile(r"(\S+)(?:\s+\(?\S*[a-z]{4,}\S*)+")
_TYPE_BEFORE = re.compile(r"[A-Z]{1,2}[0-9]{0,3}['′]?-(\S+)")  # structure types and polymorphs: B2, L12, O3, T
_TYPE_BEHIND = re.compile(r"(\S+?)(?:-[A-Z]{1,2}[0-9]{0,3}|\([A-Z][0-9]?\))")
_BEHIND = re.compile(r"(\S+?)(?:\s*\(([a-z][a-z -]*)\)|\s+([a-z]+)|[-_][a-z]{3,})")
_IN_GROUP = re.compile(r"(\S+?)\s*[\[( ,]\s*([PIFABCR][-0-9a-z_/:()\s]+?)[\])]?")
_DOPED = re.compile(
    r"(?:[0-9.]+\s*(?:at|mol|wt)?\.?\s*%\s*)?[A-Z][a-z]?(?:[0-9]?[+-])?(?:\s*:|[\s-]*doped[\s-])\s*(\S+)"
)
_DOPANT = re.compile(r"(\S+?)\s*:\s*[0-9.%\s]*[A-Z]\S*(?:\s*\S+)?")
_ISOTOPES = re.compile(r"(?<![A-Za-z])(?:\^\{?[0-9]{1,3}\}?|[⁰¹²³⁴-⁹]{1,3})(?=[A-Z])")
_BY_MASS = re.compile(r"([A-Z][a-z]?)-[0-9]{1,3}")
_TIMES = re.compile(r"[0-9]+(?:[./][0-9]+)?\s*(\D\S*)")
_EMPTY = re.compile(r"□[0-9.]*|\[\s*\]|\(\s*\)|\{\s*\}")
_SHARED = re.compile(r"[(\[{][A-Z][A-Za-z0-9.]*\s*(?:,\s*[A-Z][A-Za-z0-9.]*\s*)+[)\]}]")
_IDENTIFIER = re.compile(r"(?:mp|mvc|oqmd|jvasp|cod|icsd|agm|aflow)[-: ]?[0-9]+", re.IGNORECASE)
_CHARGE = re.compile(r"\^?\(?\{?([0-9]?|[⁰¹²³⁴-⁹]*)[+\-]+\}?\)?")
_COUNT_AND_SIGN = re.compile(r"(?<=[A-Za-z])([0-9])[+-]$")
_LEADING_ZERO = re.compile(r"(?<![0-9.])0(?=[0-9])")
_INNER_ZERO = re.compile(r"(?<=[0-9])0(?=[0-9])")
_PERCENT = re.compile(r"[A-Z][a-z]?(?:-[0-9.]+[A-Z][a-z]?)+|[0-9.]+[A-Z][a-z]?(?:-[0-9.]+[A-Z][a-z]?)+|.*%.*")
_FORM = re.compile(r"^(?:[α-ω]|alpha|beta|gamma|delta|low|high)[\s-]+(?=[A-Za-z])", re.IGNORECASE)


@cache
def _names() -> dict[str, str]:
    table = json.loads(files("lcoms.structure").joinpath("names.json").read_text(encoding="utf-8"))
    return {**table["abbreviations"], **table["minerals"], **table["elements"]}


def name_hint(text: str) -> str:
    """Return a question with the formula of a name such as iron or Quartz; empty if the text is not a name.

    Capitals after the first letter mark a formula: TiN is titanium nitride, tin is an element.
    """
    if any(letter.isupper() for letter in text[1:]) and not text.isupper():
        return ""
    formula = _names().get(re.sub(r"[\s-]", "", _FORM.sub("", text, count=1)).lower())
    return f"did you mean {formula}?" if formula and not number_of(text) else ""


def hint_for(text: str, is_formula: Callable[[str], bool]) -> str:
    """Return a question with the formulas that other capitals would give; empty if there are none or many."""
    bare = "".join(text.split())
    if not re.fullmatch(r"[A-Za-z0-9()\[\]]{1,40}", bare):
        return ""
    readings = _readings(bare)
    # A typed capital begins an element symbol, unless no reading allows it.
    kept = [r for r in readings if all(new.isupper() for old, new in zip(bare, r, strict=True) if old.isupper())]
    choices = [choice for choice in kept or readings if choice != text and is_formula(choice)]
    return f"did you mean {' or '.join(choices)}?" if 1 <= len(choices) <= 3 else ""


def _readings(text: str) -> list[str]:
    """Return all capitalisations in which the letters are element symbols, at most a few hundred; digits are kept."""
    tails: list[list[str]] = [*([] for _ in text), [""]]
    for start in reversed(range(len(text))):
        if not text[start].isalpha():
            tails[start] = [text[start] + tail for tail in tails[start + 1]]
            continue
        for length in (1, 2):
            symbol = text[start : start + length].capitalize()
            if len(symbol) == length and symbol.isalpha() and number_of(symbol):
                tails[start] += [symbol + tail for tail in tails[start + length]][:200]
    return tails[0]


def what_it_is(text: str, is_formula: Callable[[str], bool]) -> str:
    """Return what a text is besides a formula, and what to type instead; empty if it is nothing of the kind."""
    if is_formula(text):
        return ""
    if _IDENTIFIER.fullmatch(text):
        return " is the identifier of a database entry; type its formula."
    if (match := _HYDRATE.fullmatch(text)) and is_formula(match[1]):
        return f": did you mean {match[1]}·{match[2]}{match[3]}?"
    if said := _more_than_elements(text, is_formula):
        return said
    before, behind = _BEFORE.fullmatch(text), _BEHIND.fullmatch(text)
    words = [word for word in (before and before[2], behind and behind[3]) if word and len(word) <= LONGEST_SYMBOLS]
    if words and not set(words) <= set(_LATTICES):
        before, behind = (None, None) if hint_for(text, is_formula) else (before, behind)
    if before and is_formula(before[3]) and not is_formula(before[1] or ""):
        return f": the name of a polymorph is not part of a formula; type {before[3]}."
    if behind and is_formula(behind[1]):
        return f": the name of a phase is not part of a formula; type {behind[1]}."
    parts = re.split("[-–—]", text)
    compounds = re.split(r"\s*\+\s*", text)  # Al2O3+SiO2, not Fe3+2O3
    several = all(len(set(re.findall("[A-Z][a-z]?", part))) > 1 for part in compounds)
    for found in [parts, *([compounds] if several else [])]:
        if len(found) > 1 and all(_is_compound(part, is_formula) for part in found):
            return f": did you mean {'·'.join(found)}?"
    return ""


def _more_than_elements(text: str, is_formula: Callable[[str], bool]) -> str:
    """Return what a text says beside its elements and counts, and what to type instead; empty if it is nothing known.

    These are dopants, elements that share a site, isotopes, vacancies, a number before it, polymorphs and space groups.
    """
    if len(text) > LONGEST_TEXT:
        return ""
    if _SHARED.search(text):
        return " has elements that share a site; type a formula with a number for each, such as MgFeSiO4."
    for match in (_DOPED.fullmatch(text), _DOPANT.fullmatch(text)):
        if match and is_formula(match[1]) and len(set(re.findall("[A-Z][a-z]?", match[1]))) > 1:
            return f" names a dopant; type {match[1]}, or a formula with numbers of atoms of the dopant as well."
    if (bare := _ISOTOPES.sub("", text)) != text and is_formula(bare):
        return f": isotopes are not part of a formula; type {bare}."
    if (bare := _EMPTY.sub("", text)) != text and is_formula(bare):
        return f": vacancies and empty brackets are not part of a formula; type {bare}."
    if (match := _BY_MASS.fullmatch(text)) and is_formula(match[1]):
        return f": isotopes and charges are not part of a formula; type {match[1]}."
    if (match := _TIMES.fullmatch(text)) and is_formula(match[1]) and not _HYDRATE.fullmatch(text):
        return f": a number before a formula is not part of it; type {match[1]}."
    if (match := _GREEK.fullmatch(text)) and is_formula(match[1]):
        return f": the name of a polymorph is not part of a formula; type {match[1]}."
    if (match := _LETTER.fullmatch(text)) and is_formula(match[2]):
        whole = match[1].upper() + match[2]
        return f": did you mean {match[2]}{f' or {whole}' if is_formula(whole) else ''}?"
    for match in (_TYPE_BEFORE.fullmatch(text), _TYPE_BEHIND.fullmatch(text)):
        if match and is_formula(match[1]) and len(set(re.findall("[A-Z][a-z]?", match[1]))) > 1:
            return f": the name of a polymorph or structure type is not part of a formula; type {match[1]}."
    for match in (_WORDS_BEFORE.fullmatch(text), _WORDS_BEHIND.fullmatch(text)):
        if match and is_formula(match[1]):
            return f": words are not part of a formula; type {match[1]}."
    if (match := _IN_GROUP.fullmatch(text)) and is_formula(match[1]) and _is_space_group(match[2]):
        return f": a space group is not part of a formula; type {match[1]} --space-group {''.join(match[2].split())}."
    return ""


def _is_compound(part: str, is_formula: Callable[[str], bool]) -> bool:
    """Return whether a part is a formula; one with a number before it needs two elements: 2SiO2, not 20Cr."""
    bare = part.lstrip("0123456789")
    return bool(bare) and is_formula(bare) and (bare == part or len(set(re.findall("[A-Z][a-z]?", bare))) > 1)


def _is_space_group(text: str) -> bool:
    import gemmi

    return gemmi.find_spacegroup_by_name(text.replace("_", "")) is not None


def foreign_letter(text: str) -> str:
    """Return a sentence on the first letter of another alphabet, which may look like a Latin one; empty without any."""
    found = next((letter for letter in text if letter.isalpha() and not letter.isascii()), "")
    alphabet = unicodedata.name(found, "unknown").split()[0].capitalize() if found else ""
    return f"{found!r} is a letter of the {alphabet} alphabet; type Latin letters." if found else ""


def without_charges(text: str) -> str:
    """Return a formula without its charges.

    A digit before a sign is the charge in Fe3+2O3, Ca2+ and [Fe(CN)6]4-, and a count in NH4+ and at the end of NO3-.
    """
    text = re.sub(r"(?<=H)([0-9])\+", r"\1", text)
    counted = _COUNT_AND_SIGN.search(text)
    if counted and len(re.findall("[A-Z][a-z]?", text)) > 1:
        return _CHARGE.sub("", text[: counted.start()]) + counted[1]
    return _CHARGE.sub("", text)


def zero_hint(text: str, is_formula: Callable[[str], bool]) -> str:
    """Return what to type for a formula with the digit 0 in place of the letter O; empty if a zero is that of a count.

    A count of one to nine does not begin with a zero, and no formula has counts such as 203.
    """
    letters = _LEADING_ZERO.sub("O", text)
    if letters != text:
        return f"did you mean {letters}?" if is_formula(letters) else "a count does not begin with 0."
    letters = _INNER_ZERO.sub("O", text)
    return f"did you mean {letters}?" if letters != text and is_formula(letters) else ""


def begins_with_zero(text: str) -> bool:
    """Return whether a count of a formula begins with a zero that is no decimal fraction."""
    return bool(_LEADING_ZERO.search(text))


def is_alloy(text: str) -> bool:
    """Return whether a text names an alloy by its percentages, such as Ti-6Al-4V."""
    return bool(_PERCENT.fullmatch(text))


def look_alikes(text: str, is_formula: Callable[[str], bool], *, printed: str) -> str:
    """Return a note on a formula that differs from a likelier one by characters that look alike; empty otherwise.

    These are Ac for acetate, oxidation states IV and VI, C1 or CI for Cl, a final 0 of an element for O, and capitals
    that can also be two elements.

    Args:
        printed: the formula in conventional order; a text in that order is taken for a formula, not for a slip.
    """
    if re.search(r"[·•⋅∙‧・*.][0-9./]*H20(?![0-9])", text):
        return f"{text} holds 20 hydrogen atoms; did you mean {text.replace('H20', 'H2O')}?"
    bare = re.sub(r"\([A-Z]\)$", "", text)  # the polymorph TiO2(B)
    if bare != text and is_formula(bare) and len(set(re.findall("[A-Z][a-z]?", bare))) > 1:
        return f"{text} is read with the element in brackets; if that names a polymorph, type {bare}."
    if "OAc" in text:
        return f"{text} holds actinium; write acetate as CH3COO."
    hydrogen = re.search(r"H(?![a-z])", text)
    chlorine = re.sub(r"(?<=.)C(?:1|I)(?=[2-9]?(?:$|[^0-9a-z]))", "Cl", text)
    if chlorine != text and not hydrogen and not re.search(r"[A-BD-Z][a-z]?1(?![0-9])", text) and is_formula(chlorine):
        return f"{text} holds carbon; did you mean {chlorine}?"
    oxide = re.fullmatch(r"((?!C[0-9])[A-Z][a-z]?[0-9]*)0", text)
    if oxide and is_formula(f"{oxide[1]}O"):
        return f"{text} is an element; did you mean {oxide[1]}O?"
    if text != printed and re.fullmatch(r"[A-Z0-9]+", text) and len(re.findall("[A-Z]", text)) >= 3:
        others = [r for r in _readings(text) if r != text and is_formula(r) and _is_usual_binary(r)]
        if 1 <= len(others) <= 3:
            return f"{text} is read letter by letter; did you mean {' or '.join(others)}?"
    state = re.search(r"[A-Z][a-z]?(IV|VI(?=[A-Z(]))", text)
    if state and is_formula(bare := text[: state.start(1)] + text[state.end(1) :]):
        return f"{text} holds vanadium and iodine; if {state[1]} is an oxidation state, type {bare}."
    return ""


def _is_usual_binary(formula: str) -> bool:
    """Return whether a formula has at most two elements, none beyond bismuth."""
    symbols = set(re.findall("[A-Z][a-z]?", formula))
    return len(symbols) <= 2 and all((number_of(symbol) or 0) <= 83 for symbol in symbols)
