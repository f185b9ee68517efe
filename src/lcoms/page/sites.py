"""The occupied Wyckoff positions of a crystal."""

from __future__ import annotations

from typing import NamedTuple

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.symmetry import EXACT_SYMPREC
from lcoms.structure.symmetry_search import moyo_dataset


class Site(NamedTuple):
    """One orbit of a conventional cell.

    Attributes:
        wyckoff: multiplicity and letter, such as 4a.
        symmetry: site symmetry, in Hermann-Mauguin symbols oriented like the cell.
        coords: fractional coordinates of its first atom.
    """

    symbol: str
    wyckoff: str
    symmetry: str
    coords: tuple[float, float, float]


def occupied_sites(cell: Crystal) -> tuple[Site, ...]:
    """Return the orbits of a conventional cell by their first atoms; each atom alone if no symmetry is found."""
    dataset = moyo_dataset(cell, symprec=EXACT_SYMPREC)
    if dataset is None:
        return tuple(_site(cell, atom, "1a", "1") for atom in range(cell.n_atoms))
    orbits = list(dataset.orbits)
    return tuple(
        _site(cell, first, f"{orbits.count(first)}{dataset.wyckoffs[first]}", dataset.site_symmetry_symbols[first])
        for first in sorted(set(orbits))
    )


def _site(cell: Crystal, atom: int, wyckoff: str, symmetry: str) -> Site:
    x, y, z = (round(float(u) % 1, 5) % 1 + 0.0 for u in cell.frac_coords[atom])
    return Site(SYMBOLS[int(cell.atomic_numbers[atom])], wyckoff, str(symmetry), (x, y, z))
