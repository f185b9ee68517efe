"""Atoms of a whole cell from a list of sites and the operations of a space group.

A site that lies within `SNAP` of a special position is moved onto it: it is the mean of its images under the operations
that leave it where it is. Atoms of one element that fall together are one atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.cif_sites import Site
from lcoms.structure.lattice import wrap
from lcoms.structure.reading import RefusedError, Topic

SNAP = 0.2  # angstrom; no two atoms are so near
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
        """How far the cell is from one that the rotations leave as it is: largest relative change of its metric."""
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
        sites: (n_atoms,) index of the site that an atom comes from.
        moved: angstrom that each site was moved, (n_sites,).
        merged: labels of sites whose atoms all coincide with those of others.
    """

    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    sites: NDArray[np.int64]
    moved: NDArray[np.float64]
    merged: tuple[str, ...]

    def multiplicities(self) -> NDArray[np.int64]:
        """How many atoms each site has become, (n_sites,)."""
        return np.bincount(self.sites, minlength=len(self.moved))


def expand(sites: Sequence[Site], operations: Operations, lattice: NDArray[np.float64]) -> Expanded:
    """All atoms of the cell.

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
    return Expanded(wrap(places), numbers, owners, moved, tuple(merged))


def _orbit(
    place: NDArray[np.float64], operations: Operations, lattice: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Images of a place that differ, the place itself first, and how far in angstrom it was moved before."""
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
    """Which places lie on one of the others, up to lattice translations."""
    if not len(others):
        return np.zeros(len(places), dtype=bool)
    offsets = _nearest(places[:, None] - others[None])
    return np.asarray((np.linalg.norm(offsets @ lattice, axis=2) < within).any(axis=1))
