"""Properties of the chemical elements, extracted from pymatgen's tables into a small file next to this module."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

N_ELEMENTS = 103


@cache
def _table() -> dict[str, list[Any]]:
    return json.loads(files("lcoms.structure").joinpath("elements.json").read_text())


SYMBOLS: tuple[str, ...] = tuple(_table()["symbol"])
_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}


def number_of(symbol: str) -> int | None:
    """Return the atomic number of a symbol such as Na, or None if there is no such element."""
    return _NUMBERS.get(symbol)


def electronegativity(atomic_number: int) -> float:
    """Return the Pauling electronegativity; 0 if unknown, so that such elements are written first."""
    return float(_table()["electronegativity"][atomic_number])


def mendeleev_number(atomic_number: int) -> float:
    """Return the rank on Pettifor's chemical scale; neighbouring elements are chemically similar."""
    return float(_table()["mendeleev"][atomic_number])


def covalent_radius(atomic_number: int) -> float:
    """Return the covalent radius in angstrom (Cordero et al. 2008); 1.5 if unknown."""
    return float(_table()["covalent_radius"][atomic_number])


def atomic_volume(atomic_number: int) -> float:
    """Return the atomic volume in crystals, cubic angstrom: a non-negative fit to Materials Project training rows."""
    return float(_table()["atomic_volume"][atomic_number])
