"""Facts about the chemical elements, read once from pymatgen's tables into a small file beside this one."""

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
    """Atomic number of a symbol such as Na, or None where there is no such element."""
    return _NUMBERS.get(symbol)


def electronegativity(atomic_number: int) -> float:
    """Pauling electronegativity; 0 where none is known, so that such elements are written first."""
    return float(_table()["electronegativity"][atomic_number])


def mendeleev_number(atomic_number: int) -> float:
    """Pettifor's chemical scale as an order of elements; neighbours on it behave alike."""
    return float(_table()["mendeleev"][atomic_number])


def covalent_radius(atomic_number: int) -> float:
    """Covalent radius in angstrom (Cordero et al. 2008); 1.5 where none is known."""
    return float(_table()["covalent_radius"][atomic_number])


def atomic_volume(atomic_number: int) -> float:
    """Volume of an atom in a crystal, cubic angstrom: a non-negative fit to Materials Project cells (training rows)."""
    return float(_table()["atomic_volume"][atomic_number])
