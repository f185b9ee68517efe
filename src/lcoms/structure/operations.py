"""Symmetry operations of a crystal in its own cell, so that equivalent atoms and bonds need not be computed twice.

Only operations that a crystal obeys almost exactly are used. A relaxation keeps them, so that they are searched for
once, and tested at each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry_search import moyo_dataset

SEARCHED = 1e-4  # angstrom; tolerance of the search
_HALF = 1 << 11  # three images and two atoms fit into one integer
EXACT = 1e-5  # angstrom; largest distance of an atom, or change of a lattice vector, under an operation


@dataclass(frozen=True, eq=False)
class Operations:
    """Operations x -> R x + t on fractional coordinates; together a group, the identity included.

    Attributes:
        rotations: R, acting on columns.
        translations: t.
        images: atom onto which each operation moves each atom.
        shifts: lattice translation from this atom to the image, in cells.
    """

    rotations: Int[NDArray[np.int64], "n_operations 3 3"]
    translations: Float[NDArray[np.float64], "n_operations 3"]
    images: Int[NDArray[np.int64], "n_operations n_atoms"]
    shifts: Int[NDArray[np.int64], "n_operations n_atoms 3"]

    def __len__(self) -> int:
        return len(self.rotations)

    @property
    def n_independent(self) -> int:
        """Number of atoms of which none is an image of another."""
        return len(np.unique(self.images.min(axis=0)))

    @property
    def proper(self) -> Operations:
        """Rotations and screw rotations alone, for what is not the same in a mirror."""
        kept = np.round(np.linalg.det(self.rotations)) > 0
        return Operations(self.rotations[kept], self.translations[kept], self.images[kept], self.shifts[kept])

    def bond_keys(
        self,
        first: Int[NDArray[np.int64], " n_bonds"],
        second: Int[NDArray[np.int64], " n_bonds"],
        images: Int[NDArray[np.int64], "n_bonds 3"],
    ) -> tuple[Int[NDArray[np.int64], "n_operations n_bonds"], Int[NDArray[np.int64], "n_operations n_bonds"]]:
        """Return integers (`bond_keys`) of the bonds that bonds become under each operation, and of their reverses.

        Args:
            images: lattice shift of the second atom's copy, in cells.
        """
        shifts, n_atoms = self.shifts[:, second] - self.shifts[:, first], self.images.shape[1]
        moved = images @ self.rotations.transpose(0, 2, 1) + shifts
        ends = self.images[:, first], self.images[:, second]
        return bond_keys(n_atoms, *ends, moved), bond_keys(n_atoms, *ends[::-1], -moved)

    def cartesian(self, lattice: Float[NDArray[np.float64], "3 3"]) -> Float[NDArray[np.float64], "n_operations 3 3"]:
        """Return the matrices that multiply rows of Cartesian coordinates from the right."""
        return np.asarray(np.linalg.inv(lattice) @ self.rotations.transpose(0, 2, 1) @ lattice)

    def averaged(
        self,
        lattice: Float[NDArray[np.float64], "3 3"],
        vectors: Float[NDArray[np.float64], "n_atoms 3"],
        tensor: Float[NDArray[np.float64], "3 3"],
    ) -> tuple[Float[NDArray[np.float64], "n_atoms 3"], Float[NDArray[np.float64], "3 3"]]:
        """Return vectors at the atoms and a tensor of the crystal, both averaged over the operations."""
        if len(self) == 1:
            return vectors, tensor
        turns = self.cartesian(lattice)
        averaged = np.zeros_like(vectors)
        np.add.at(averaged, self.images, vectors @ turns / len(self))
        return averaged, (turns.transpose(0, 2, 1) @ tensor @ turns).mean(axis=0)


def bond_keys(
    n_atoms: int, first: NDArray[np.int64], second: NDArray[np.int64], images: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return one integer for each bond from a first atom to the image of a second one; images are below 2048."""
    key = first * n_atoms + second
    for axis in range(3):
        key = key * (2 * _HALF) + images[..., axis] + _HALF
    return np.asarray(key)


_KNOWN: WeakKeyDictionary[Crystal, Operations] = WeakKeyDictionary()


def operations_of(crystal: Crystal) -> Operations:
    """Return the operations that a crystal obeys within `EXACT`, cached for the lifetime of the crystal."""
    known = _KNOWN.get(crystal)
    if known is None:
        known = _KNOWN[crystal] = _search(crystal)
    return known


def keep_operations(origin: Crystal, moved: Crystal) -> None:
    """Let a crystal have the operations of the one it was moved from, without another search, if it obeys them."""
    known = _KNOWN.get(origin)
    if known is not None:
        kept = _tested(moved, known.rotations, known.translations, known.images)
        if kept is not None:
            _KNOWN[moved] = kept


def _search(crystal: Crystal) -> Operations:
    dataset = moyo_dataset(crystal, symprec=SEARCHED)
    if dataset is not None and len(dataset.operations.rotations) > 1:
        rotations = np.array(dataset.operations.rotations, dtype=np.int64)
        translations = np.array(dataset.operations.translations, dtype=np.float64)
        moved = crystal.frac_coords @ rotations.transpose(0, 2, 1) + translations[:, None]
        apart = moved[:, :, None] - crystal.frac_coords
        squares = np.square((apart - np.round(apart)) @ crystal.lattice).sum(-1)
        found = _tested(crystal, rotations, translations, squares.argmin(-1))
        if found is not None:
            return found
    none, zero = np.eye(3, dtype=np.int64)[None], np.zeros((1, crystal.n_atoms, 3), dtype=np.int64)
    return Operations(none, np.zeros((1, 3)), np.arange(crystal.n_atoms)[None], zero)


def _tested(
    crystal: Crystal,
    rotations: Int[NDArray[np.int64], "g 3 3"],
    translations: Float[NDArray[np.float64], "g 3"],
    images: Int[NDArray[np.int64], "g n"],
) -> Operations | None:
    """Return the operations if the crystal obeys all of them; None otherwise."""
    metric = crystal.lattice @ crystal.lattice.T
    strained = rotations.transpose(0, 2, 1) @ metric @ rotations - metric
    if np.abs(strained).max() > 2 * EXACT * np.sqrt(metric.max()):
        return None
    apart = crystal.frac_coords @ rotations.transpose(0, 2, 1) + translations[:, None] - crystal.frac_coords[images]
    shifts = np.round(apart)
    if np.square((apart - shifts) @ crystal.lattice).sum(-1).max() > EXACT**2:
        return None
    if (crystal.atomic_numbers[images] != crystal.atomic_numbers).any():
        return None
    return Operations(rotations, translations, images, shifts.astype(np.int64))
