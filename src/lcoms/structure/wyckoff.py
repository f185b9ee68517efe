"""Wyckoff positions, and primitive cells whose atoms occupy given ones.

Positions are those of the International Tables in their standard settings (origin choice 2, hexagonal axes, unique
axis b); `wyckoff.json` holds one representative of each. Lattice vectors are rows; an operation maps fractional
coordinates x to W x + w.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import space_group_symbol
from lcoms.structure.symmetry_search import group_operations, moyo_dataset, normalizer_cosets

Orbits = tuple[tuple[str, int], ...]
"""Wyckoff letter and atomic number of each orbit, sorted."""

_AXES = "xyz"
_TERM = re.compile(r"([+-]?)(\d*)(?:/(\d+))?([xyz]?)")
_GENERIC = np.array([0.137, 0.2913, 0.4171])  # on no symmetry element
_PRIMITIVE: dict[str, NDArray[np.float64]] = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}  # rows: primitive lattice vectors in the conventional basis


@dataclass(frozen=True, eq=False)
class WyckoffPosition:
    """Points linear @ p + shift, with p the three free coordinates, of which only `n_free` directions matter.

    Attributes:
        multiplicity: number of points in the conventional cell.
    """

    letter: str
    multiplicity: int
    linear: Float[NDArray[np.float64], "3 3"]
    shift: Float[NDArray[np.float64], " 3"]

    @cached_property
    def n_free(self) -> int:
        return int(np.linalg.matrix_rank(self.linear))

    @cached_property
    def free(self) -> Float[NDArray[np.float64], "3 k"]:
        """Directions of the free coordinates that matter: p and free @ free.T @ p give the same point."""
        return np.asarray(np.linalg.svd(self.linear)[2][: self.n_free].T)


@dataclass(frozen=True, eq=False)
class SymmetricCell:
    """A primitive cell with atoms on given Wyckoff positions and undetermined free coordinates.

    Fractional coordinates are shifts + directions @ p for any p; displacements u (flattened) that keep the symmetry are
    the fixed points of the projector.

    Attributes:
        space_group: number in the International Tables.
        atomic_numbers: (n,).
        shifts: (n, 3) fractional coordinates at p = 0.
        directions: (n, 3, k) directions in which each free coordinate moves each atom.
        projector: (3 n, 3 n) average of displacements over the group.
        metric_projector: (9, 9) average of a flattened metric tensor over the group.
        primitive: (3, 3) primitive lattice vectors in the conventional basis.
    """

    space_group: int
    atomic_numbers: Int[NDArray[np.int64], " n"]
    shifts: Float[NDArray[np.float64], "n 3"]
    directions: Float[NDArray[np.float64], "n 3 k"]
    projector: Float[NDArray[np.float64], "m m"]
    metric_projector: Float[NDArray[np.float64], "9 9"]
    primitive: Float[NDArray[np.float64], "3 3"]

    @property
    def n_free(self) -> int:
        return self.directions.shape[2]


@cache
def wyckoff_positions(number: int) -> dict[str, WyckoffPosition]:
    """Return the positions of a space group by letter, the most special first."""
    rows = _table()[number - 1]
    return {letter: WyckoffPosition(letter, int(multiplicity), *_parse(text)) for letter, multiplicity, text in rows}


@cache
def primitive_basis(number: int) -> Float[NDArray[np.float64], "3 3"]:
    """Return primitive lattice vectors (rows) of a space group in the basis of its conventional cell."""
    return _PRIMITIVE[space_group_symbol(number)[0]]


@cache
def conventional_operations(
    number: int,
) -> tuple[Float[NDArray[np.float64], "g 3 3"], Float[NDArray[np.float64], "g 3"]]:
    """Return W and w of each operation of a space group in the conventional basis, centring included."""
    return group_operations(number)


@cache
def primitive_operations(
    number: int,
) -> tuple[Float[NDArray[np.float64], "g 3 3"], Float[NDArray[np.float64], "g 3"]]:
    """Return W and w of each operation of a space group, modulo lattice translations, in the primitive basis."""
    rotations, translations = conventional_operations(number)
    to_primitive = np.linalg.inv(primitive_basis(number)).T
    linear = to_primitive @ rotations @ np.linalg.inv(to_primitive)
    shift = translations @ to_primitive.T
    keys = np.round(np.concatenate([linear.reshape(-1, 9), _wrapped(shift)], axis=1), 3) + 0.0
    _, first = np.unique(keys, axis=0, return_index=True)
    first.sort()
    return np.round(linear[first]), shift[first]


class StandardCell(NamedTuple):
    """A crystal in the conventional cell of its space group.

    Attributes:
        letters: Wyckoff letter of each atom.
        coords: (n, 3) fractional coordinates.
        lattice: (3, 3) conventional lattice vectors as rows, angstrom.
    """

    space_group: int
    letters: list[str]
    atomic_numbers: list[int]
    coords: Float[NDArray[np.float64], "n 3"]
    lattice: Float[NDArray[np.float64], "3 3"]

    @property
    def orbits(self) -> Orbits:
        return _orbits(self.letters, self.atomic_numbers, self.space_group)

    def images(self, at: int) -> Float[NDArray[np.float64], "g 3"]:
        """Return the images of an atom under the operations of the space group, centring included; not wrapped."""
        linear, shift = conventional_operations(self.space_group)
        return np.asarray(linear @ self.coords[at] + shift)


def standard_cell(crystal: Crystal, *, symprec: float, elements: Sequence[int] = ()) -> StandardCell | None:
    """Return the crystal in the standard setting of its space group; None if the search fails.

    Of the descriptions that differ only by the choice of origin or axes (the Euclidean normalizer), the one whose
    orbits come first in the order of letters and then of elements is chosen.

    Args:
        elements: atomic numbers in the order to be used, so that crystals of one structure type get the same
            description; ascending if none are given.
    """
    dataset = moyo_dataset(crystal, symprec=symprec, standard=True)
    same = None if dataset is None else normalizer_cosets(dataset)
    if same is None:
        return None
    found = dataset.std_cell
    cells = []
    for change, positions in same:
        linear = np.array(change.linear, dtype=np.float64)
        coords = np.array(found.positions) @ linear.T + np.array(change.origin_shift)
        lattice = np.linalg.inv(linear).T @ np.array(found.basis)
        letters = [position.letter for position in positions]
        cells.append(StandardCell(int(dataset.number), letters, [int(z) for z in found.numbers], coords, lattice))
    place = {z: at for at, z in enumerate(elements)}
    return min(cells, key=lambda cell: sorted((letter, place.get(z, z)) for letter, z in cell.orbits))


def wyckoff_orbits(crystal: Crystal, *, symprec: float, elements: Sequence[int] = ()) -> tuple[int, Orbits] | None:
    """Return space group and orbits of the crystal in its standard cell; None if the search fails.

    Args:
        elements: as for `standard_cell`.
    """
    cell = standard_cell(crystal, symprec=symprec, elements=elements)
    return None if cell is None else (cell.space_group, cell.orbits)


def n_primitive_atoms(number: int, orbits: Orbits) -> int:
    """Return the number of atoms in the primitive cell with these orbits."""
    return sum(orbit_sizes(number, orbits))


def orbit_sizes(number: int, orbits: Orbits) -> list[int]:
    """Return the number of atoms of each orbit in the primitive cell."""
    positions, share = wyckoff_positions(number), _primitive_share(number)
    return [round(positions[letter].multiplicity * share) for letter, _ in orbits]


@cache
def _primitive_share(number: int) -> float:
    """Return the volume of the primitive cell of a space group in units of its conventional cell."""
    return float(abs(np.linalg.det(primitive_basis(number))))


@lru_cache(maxsize=512)  # up to 100 kB each
def symmetric_cell(number: int, orbits: Orbits) -> SymmetricCell:
    """Return the primitive cell with atoms on the orbits of a space group.

    Raises:
        CrystalError: an orbit without free coordinates occurs twice, or the group has no such letter.
    """
    positions = wyckoff_positions(number)
    for letter, n in Counter(letter for letter, _ in orbits).items():
        if letter not in positions:
            raise CrystalError(f"space group {number} has no Wyckoff position {letter!r}.")
        if positions[letter].n_free == 0 and n > 1:
            raise CrystalError(f"Wyckoff position {letter!r} of space group {number} holds one orbit only.")
    linear, shift = primitive_operations(number)
    parts = [orbit_points(number, letter) for letter, _ in orbits]
    sizes = [len(shifts) for shifts, _ in parts]
    shifts = np.concatenate([shifts for shifts, _ in parts])
    directions = np.zeros((len(shifts), 3, sum(d.shape[2] for _, d in parts)))
    row = column = 0
    for _, d in parts:
        directions[row : row + d.shape[0], :, column : column + d.shape[2]] = d
        row, column = row + d.shape[0], column + d.shape[2]
    transposed = linear.transpose(0, 2, 1)
    return SymmetricCell(
        space_group=number,
        atomic_numbers=np.repeat([z for _, z in orbits], sizes).astype(np.int64),
        shifts=shifts,
        directions=directions,
        projector=_projector(shifts, directions, linear, shift),
        metric_projector=np.einsum("gab,gdc->gadbc", transposed, transposed).reshape(-1, 9, 9).mean(0),
        primitive=primitive_basis(number),
    )


@lru_cache(maxsize=1024)
def orbit_points(
    number: int, letter: str
) -> tuple[Float[NDArray[np.float64], "n 3"], Float[NDArray[np.float64], "n 3 k"]]:
    """Return shifts and directions of the points of one orbit, in the primitive basis."""
    position = wyckoff_positions(number)[letter]
    linear, shift = primitive_operations(number)
    to_primitive = np.asarray(np.linalg.inv(primitive_basis(number)).T, dtype=np.float64)
    directions = linear @ (to_primitive @ position.linear @ position.free)
    shifts = linear @ (to_primitive @ position.shift) + shift
    points = shifts + directions @ _GENERIC[: position.n_free]
    first: list[int] = []
    for at in range(len(points)):
        if all(np.abs(_nearest(points[at] - points[other])).max() > 1e-4 for other in first):
            first.append(at)
    return shifts[first], directions[first]


def _projector(
    shifts: Float[NDArray[np.float64], "n 3"],
    directions: Float[NDArray[np.float64], "n 3 k"],
    linear: Float[NDArray[np.float64], "g 3 3"],
    shift: Float[NDArray[np.float64], "g 3"],
) -> Float[NDArray[np.float64], "m m"]:
    n, k = directions.shape[0], directions.shape[2]
    points = shifts + directions @ np.modf(np.arange(1, k + 1) * 0.6180339887 + 0.1234)[0]
    images = points @ linear.transpose(0, 2, 1) + shift[:, None]
    target = np.abs(_nearest(images[:, :, None] - points)).sum(-1).argmin(2)  # (g, n): where each atom goes
    moved = (target[:, None, :] == np.arange(n)[:, None]).astype(np.float64)
    return np.einsum("gts,gab->tasb", moved, linear, optimize=True).reshape(3 * n, 3 * n) / len(linear)


def _orbits(letters: list[str], numbers: list[int], number: int) -> Orbits:
    positions = wyckoff_positions(number)
    orbits = []
    for letter, z in sorted(set(zip(letters, numbers, strict=True))):
        n_atoms = sum(pair == (letter, z) for pair in zip(letters, numbers, strict=True))
        orbits += [(letter, z)] * (n_atoms // positions[letter].multiplicity)
    return tuple(orbits)


def _nearest(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    return difference - np.round(difference)


def _wrapped(coords: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates wrapped into [0, 1); values within rounding error below 1 become 0."""
    wrapped = coords % 1.0
    return np.where(wrapped > 1 - 1e-6, 0.0, wrapped)


def _parse(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a text such as "x,2x,1/4" as a matrix and a vector."""
    linear, shift = np.zeros((3, 3)), np.zeros(3)
    for row, part in enumerate(text.split(",")):
        for sign, digits, divisor, axis in _TERM.findall(part):
            if not (digits or axis):
                continue
            value = float(digits or 1) / float(divisor or 1) * (-1 if sign == "-" else 1)
            if axis:
                linear[row, _AXES.index(axis)] += value
            else:
                shift[row] += value
    return linear, shift


@cache
def _table() -> list[list[Any]]:
    """Return letter, multiplicity and representative of each position of the 230 groups."""
    table: list[list[Any]] = json.loads(files("lcoms.structure").joinpath("wyckoff.json").read_text())["positions"]
    return table
