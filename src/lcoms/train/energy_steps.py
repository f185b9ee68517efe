"""Batches from which an autoencoder learns energies: whole compositions, so that their crystals are compared.

The crystals of a step depend only on the seed and the number of the step, as those of `TrainingSteps` do.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import DataError
from lcoms.data.dataset import to_batch
from lcoms.data.store import CrystalArrays
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.structure.batch import CrystalBatch


class EnergySteps:
    """Batches of whole compositions with crystals of any size; those of crystals without an energy are left out.

    A composition with too many atoms for one batch is divided at random in every epoch.

    Args:
        atoms_per_batch: approximate number of atoms in a batch.

    Raises:
        DataError: no crystal has an energy.
    """

    def __init__(self, crystals: CrystalArrays, *, atoms_per_batch: int, seed: int) -> None:
        known = np.flatnonzero(np.isfinite(crystals.formation_energy))
        if not len(known):
            raise DataError("no crystal has a formation energy, which a training with energy_atoms needs.")
        self.crystals = crystals.take(known)
        self.seed = seed
        self._sizes = np.diff(self.crystals.offsets)
        self._room = max(atoms_per_batch, int(self._sizes.max()))
        self.per_epoch = max(1, int(self._sizes.sum()) // self._room)
        batch = to_batch(self.crystals)
        self._compositions = composition_keys(
            batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
        )
        self._plan = lru_cache(maxsize=2)(self._plan_epoch)  # the batches of a step may be of two epochs

    def __getitem__(self, number: int) -> CrystalBatch:
        epoch, place = divmod(number, self.per_epoch)
        return to_batch(self.crystals.take(self._plan(epoch)[place]))

    def _plan_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, epoch])
        places = random.permutation(int(self._compositions.max()) + 1)[self._compositions]
        order = np.lexsort((random.permutation(len(places)), places))
        sizes, places = self._sizes[order], places[order]
        starts = np.cumsum(sizes) - sizes
        first = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
        since = starts - np.repeat(starts[first], np.diff(np.r_[first, len(places)]))  # the start of the composition
        part = since // (self._room - int(sizes.max()) + 1)  # no part exceeds the room
        begins = np.r_[True, (places[1:] != places[:-1]) | (part[1:] != part[:-1])]
        start_of_part = np.maximum.accumulate(np.where(begins, starts, 0))
        batch = start_of_part * self.per_epoch // int(sizes.sum())
        return np.split(order, np.flatnonzero(np.diff(batch)) + 1)
