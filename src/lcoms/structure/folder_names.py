"""Folder names of formulas that stay distinct on case-insensitive file systems: CO and Co differ only by case.

Without case, the letters of a name can be read as element symbols in several ways. A formula that is the reading with
the fewest symbols (if possible, none beyond bismuth) is its own name: Co, SiO2, Li3PO4. Other formulas get hyphens
between symbols: C-O, Ca-C-O3. Hence no two names differ only by case, and the name follows from the formula alone.
"""

from __future__ import annotations

import re
from functools import cache

from lcoms.structure.elements import SYMBOLS, number_of

HEAVIEST = 83  # bismuth; without this limit PO4 would be polonium
MARK = "-"
RESERVED = ("CON", "PRN")  # by Windows, whatever the case
_SYMBOLS = {symbol.lower(): symbol for symbol in SYMBOLS[1:]}


def folder_name(formula: str) -> str:
    """Return the folder name of a formula, which is unique even if case is ignored.

    Args:
        formula: such as SrTiO3, without hyphens.
    """
    plain = "".join(
        "".join(_first_reading(part.lower())) if part.isalpha() else part
        for part in re.findall(r"[A-Za-z]+|[^A-Za-z]+", formula)
    )
    if plain == formula and formula.upper() not in RESERVED:
        return formula
    marked = re.sub(r"(?<!^)(?=[A-Z])", MARK, formula)
    return marked if MARK in marked else marked + MARK


@cache
def _first_reading(letters: str) -> tuple[str, ...]:
    """Return the symbols that lower-case letters are read as; the letters themselves if there is no reading."""
    return _readings(letters)[1] or (letters,)


@cache
def _readings(letters: str) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the penalty (symbols beyond bismuth, symbols) of the best reading, and the reading; the worst if none."""
    worst = (len(letters) + 1, len(letters) + 1)
    best: tuple[tuple[int, int], tuple[str, ...]] = (worst, ())
    if not letters:
        return (0, 0), ()
    for length in (2, 1):
        symbol = _SYMBOLS.get(letters[:length])
        if symbol is None or len(letters) < length:
            continue
        (heavy, n), rest = _readings(letters[length:])
        if letters[length:] and not rest:
            continue
        found = (heavy + ((number_of(symbol) or 0) > HEAVIEST), n + 1)
        if found < best[0] or not best[1]:
            best = found, (symbol, *rest)
    return best
