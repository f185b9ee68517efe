"""Composition and Crystal: what the cell holds, and where.

Both are frozen. Lattice vectors are rows in angstrom; fractional coordinates are wrapped into [0, 1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError, FormulaError
from lcoms.structure.elements import SYMBOLS, electronegativity, number_of
from lcoms.structure.lattice import is_valid_lattice, volume, wrap

MAX_FORMULA_ATOMS = 200


@dataclass(frozen=True)
class Composition:
    """Element counts of a formula or of a whole cell: Na4Cl4 is four formula units of NaCl.

    Attributes:
        atomic_numbers: distinct Z, ascending.
        counts: how many atoms of each, positive.
    """

    atomic_numbers: tuple[int, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.atomic_numbers or len(self.atomic_numbers) != len(self.counts):
            raise FormulaError("a composition needs at least one element and one count for each element.")
        if list(self.atomic_numbers) != sorted(set(self.atomic_numbers)) or min(self.counts) < 1:
            raise FormulaError("elements of a composition must be distinct and ascending, and counts positive.")
        if self.atomic_numbers[0] < 1 or self.atomic_numbers[-1] >= len(SYMBOLS):
            raise FormulaError(f"atomic numbers must lie between 1 and {len(SYMBOLS) - 1}.")

    @classmethod
    def from_formula(cls, formula: str) -> Composition:
        """Read a formula such as SrTiO3 or Ca(OH)2.

        Raises:
            FormulaError: unknown elements, unbalanced brackets, zero or fractional counts, or nothing at all.
        """
        return cls.from_counts(_parse(formula))

    @classmethod
    def from_counts(cls, counts: Mapping[int, int]) -> Composition:
        """From a mapping of atomic number to count."""
        items = sorted((int(z), int(n)) for z, n in counts.items())
        return cls(tuple(z for z, _ in items), tuple(n for _, n in items))

    @classmethod
    def from_atoms(cls, atomic_numbers: Iterable[int]) -> Composition:
        """From the atomic numbers of all atoms in a cell."""
        return cls.from_counts(Counter(int(z) for z in atomic_numbers))

    @property
    def n_atoms(self) -> int:
        return sum(self.counts)

    @property
    def n_formula_units(self) -> int:
        return gcd(*self.counts)

    @property
    def reduced(self) -> Composition:
        """One formula unit of it."""
        return Composition(self.atomic_numbers, tuple(n // self.n_formula_units for n in self.counts))

    @property
    def stoichiometry(self) -> tuple[int, ...]:
        """Counts of one formula unit without the elements, ascending: (1, 1, 3) for SrTiO3."""
        return tuple(sorted(self.reduced.counts))

    @property
    def formula(self) -> str:
        """The counts as they are, least electronegative element first, such as Na4Cl4."""
        order = sorted(zip(self.atomic_numbers, self.counts, strict=True), key=lambda item: electronegativity(item[0]))
        return "".join(SYMBOLS[z] + (str(n) if n > 1 else "") for z, n in order)

    @property
    def reduced_formula(self) -> str:
        return self.reduced.formula

    def scaled(self, n_formula_units: int) -> Composition:
        """So many formula units of the reduced composition."""
        return Composition(self.atomic_numbers, tuple(n * n_formula_units for n in self.reduced.counts))

    def expand(self) -> NDArray[np.int64]:
        """Atomic numbers of all atoms (n_atoms,), ascending."""
        return np.repeat(np.array(self.atomic_numbers), self.counts)

    def __str__(self) -> str:
        return self.formula


def _parse(formula: str) -> Counter[int]:
    """Counts by atomic number, brackets expanded."""
    text = formula.strip().translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789"))
    if not text:
        raise FormulaError("the formula is empty: type one such as NaCl.")
    stack: list[Counter[int]] = [Counter()]
    opened: list[str] = []
    position = 0
    token = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)|([(\[])|([)\]])(\d*\.?\d*)")
    while position < len(text):
        match = token.match(text, position)
        if match is None:
            hint = _suggestion(text) or "type a formula such as SrTiO3 or Ca(OH)2."
            raise FormulaError(f"{formula!r}: cannot read {text[position:]!r}; {hint}")
        symbol, count, opening, closing, outer = match.groups()
        if symbol:
            stack[-1][_element(symbol, text)] += _count(count, formula)
        elif opening:
            stack.append(Counter())
            opened.append(opening)
        else:
            if not opened or {"(": ")", "[": "]"}[opened.pop()] != closing:
                raise FormulaError(f"{formula!r}: a bracket is closed that was not opened.")
            inner, times = stack.pop(), _count(outer, formula)
            for z, n in inner.items():
                stack[-1][z] += n * times
        position = match.end()
    if opened:
        raise FormulaError(f"{formula!r}: a bracket is opened and not closed.")
    if not stack[0]:
        raise FormulaError(f"{formula!r} holds no element; type one such as NaCl.")
    if sum(stack[0].values()) > MAX_FORMULA_ATOMS:
        raise FormulaError(f"{formula!r} has too many atoms; at most {MAX_FORMULA_ATOMS} can be handled.")
    return stack[0]


def _element(symbol: str, text: str) -> int:
    number = number_of(symbol)
    if number is None:
        hint = _suggestion(text) or "check the spelling and the capitals."
        raise FormulaError(f"{text!r}: {symbol} is not an element; {hint}")
    return number


def _suggestion(text: str) -> str:
    """A question with the formulas that other capitals would make of the text; empty where there are none or many."""
    bare = "".join(text.split())
    if not re.fullmatch(r"[A-Za-z0-9()\[\]]{1,40}", bare):
        return ""
    readings = _readings(bare)
    # A capital that was typed begins an element, unless no reading has it so.
    kept = [r for r in readings if all(new.isupper() for old, new in zip(bare, r, strict=True) if old.isupper())]
    choices = [choice for choice in kept or readings if choice != text and _is_formula(choice)]
    return f"did you mean {' or '.join(choices)}?" if 1 <= len(choices) <= 3 else ""


def _is_formula(text: str) -> bool:
    try:
        return bool(_parse(text))
    except FormulaError:
        return False


def _readings(text: str) -> list[str]:
    """All ways to set capitals so that the letters are element symbols, at most a few hundred; digits stay."""
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


def _count(text: str, formula: str) -> int:
    if not text:
        return 1
    if "." in text:
        raise FormulaError(f"{formula!r}: counts must be whole numbers, not {text}; multiply the formula up.")
    count = int(text[:9])
    if count < 1:
        raise FormulaError(f"{formula!r}: a count of 0 makes no sense; leave the element out.")
    return count


@dataclass(frozen=True, eq=False)
class Crystal:
    """One periodic structure.

    Attributes:
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (n_atoms, 3) in [0, 1).
        atomic_numbers: (n_atoms,).

    Raises:
        CrystalError: shapes do not fit, numbers are not finite, or the cell has no volume.
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]

    def __post_init__(self) -> None:
        lattice = np.array(self.lattice, dtype=np.float64)
        frac_coords = np.array(self.frac_coords, dtype=np.float64)
        atomic_numbers = np.array(self.atomic_numbers, dtype=np.int64)
        if lattice.shape != (3, 3):
            raise CrystalError(f"a lattice must have shape (3, 3), not {lattice.shape}.")
        n_atoms = len(atomic_numbers) if atomic_numbers.ndim == 1 else -1
        if n_atoms < 1 or frac_coords.shape != (n_atoms, 3):
            raise CrystalError(
                f"frac_coords must have shape (n_atoms, 3) and atomic_numbers (n_atoms,), "
                f"not {frac_coords.shape} and {atomic_numbers.shape}."
            )
        if not np.isfinite(frac_coords).all():
            raise CrystalError("fractional coordinates must be finite numbers.")
        if not is_valid_lattice(lattice):
            raise CrystalError("the lattice vectors must be finite and span a volume.")
        if atomic_numbers.min() < 1 or atomic_numbers.max() >= len(SYMBOLS):
            raise CrystalError(f"atomic numbers must lie between 1 and {len(SYMBOLS) - 1}.")
        values = {"lattice": lattice, "frac_coords": wrap(frac_coords), "atomic_numbers": atomic_numbers}
        for name, value in values.items():
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    @cached_property
    def composition(self) -> Composition:
        return Composition.from_atoms(self.atomic_numbers.tolist())

    @property
    def volume(self) -> float:
        """Cell volume in cubic angstrom."""
        return float(volume(self.lattice))

    @property
    def cart_coords(self) -> NDArray[np.float64]:
        """(n_atoms, 3) in angstrom."""
        return self.frac_coords @ self.lattice
