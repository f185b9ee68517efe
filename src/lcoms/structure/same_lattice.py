"""Test whether two lattices are the same within errors of lengths and angles, whatever their bases."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import RELAXED_SYMPREC, conventional

Lattice = Float[NDArray[np.float64], "3 3"]


def same_lattice(first: Lattice, second: Lattice, tolerance: float) -> bool:
    """Return whether a basis of the first has the lengths and angles of the second.

    Args:
        tolerance: relative for lengths, in radians for angles.
    """
    from pymatgen.core import Lattice as PymatgenLattice

    volumes = abs(np.linalg.det(first)) / abs(np.linalg.det(second))
    if abs(np.log(volumes)) > 4 * tolerance:  # three lengths, and angles
        return False
    mappings = PymatgenLattice(first).find_all_mappings(
        PymatgenLattice(second), ltol=tolerance, atol=float(np.degrees(tolerance)), skip_rotation_matrix=True
    )
    return any(round(abs(float(np.linalg.det(scale)))) == 1 for _, _, scale in mappings)


def has_cell(crystal: Crystal, lattice: Lattice, tolerance: float) -> bool:
    """Return whether a lattice is that of a crystal's primitive or conventional cell, in any setting.

    Args:
        crystal: its primitive cell.
        tolerance: as for `same_lattice`.
    """
    if same_lattice(crystal.lattice, lattice, tolerance):
        return True
    whole = conventional(crystal, symprec=RELAXED_SYMPREC)
    return whole.n_atoms != crystal.n_atoms and same_lattice(whole.lattice, lattice, tolerance)
