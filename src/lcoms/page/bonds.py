"""Bonds of a crystal from pymatgen's CrystalNN, and a table of them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS, electronegativity
from lcoms.structure.io import to_pymatgen
from lcoms.structure.symmetry import EXACT_SYMPREC
from lcoms.structure.symmetry_search import moyo_dataset

CORNERS = 4  # corners of the smallest polyhedron


class Bond(NamedTuple):
    """A bond from an atom of the cell to an atom of the cell shifted by lattice vectors.

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
        around_first: number of atoms of the second element bonded to an atom of the first, such as "6" or "4-6".
        around_second: the reverse.
    """

    first: str
    second: str
    shortest: float
    longest: float
    around_first: str
    around_second: str


def find_bonds(crystal: Crystal) -> list[Bond]:
    """Return each bond once; none if no neighbours can be found.

    Neighbours are determined for one atom of each orbit, and mapped to the others by the symmetry operations.

    Source: Pan et al., Inorganic Chemistry 60, 1590 (2021), CrystalNN.
    """
    from pymatgen.analysis.local_env import CrystalNN

    structure, finder = to_pymatgen(crystal), CrystalNN()
    bonds: dict[tuple[int, int, tuple[int, int, int]], Bond] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for orbit in _orbits(crystal):
            site = orbit[0].site
            try:
                found = finder.get_nn_info(structure, site)
            except Exception:  # Voronoi cells raise many kinds of errors if atoms are far apart
                return []
            ends = [crystal.frac_coords[one["site_index"]] + one["image"] for one in found]
            for carried in orbit:
                for bond in _carried(crystal, carried, np.array(ends).reshape(-1, 3)):
                    bonds[bond.first, bond.second, bond.image] = bond
    return sorted(bonds.values())


def load_finder() -> None:
    """Import CrystalNN in advance, which takes seconds that `find_bonds` then need not wait for."""
    import_module("pymatgen.analysis.local_env")


class _Carried(NamedTuple):
    """An atom, and the operation x -> rotation @ x + translation that maps the first of its orbit onto it."""

    site: int
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


def _orbits(crystal: Crystal) -> list[list[_Carried]]:
    """Return the symmetry-equivalent atoms, orbit by orbit; each atom alone if no symmetry is found."""
    dataset = moyo_dataset(crystal, symprec=EXACT_SYMPREC)
    if dataset is None:
        return [[_Carried(site, np.eye(3), np.zeros(3))] for site in range(crystal.n_atoms)]
    rotations = np.array(dataset.operations.rotations, dtype=np.float64)
    translations = np.array(dataset.operations.translations, dtype=np.float64)
    coords = crystal.frac_coords
    carried = []
    for first in sorted(set(dataset.orbits)):
        members = {first: _Carried(first, np.eye(3), np.zeros(3))}
        images = rotations @ coords[first] + translations
        for rotation, translation, image in zip(rotations, translations, images, strict=True):
            site, shift = _atom_at(crystal, image)
            members.setdefault(site, _Carried(site, rotation, translation - shift))
        carried.append(list(members.values()))
    return carried


def _carried(crystal: Crystal, carried: _Carried, ends: NDArray[np.float64]) -> Iterator[Bond]:
    """Yield the bonds of an atom to the images of the ends (n, 3) under the operation that maps to it."""
    site = carried.site
    for end in ends @ carried.rotation.T + carried.translation:
        other, shift = _atom_at(crystal, end)
        i, j, k = shift.tolist()
        a, b, image = min((site, other, (i, j, k)), (other, site, (-i, -j, -k)))
        way = crystal.frac_coords[b] + image - crystal.frac_coords[a]
        yield Bond(a, b, image, float(np.linalg.norm(way @ crystal.lattice)))


def _atom_at(crystal: Crystal, place: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Return the atom nearest to a position in fractional coordinates, and the lattice vector that shifts it there."""
    ways = place - crystal.frac_coords
    shifts = np.rint(ways)
    site = int(np.linalg.norm((ways - shifts) @ crystal.lattice, axis=1).argmin())
    return site, shifts[site].astype(np.int64)


def polyhedron_centres(crystal: Crystal, bonds: Sequence[Bond]) -> list[int]:
    """Return the atoms with four or more bonds, all to more electronegative elements: centres of polyhedra."""
    numbers = crystal.atomic_numbers.tolist()
    around: dict[int, list[int]] = {}
    for bond in bonds:
        around.setdefault(bond.first, []).append(numbers[bond.second])
        around.setdefault(bond.second, []).append(numbers[bond.first])
    return [
        site
        for site, others in sorted(around.items())
        if len(others) >= CORNERS and all(electronegativity(z) > electronegativity(numbers[site]) for z in others)
    ]


def bond_table(crystal: Crystal, bonds: Sequence[Bond]) -> list[BondKind]:
    """Return one row for each pair of bonded elements, shortest bond first."""
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
