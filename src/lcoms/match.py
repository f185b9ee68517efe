"""Whether two crystals are the same structure, with the verdicts of pymatgen's StructureMatcher and stated tolerances.

Every crystal is reduced once, however many others it is compared with; the search is in `lcoms.superpose`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lcoms.crystal import Crystal
from lcoms.errors import CrystalError
from lcoms.superpose import ReducedCell, can_be_laid, least_displacement


@dataclass(frozen=True)
class Tolerance:
    """Tolerances of StructureMatcher: `ltol` and `stol` are fractions, `angle_tol` is in degrees."""

    ltol: float
    stol: float
    angle_tol: float


LOOSE = Tolerance(ltol=0.3, stol=0.5, angle_tol=10.0)
"""Match rate of CDVAE, DiffCSP and their successors."""
STRICT = Tolerance(ltol=0.2, stol=0.3, angle_tol=5.0)
"""pymatgen's defaults."""

PRIMITIVE_TOLERANCE = 0.25
"""Angstrom; of pymatgen's search for a primitive cell."""

_REDUCED: WeakKeyDictionary[Crystal, ReducedCell] = WeakKeyDictionary()


def rmsd(first: Crystal, second: Crystal, tolerance: Tolerance) -> float | None:
    """Root mean square displacement over (volume / atom)^(1/3), dimensionless; None where they do not match.

    As `StructureMatcher.get_rms_dist(first, second)[0]` for crystals of one composition.
    """
    if first.composition.reduced != second.composition.reduced:
        return None
    return least_displacement(reduced_cell(first), reduced_cell(second), **asdict(tolerance))


def matches(first: Crystal, second: Crystal, tolerance: Tolerance) -> bool:
    """Whether the two are the same structure, as `StructureMatcher.fit(first, second)`."""
    if first.composition.reduced != second.composition.reduced:
        return False
    return can_be_laid(reduced_cell(first), reduced_cell(second), **asdict(tolerance))


def reduced_cell(crystal: Crystal) -> ReducedCell:
    """The primitive Niggli cell that StructureMatcher compares, kept as long as the crystal is.

    Raises:
        CrystalError: pymatgen finds no Niggli cell.
    """
    known = _REDUCED.get(crystal)
    if known is None:
        known = _REDUCED[crystal] = _reduce(crystal)
    return known


def _reduce(crystal: Crystal) -> ReducedCell:
    """As Structure.get_reduced_structure and get_primitive_structure, without their objects where nothing changes."""
    from pymatgen.core import Lattice, Structure

    lattice, frac_coords, numbers = Lattice(crystal.lattice), crystal.frac_coords, crystal.atomic_numbers
    try:
        niggli = lattice.get_niggli_reduced_lattice()
    except ValueError:
        raise CrystalError(f"{crystal.composition.formula}: no Niggli cell is found for the lattice.") from None
    if niggli != lattice:
        lattice, frac_coords = niggli, np.mod(crystal.cart_coords @ niggli.inv_matrix, 1)
    if _surely_primitive(np.array(lattice.abc), frac_coords, crystal):
        return ReducedCell(np.array(lattice.matrix), frac_coords, numbers)
    structure = Structure(lattice, numbers.tolist(), frac_coords).get_primitive_structure()
    numbers = np.array(structure.atomic_numbers, dtype=np.int64)
    return ReducedCell(np.array(structure.lattice.matrix), np.array(structure.frac_coords), numbers)


def _surely_primitive(lengths: NDArray[np.float64], frac_coords: NDArray[np.float64], crystal: Crystal) -> bool:
    """Whether get_primitive_structure cannot find a smaller cell.

    It looks for cells of 1/n of the volume whose vectors are, within a tolerance, shifts that lay every atom on one of
    its species within twice the tolerance. Without such a shift but zero there is none: a vector of a smaller cell
    is at least 1/n from every vector of the lattice.
    """
    units = crystal.composition.n_formula_units
    if units == 1:
        return True
    tolerance = PRIMITIVE_TOLERANCE / lengths
    if tolerance.max() >= 0.5 / units:
        return False
    groups = [frac_coords[crystal.atomic_numbers == z] for z in crystal.composition.atomic_numbers]
    groups.sort(key=len)
    shifts = groups[0][1:] - groups[0][0]
    for group in groups:
        differences = group[None, :, :] - group[:, None, :]  # from the first index to the second
        apart = shifts[:, None, None, :] - differences
        apart -= np.round(apart)
        shifts = shifts[(np.abs(apart) < 2.001 * tolerance).all(axis=3).any(axis=2).all(axis=1)]
        if not len(shifts):
            return True
    return False
