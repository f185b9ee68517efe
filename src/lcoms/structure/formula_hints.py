"""Suggestions for texts that are not formulas: other capitals, or the formula of a named element or mineral."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from lcoms.structure.elements import number_of


@cache
def _names() -> dict[str, str]:
    table = json.loads(files("lcoms.structure").joinpath("names.json").read_text(encoding="utf-8"))
    return {**table["minerals"], **table["elements"]}


def name_hint(text: str) -> str:
    """Return a question with the formula of a name such as iron or Quartz; empty if the text is not a name.

    Capitals after the first letter mark a formula: TiN is titanium nitride, tin is an element.
    """
    if any(letter.isupper() for letter in text[1:]) and not text.isupper():
        return ""
    formula = _names().get(re.sub(r"[\s-]", "", text).lower())
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
