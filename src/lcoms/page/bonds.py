"""Who is bonded to whom in a crystal, by pymatgen's CrystalNN, and a table of it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import to_pymatgen


class Bond(NamedTuple):
    """From an atom of the cell to an atom of the cell shifted by whole lattice vectors.

    Attributes:
        length: angstrom.
    """

    first: int
    second: int
    image: tuple[int, int, int]
    length: float


class BondKind(NamedTuple):
    """All bonds between two elements.

    Attributes:
        shortest, longest: angstrom.
        around_first: atoms of the second element that an atom of the first is bonded to, such as "6" or "4-6".
    """

    first: str
    second: str
    shortest: float
    longest: float
    around_first: str
    around_second: str


def find_bonds(crystal: Crystal) -> list[Bond]:
    """Each bond once; none where no neighbours can be found.

    Source: Pan et al., Inorganic Chemistry 60, 1590 (2021), CrystalNN.
    """
    from pymatgen.analysis.local_env import CrystalNN

    structure = to_pymatgen(crystal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            neighbours = CrystalNN().get_all_nn_info(structure)
        except Exception:  # its Voronoi cells raise many kinds of errors for crystals that lie far apart
            return []
    bonds: dict[tuple[int, int, tuple[int, int, int]], Bond] = {}
    for first, found in enumerate(neighbours):
        for neighbour in found:
            second = int(neighbour["site_index"])
            i, j, k = (round(x) for x in neighbour["image"])
            a, b, shift = min((first, second, (i, j, k)), (second, first, (-i, -j, -k)))
            ends = crystal.frac_coords[b] + shift - crystal.frac_coords[a]
            bonds[a, b, shift] = Bond(a, b, shift, float(np.linalg.norm(ends @ crystal.lattice)))
    return sorted(bonds.values())


def bond_table(crystal: Crystal, bonds: Sequence[Bond]) -> list[BondKind]:
    """One row for each pair of elements that are bonded, the shortest bond first."""
    symbols = [SYMBOLS[z] for z in crystal.atomic_numbers]
    lengths: dict[tuple[str, str], list[float]] = {}
    around: Counter[tuple[int, str]] = Counter()
    for bond in bonds:
        first, second = symbols[bond.first], symbols[bond.second]
        lengths.setdefault((min(first, second), max(first, second)), []).append(bond.length)
        around[bond.first, second] += 1
        around[bond.second, first] += 1

    def coordination(of: str, by: str) -> str:
        counts = [around[i, by] for i, symbol in enumerate(symbols) if symbol == of]
        low, high = min(counts), max(counts)
        return str(low) if low == high else f"{low}-{high}"

    rows = [
        BondKind(first, second, min(some), max(some), coordination(first, second), coordination(second, first))
        for (first, second), some in lengths.items()
    ]
    return sorted(rows, key=lambda row: row.shortest)
