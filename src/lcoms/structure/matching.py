"""Test whether two crystals are the same structure, equivalent to pymatgen's StructureMatcher at stated tolerances.

Every crystal is reduced once, however many others it is compared with; the search is in `lcoms.structure.superpose`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from weakref import WeakKeyDictionary

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Crystal
from lcoms.structure.primitive import ReducedCell, niggli_cell, primitive_cell
from lcoms.structure.superpose import can_be_laid, least_displacement


@dataclass(frozen=True)
class Tolerance:
    """Tolerances of StructureMatcher: `ltol` and `stol` are fractions, `angle_tol` is in degrees."""

    ltol: float
    stol: float
    angle_tol: float


LOOSE = Tolerance(ltol=0.3, stol=0.5, angle_tol=10.0)
"""Tolerances of the match rate of CDVAE, DiffCSP and their successors."""
STRICT = Tolerance(ltol=0.2, stol=0.3, angle_tol=5.0)
"""pymatgen's defaults."""

_REDUCED: WeakKeyDictionary[Crystal, ReducedCell] = WeakKeyDictionary()


def rmsd(first: Crystal, second: Crystal, tolerance: Tolerance) -> float | None:
    """Return the root mean square displacement over (volume / atom)^(1/3), dimensionless; None if they do not match.

    Equals `StructureMatcher.get_rms_dist(first, second)[0]` for crystals of the same composition.
    """
    if first.composition.reduced != second.composition.reduced:
        return None
    return least_displacement(reduced_cell(first), reduced_cell(second), **asdict(tolerance))


def matches(first: Crystal, second: Crystal, tolerance: Tolerance) -> bool:
    """Return whether the two are the same structure, as does `StructureMatcher.fit(first, second)`."""
    if first.composition.reduced != second.composition.reduced:
        return False
    return can_be_laid(reduced_cell(first), reduced_cell(second), **asdict(tolerance))


def reduced_cell(crystal: Crystal) -> ReducedCell:
    """Return the primitive Niggli cell that StructureMatcher compares, cached for the lifetime of the crystal.

    Raises:
        CrystalError: pymatgen finds no Niggli cell.
    """
    known = _REDUCED.get(crystal)
    if known is None:
        try:
            niggli = niggli_cell(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
        except ValueError:
            raise CrystalError(f"{crystal.composition.formula}: no Niggli cell was found for the lattice.") from None
        known = _REDUCED[crystal] = ReducedCell(*primitive_cell(*niggli))
    return known
