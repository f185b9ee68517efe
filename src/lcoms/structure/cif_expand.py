"""Atoms of a whole cell from a list of sites and the operations of a space group.

A site within `SNAP` of a special position is moved onto it, to the mean of its images under the operations that leave
it in place. Coinciding atoms of one element count as one atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.cif_sites import Site
from lcoms.structure.lattice import wrap
from lcoms.structure.reading import RefusedError, Topic

SNAP = 0.2  # angstrom; no two atoms are this close
MAX_ATOMS = 5000


@dataclass(frozen=True, eq=False)
class Operations:
    """Symmetry operations x -> rotation x + translation of a setting.

    Attributes:
        rotations: (n, 3, 3) on fractional coordinates.
        translations: (n, 3).
    """

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rotations)

    def strain(self, lattice: NDArray[np.float64]) -> float:
        """Return the largest relative change of the metric tensor under the rotations; 0 for a symmetric cell."""
        metric = lattice @ lattice.T
        turned = np.einsum("nji,jk,nkl->nil", self.rotations, metric, self.rotations)
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        return float(np.abs((turned - metric) / scale).max())


@dataclass(frozen=True, eq=False)
class Expanded:
    """Atoms of a cell.

    Attributes:
        frac_coords: (n_atoms, 3).
        atomic_numbers: (n_atoms,).
        sites: (n_atoms,) index of the site that each atom comes from.
        moved: (n_sites,) distance by which each site was moved, angstrom.
        merged: labels of sites whose atoms all coincide with those of others.
        order: number of symmetry operations, centring translations included.
    """

    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    sites: NDArray[np.int64]
    moved: NDArray[np.float64]
    merged: tuple[str, ...]
    order: int

    def multiplicities(self) -> NDArray[np.int64]:
        """Return the number of atoms that each site gives, (n_sites,)."""
        return np.bincount(self.sites, minlength=len(self.moved))


def expand(sites: Sequence[Site], operations: Operations, lattice: NDArray[np.float64]) -> Expanded:
    """Return all atoms of the cell.

    Raises:
        RefusedError: there are more than `MAX_ATOMS`.
    """
    places = np.zeros((0, 3))
    numbers = np.zeros(0, dtype=np.int64)
    owners = np.zeros(0, dtype=np.int64)
    moved = np.zeros(len(sites))
    merged = []
    for index, site in enumerate(sites):
        orbit, moved[index] = _orbit(site.frac_coords, operations, lattice)
        new = orbit[~_taken(orbit, places[numbers == site.atomic_number], lattice)]
        if not len(new):
            merged.append(site.label)
        places = np.concatenate([places, new])
        numbers = np.append(numbers, np.full(len(new), site.atomic_number))
        owners = np.append(owners, np.full(len(new), index))
        if len(places) > MAX_ATOMS:
            raise RefusedError(Topic.TOO_LARGE, f"the cell has more than {MAX_ATOMS} atoms, which is too many here.")
    return Expanded(wrap(places), numbers, owners, moved, tuple(merged), len(operations))


def _orbit(
    place: NDArray[np.float64], operations: Operations, lattice: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the distinct images of a position, itself first, and how far (angstrom) it was moved beforehand."""
    if len(operations) == 1:
        return place[None], 0.0
    special = place
    for _ in range(3):
        offsets = _nearest(operations.rotations @ special + operations.translations - special)
        at_home = np.linalg.norm(offsets @ lattice, axis=1) < SNAP
        special = special + offsets[at_home].mean(axis=0)
    images = operations.rotations @ special + operations.translations
    rounded = np.round(wrap(images + 1e-7), 5) % 1.0
    _, first = np.unique(rounded, axis=0, return_index=True)
    kept: list[NDArray[np.float64]] = []
    for image in images[np.sort(first)]:
        if not kept or not _taken(image[None], np.array(kept), lattice, within=SNAP / 2)[0]:
            kept.append(image)
    return np.array(kept), float(np.linalg.norm((special - place) @ lattice))


def _nearest(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(offsets - np.round(offsets))


def _taken(
    places: NDArray[np.float64],
    others: NDArray[np.float64],
    lattice: NDArray[np.float64],
    within: float = SNAP,
) -> NDArray[np.bool_]:
    """Return which positions coincide with one of the others, up to lattice translations."""
    if not len(others):
        return np.zeros(len(places), dtype=bool)
    offsets = _nearest(places[:, None] - others[None])
    return np.asarray((np.linalg.norm(offsets @ lattice, axis=2) < within).any(axis=1))
