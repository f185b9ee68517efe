"""Training batches from a store: the crystals of a step depend only on the seed and the number of the step.

A killed run therefore continues exactly where it stopped, without any state of a data loader.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lcoms.core.errors import DataError
from lcoms.data.store import CrystalArrays
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.elements import atomic_volume

VOLUME_RANGE = (0.4, 4.0)


class TrainingSteps(Dataset[list[CrystalBatch]]):
    """Item number `step` is the list of batches of that step; crystals of a batch have the same number of atoms.

    Crystals with the same atoms follow each other, so that energies of polymorphs can be compared within a batch.

    Args:
        crystals: training crystals.
        atoms_per_batch: approximate number of atoms in a batch.
        max_crystals: largest number of crystals in a batch of small cells.
        batches_per_step: number of batches whose gradients are added up.
    """

    def __init__(
        self,
        crystals: CrystalArrays,
        *,
        n_steps: int,
        seed: int,
        atoms_per_batch: int = 1024,
        max_crystals: int = 192,
        batches_per_step: int = 2,
    ) -> None:
        if not len(crystals):
            raise DataError("there is no crystal to train on; check the split and the largest cell.")
        self.crystals = crystals
        self.n_steps = n_steps
        self.seed = seed
        self.batches_per_step = batches_per_step
        self._sizes = np.diff(crystals.offsets)
        self._limits = {
            int(size): max(1, min(max_crystals, atoms_per_batch // int(size))) for size in np.unique(self._sizes)
        }
        self._of_size = {size: _of_size(crystals, self._sizes, size) for size in self._limits}
        counts = {size: int((self._sizes == size).sum()) for size in self._limits}
        n_batches = sum(-(-counts[size] // limit) for size, limit in self._limits.items())
        self.steps_per_epoch = max(1, n_batches // batches_per_step)
        self._plan = lru_cache(maxsize=1)(self._plan_epoch)

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, step: int) -> list[CrystalBatch]:
        epoch, position = divmod(step, self.steps_per_epoch)
        plan = self._plan(epoch)
        first = position * self.batches_per_step
        return [to_batch(self.crystals.take(rows)) for rows in plan[first : first + self.batches_per_step]]

    def _plan_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, epoch])
        batches = []
        for size, limit in self._limits.items():
            rows, contents = self._of_size[size]
            rows = rows[np.lexsort((random.permutation(len(rows)), random.permutation(len(rows))[contents]))]
            batches += [rows[i : i + limit] for i in range(0, len(rows), limit)]
        return [batches[i] for i in random.permutation(len(batches))]


def _of_size(
    crystals: CrystalArrays, sizes: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of crystals of one size, and a number for each that is the same where the atoms are."""
    rows = np.flatnonzero(sizes == size)
    atoms = crystals.offsets[rows, None] + np.arange(size)
    _, contents = np.unique(np.sort(crystals.atomic_numbers[atoms], axis=1), axis=0, return_inverse=True)
    return rows, contents.ravel()


def to_batch(crystals: CrystalArrays) -> CrystalBatch:
    """Return all crystals as one batch in float32, with their formation energies."""
    sizes = torch.from_numpy(np.diff(crystals.offsets))
    return CrystalBatch(
        lattice=torch.from_numpy(crystals.lattice).float(),
        frac_coords=torch.from_numpy(crystals.frac_coords).float(),
        atomic_numbers=torch.from_numpy(crystals.atomic_numbers.astype(np.int64)),
        crystal_idx=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
        formation_energy=torch.from_numpy(crystals.formation_energy).float(),
    )


def plausible_volume(crystals: CrystalArrays) -> NDArray[np.bool_]:
    """Return which cells have a volume of 0.4 to 4 times the sum of the typical volumes of their atoms.

    Cells far outside are usually symmetrised files that lack most atoms of the cell.
    """
    table = np.array([0.0] + [atomic_volume(z) for z in range(1, 104)])
    expected = np.add.reduceat(table[crystals.atomic_numbers], crystals.offsets[:-1])
    ratio = np.abs(np.linalg.det(crystals.lattice)) / expected
    return (ratio > VOLUME_RANGE[0]) & (ratio < VOLUME_RANGE[1])
