"""Composition and Crystal: the contents of a cell, and their arrangement.

Both are frozen. Lattice vectors are rows in angstrom; fractional coordinates are wrapped into [0, 1).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError, FormulaError
from lcoms.structure.elements import SYMBOLS, atomic_volume
from lcoms.structure.formula import parse_formula
from lcoms.structure.formula_order import by_electronegativity, formula_text
from lcoms.structure.lattice import is_valid_lattice, volume, wrap

if TYPE_CHECKING:
    from pymatgen.core import Composition as PymatgenComposition

_log = logging.getLogger("lcoms")


@dataclass(frozen=True)
class Composition:
    """Element counts of a formula or of a whole cell: Na4Cl4 is four formula units of NaCl.

    Attributes:
        atomic_numbers: distinct Z, ascending.
        counts: number of atoms of each element, positive.
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
    def from_formula(cls, formula: str, *, ordered_approximation: bool = False) -> Composition:
        """Read a formula such as SrTiO3, Ca(OH)2 or CuSO4·5H2O; reinterpretations (D as H) are logged.

        Args:
            ordered_approximation: replace a formula with fractional counts by the smallest ordered formula close to it.

        Raises:
            FormulaError: unknown elements, unbalanced brackets, zero or fractional counts, or an empty formula.
        """
        parsed = parse_formula(formula, ordered=ordered_approximation)
        for note in parsed.notes:
            _log.warning("%s: %s", formula.strip(), note)
        return cls.from_counts(parsed.counts)

    @classmethod
    def of(cls, value: str | Composition | PymatgenComposition, *, ordered_approximation: bool = False) -> Composition:
        """Convert a formula, a `Composition`, or a composition of pymatgen.

        Args:
            ordered_approximation: as for `from_formula`.

        Raises:
            FormulaError: the value is none of these, or its counts are not integers.
        """
        if isinstance(value, Composition):
            return value
        if not isinstance(value, str):
            amounts = getattr(value, "get_el_amt_dict", None)
            if amounts is None:
                raise FormulaError(f"a formula or a Composition is needed, not {type(value).__name__}.")
            value = "".join(f"{symbol}{_amount_text(amount)}" for symbol, amount in amounts().items())
        return cls.from_formula(value, ordered_approximation=ordered_approximation)

    @classmethod
    def from_counts(cls, counts: Mapping[int, int]) -> Composition:
        """Make a composition from a mapping of atomic number to count."""
        items = sorted((int(z), int(n)) for z, n in counts.items())
        return cls(tuple(z for z, _ in items), tuple(n for _, n in items))

    @classmethod
    def from_atoms(cls, atomic_numbers: Iterable[int]) -> Composition:
        """Make a composition from the atomic numbers of all atoms in a cell."""
        return cls.from_counts(Counter(int(z) for z in atomic_numbers))

    @property
    def n_atoms(self) -> int:
        """Total number of atoms."""
        return sum(self.counts)

    @property
    def n_formula_units(self) -> int:
        """Number of reduced formula units."""
        return gcd(*self.counts)

    @property
    def reduced(self) -> Composition:
        """Composition of one formula unit."""
        return Composition(self.atomic_numbers, tuple(n // self.n_formula_units for n in self.counts))

    @property
    def stoichiometry(self) -> tuple[int, ...]:
        """Counts of one formula unit without the elements, ascending: (1, 1, 3) for SrTiO3."""
        return tuple(sorted(self.reduced.counts))

    @property
    def formula(self) -> str:
        """Formula with unreduced counts, elements in conventional order (`formula_order`), such as Na4Cl4."""
        return formula_text(self.as_counts())

    @property
    def reduced_formula(self) -> str:
        """Formula of one formula unit, such as SrTiO3."""
        return self.reduced.formula

    @property
    def usual_volume(self) -> float:
        """Cubic angstrom of all atoms by the usual volumes of their elements."""
        return sum(atomic_volume(z) * n for z, n in zip(self.atomic_numbers, self.counts, strict=True))

    @property
    def key(self) -> str:
        """Identifier of the reduced composition that never changes between versions; seeds and splits hash it."""
        return by_electronegativity(self.reduced.as_counts())

    def as_counts(self) -> dict[int, int]:
        """Return the counts by atomic number."""
        return dict(zip(self.atomic_numbers, self.counts, strict=True))

    def scaled(self, n_formula_units: int) -> Composition:
        """Return the composition of `n_formula_units` reduced formula units."""
        return Composition(self.atomic_numbers, tuple(n * n_formula_units for n in self.reduced.counts))

    def expand(self) -> NDArray[np.int64]:
        """Return the atomic numbers of all atoms (n_atoms,), ascending."""
        return np.repeat(np.array(self.atomic_numbers), self.counts)

    def __str__(self) -> str:
        return self.formula


@dataclass(frozen=True, eq=False)
class Crystal:
    """One periodic structure.

    Attributes:
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (n_atoms, 3) in [0, 1).
        atomic_numbers: (n_atoms,).

    Raises:
        CrystalError: shapes are inconsistent, numbers are not finite, or the cell has no volume.
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
        """Number of atoms in the cell."""
        return len(self.atomic_numbers)

    @cached_property
    def composition(self) -> Composition:
        return Composition.from_atoms(self.atomic_numbers.tolist())

    @cached_property
    def volume(self) -> float:
        """Cell volume in cubic angstrom."""
        return float(volume(self.lattice))

    @property
    def cart_coords(self) -> NDArray[np.float64]:
        """Cartesian coordinates (n_atoms, 3) in angstrom."""
        return self.frac_coords @ self.lattice


def crystal_to_dict(crystal: Crystal) -> dict[str, Any]:
    """Return lattice, fractional coordinates and atomic numbers as lists, ready for JSON, exact."""
    return {
        "lattice": crystal.lattice.tolist(),
        "frac_coords": crystal.frac_coords.tolist(),
        "atomic_numbers": crystal.atomic_numbers.tolist(),
    }


def crystal_from_dict(content: Mapping[str, Any]) -> Crystal:
    """Return the crystal of a dict made by `crystal_to_dict`."""
    return Crystal(*(np.array(content[name]) for name in ("lattice", "frac_coords", "atomic_numbers")))


def _amount_text(amount: float) -> str:
    text = f"{amount:.6f}".rstrip("0").rstrip(".")
    return "" if text == "1" else text
