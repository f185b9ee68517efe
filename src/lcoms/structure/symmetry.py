"""Space groups, and symmetrisation of crystals that are nearly symmetric."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.symmetry_search import LOOSEST, moyo_dataset

TOLERANCE_LADDER = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02)  # angstrom, loosest first
NEAR_LADDER = (0.1, 0.05, 0.02)  # for crystals close to their symmetry: relaxed, or decoded within a space group
STANDARD_SYMPREC = 0.1  # angstrom; tolerance for crystals of any origin
RELAXED_SYMPREC = 0.05  # angstrom; relaxed crystals obey their symmetry to about this distance
EXACT_SYMPREC = 0.01  # angstrom; the same for crystals that were symmetrised
HANDED = (
    (76, 78),
    (91, 95),
    (92, 96),
    (144, 145),
    (151, 153),
    (152, 154),
    (169, 170),
    (171, 172),
    (178, 179),
    (180, 181),
    (212, 213),
)  # groups that are mirror images of each other
MIRROR = {**dict(HANDED), **{b: a for a, b in HANDED}}
CENTRINGS = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}  # lattice points in a conventional cell


@dataclass(frozen=True, eq=False)
class Symmetrised:
    """A crystal with exact symmetry.

    Attributes:
        crystal: its primitive standardised cell, as close to the original as the symmetry allows.
        space_group: number in the International Tables.
        symprec: angstrom; the tolerance at which the symmetry was found.
    """

    crystal: Crystal
    space_group: int
    symprec: float


def space_group_number(crystal: Crystal, *, symprec: float = STANDARD_SYMPREC) -> int:
    """Return the number in the International Tables at a tolerance in angstrom; 1 if the search fails."""
    dataset = moyo_dataset(crystal, symprec=symprec)
    return 1 if dataset is None else int(dataset.number)


def same_space_group(first: int, second: int) -> bool:
    """Return whether they are the same group or mirror images: a crystal and its mirror image are one structure."""
    return first == second or MIRROR.get(first) == second


def space_group_symbol(number: int) -> str:
    """Return the short Hermann-Mauguin symbol, such as Fm-3m."""
    return str(_table()["symbols"][number - 1])


def space_group_order(number: int) -> int:
    """Return the number of operations in the conventional cell, centring included: 1 for P1, 192 for Fm-3m."""
    return int(_table()["orders"][number - 1])


def operations_per_atom(primitive: Crystal, number: int) -> float:
    """Return symmetry operations per lattice point and atom of a primitive cell; a subgroup has fewer, by its index.

    The order of a space group alone does not reflect lost translations: a distorted cell of twice the size may have a
    group of the same order.
    """
    return space_group_order(number) / CENTRINGS[space_group_symbol(number)[0]] / primitive.n_atoms


@cache
def _table() -> dict[str, list[Any]]:
    """Return symbols and orders of the 230 space groups, from pymatgen."""
    table: dict[str, list[Any]] = json.loads(files("lcoms.structure").joinpath("space_groups.json").read_text())
    return table


def symmetrise(
    crystal: Crystal, *, ladder: tuple[float, ...] = TOLERANCE_LADDER, closest: float = 0.8, strain: float = 0.12
) -> Symmetrised:
    """Move atoms and cell onto the highest symmetry found within a tolerance of the ladder, loosest first.

    A tolerance is skipped if the search fails, atoms would come too close, or the volume per atom changes too much. If
    all are skipped, the crystal is returned as P1.

    Args:
        ladder: tolerances in angstrom, descending.
        closest: smallest allowed ratio of the shortest distance after to that before.
        strain: largest relative change of the volume per atom.
    """
    shortest = shortest_distance(crystal.lattice, crystal.frac_coords)
    per_atom = crystal.volume / crystal.n_atoms
    for symprec in ladder:
        found = _loosely(crystal, symprec) if symprec > LOOSEST else _closely(crystal, symprec)
        if found is None:
            continue
        number, lattice, frac_coords, atomic_numbers = found
        try:
            refined = Crystal(np.array(lattice), np.array(frac_coords), np.array(atomic_numbers, dtype=np.int64))
        except CrystalError:
            continue
        if refined.composition.reduced != crystal.composition.reduced:
            continue
        if abs(refined.volume / refined.n_atoms / per_atom - 1) > strain:
            continue
        if shortest_distance(refined.lattice, refined.frac_coords) < closest * shortest:
            continue
        return Symmetrised(refined, number, symprec)
    return Symmetrised(crystal, 1, 0.0)


Found = tuple[int, Any, Any, Any]
"""Number of the space group, and lattice, fractional coordinates and atomic numbers of the primitive standard cell."""


def _closely(crystal: Crystal, symprec: float) -> Found | None:
    dataset = moyo_dataset(crystal, symprec=symprec)
    if dataset is None:
        return None
    cell = dataset.prim_std_cell
    return int(dataset.number), cell.basis, cell.positions, cell.numbers


def _loosely(crystal: Crystal, symprec: float) -> Found | None:
    """Use spglib: moyopy may never end and exhaust the memory if the tolerance is large relative to the cell."""
    import spglib

    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # otherwise it writes to the terminal if it finds nothing
    cell = (crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.atomic_numbers.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
            standard = spglib.standardize_cell(cell, to_primitive=True, symprec=symprec)
        except Exception:  # newer versions raise their own errors where older ones return None
            return None
    if dataset is None or standard is None:
        return None
    return int(dataset.number), *standard


def conventional(crystal: Crystal, *, symprec: float = EXACT_SYMPREC) -> Crystal:
    """Return the conventional standardised cell; the crystal itself if no symmetry is found."""
    dataset = moyo_dataset(crystal, symprec=symprec)
    if dataset is None:
        return crystal
    cell = dataset.std_cell
    return Crystal(np.array(cell.basis), np.array(cell.positions), np.array(cell.numbers))


@dataclass(frozen=True, eq=False)
class PrimitiveStandard:
    """The primitive cell in its standard setting, and the rotations that leave it invariant.

    Attributes:
        crystal: the cell.
        conventional: (3, 3) rows of the conventional cell's vectors in angstrom, in the same orientation.
        rotations: (n, 3, 3) of the point group, acting on columns of fractional coordinates.
        space_group: number in the International Tables.
    """

    crystal: Crystal
    conventional: NDArray[np.float64]
    rotations: NDArray[np.int64]
    space_group: int


def primitive_standard(crystal: Crystal, *, symprec: float = EXACT_SYMPREC) -> PrimitiveStandard:
    """Return the primitive standard cell and point group; the crystal itself in P1 if no symmetry is found."""
    dataset = moyo_dataset(crystal, symprec=symprec)
    if dataset is not None:
        cell, conventional_cell = dataset.prim_std_cell, np.array(dataset.std_cell.basis)
        primitive = Crystal(np.array(cell.basis), np.array(cell.positions), np.array(cell.numbers))
        again = moyo_dataset(primitive, symprec=symprec)
        if again is not None and again.number == dataset.number:
            rotations = np.unique(np.array(again.operations.rotations, dtype=np.int64), axis=0)
            return PrimitiveStandard(primitive, conventional_cell, rotations, int(dataset.number))
    return PrimitiveStandard(crystal, crystal.lattice, np.eye(3, dtype=np.int64)[None], 1)
