"""Largest point groups that a strain of a crystal can leave: cubic to tetragonal or rhombohedral, and so on.

Strains are unchanged by inversion, so only the proper part of each rotation counts. The number of strains that a group
allows is the mean of its character ((tr W)^2 + tr W^2) / 2 on symmetric tensors.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.lines import proper_rotations
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import PrimitiveStandard

Group = frozenset[int]


def strained_point_groups(rotations: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the proper rotations (n, 3, 3) of the largest subgroups that allow more strains than the whole group.

    One of each set of equivalent subgroups is returned, the largest first.

    Args:
        rotations: (n, 3, 3) of the point group, acting on columns of fractional coordinates.
    """
    proper = proper_rotations(rotations)
    place = {rotation.tobytes(): at for at, rotation in enumerate(proper)}
    table = [[place[np.ascontiguousarray(a @ b).tobytes()] for b in proper] for a in proper]
    traces = np.trace(proper, axis1=1, axis2=2)
    squares = np.trace(proper @ proper, axis1=1, axis2=2)
    characters = (traces**2 + squares) / 2
    whole = round(float(characters.mean()))
    groups = {_generated(pair, table) for pair in combinations_with_replacement(range(len(proper)), 2)}
    lower = [group for group in groups if round(float(characters[list(group)].mean())) > whole]
    largest = [group for group in lower if not any(group < other for other in lower)]
    inverse = [row.index(place[np.eye(3, dtype=np.int64).tobytes()]) for row in table]
    distinct = {min(_conjugates(group, table, inverse)) for group in largest}
    return [proper[list(group)] for group in sorted(distinct, key=lambda one: (-len(one), one))]


def strained_cell(cell: PrimitiveStandard, strain: NDArray[np.float64]) -> PrimitiveStandard:
    """Return a cell with a symmetric strain (3, 3)."""
    change, old = np.eye(3) + strain, cell.crystal
    crystal = Crystal(old.lattice @ change, old.frac_coords, old.atomic_numbers)
    return replace(cell, crystal=crystal, conventional=cell.conventional @ change)


def _generated(generators: tuple[int, ...], table: list[list[int]]) -> Group:
    found, new = set(generators), set(generators)
    while new:
        new = {table[a][b] for a in found for b in new} - found
        found |= new
    return frozenset(found)


def _conjugates(group: Group, table: list[list[int]], inverse: list[int]) -> list[tuple[int, ...]]:
    return [tuple(sorted(table[table[g][a]][inverse[g]] for a in group)) for g in range(len(table))]
