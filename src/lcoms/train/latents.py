"""Latents of a store's crystals from a CD-VAE: training data of the surrogate, and starts of predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.errors import DataError
from lcoms.core.parallel import parallel_map
from lcoms.data.dataset import plausible_volume, to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.structure.site_codes import SitesDescribed
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.templates.wyckoff_statistics import described
from lcoms.train.surrogate_data import SurrogateData

DESCRIBED_AT_ONCE = 500
T = TypeVar("T")

Described = SitesDescribed | None
"""Space group, Wyckoff orbits and codes of the sites of a crystal, in its primitive cell."""


def select_rows(store: Store, *, max_atoms: int, min_atoms: int = 1, split: str | None = None) -> NDArray[np.int64]:
    """Return rows whose cells have `min_atoms` to `max_atoms` atoms and a plausible volume."""
    rows = store.select(split=split, max_atoms=max_atoms, min_atoms=min_atoms)
    return rows[plausible_volume(store.arrays(rows))]


@torch.no_grad()
def encode_rows(
    model: CDVAE,
    store: Store,
    rows: NDArray[np.int64],
    *,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Float[Tensor, "n latent"]:
    """Return mu of the crystals of the rows, in their order; crystals of similar size are encoded together."""
    latents = torch.zeros(len(rows), model.latent_dim)
    order = np.argsort(store.n_atoms[rows], kind="stable")
    crystals = store.arrays(rows)
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        latents[torch.from_numpy(some)] = model.encode(to_batch(crystals.take(some)))[0].float()
        if on_batch is not None:
            on_batch(len(some))
    return latents


def surrogate_data(store: Store, rows: NDArray[np.int64], latents: Float[Tensor, "n latent"]) -> SurrogateData:
    """Return latents, compositions and formation energies of the training and validation rows with a known energy.

    Validation crystals whose composition also occurs among the training crystals become training crystals; test
    crystals are left out.

    Raises:
        DataError: there are none.
    """
    crystals, split = store.arrays(rows), store.columns("split")["split"][rows]
    known = np.isfinite(crystals.formation_energy) & np.isin(split, ("train", "val"))
    if not known.any():
        raise DataError(f"{store.path} has no training crystals with formation energies; ingest data that have them.")
    batch = to_batch(crystals.take(np.flatnonzero(known)))
    features = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    is_val = (split[known] == "val").astype(bool)
    groups = composition_keys(features)
    seen = np.zeros(groups.max() + 1, dtype=bool)
    seen[groups[~is_val]] = True
    assert batch.formation_energy is not None
    return SurrogateData(
        latents=latents[torch.from_numpy(known)],
        composition_features=features,
        energies=batch.formation_energy,
        groups=torch.from_numpy(groups),
        is_val=torch.from_numpy(~seen[groups]),
    )


def describe_rows(store: Store, rows: NDArray[np.int64], *, processes: int | None = None) -> list[Described]:
    """Return space group, orbits and site codes of the crystals of the rows; None where the symmetry search fails.

    Args:
        processes: number of processes; None: as many as there are cores.
    """
    return list(map_rows(partial(_describe, store.path), rows, processes=processes))


def map_rows(
    describe: Callable[[NDArray[np.int64]], Sequence[T]],
    rows: NDArray[np.int64],
    *,
    processes: int | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Yield the results of a function for the rows, in their order.

    Args:
        describe: function of a module, called with some of the rows at a time.
        processes: that call it; None: as many as there are cores.
        on_chunk: told how many more rows are done.
    """
    if not len(rows):
        return
    parts = np.array_split(rows, -(-len(rows) // DESCRIBED_AT_ONCE))
    n = min(processes or os.cpu_count() or 1, len(parts))
    for some in map(describe, parts) if n == 1 else parallel_map(describe, parts, processes=n):
        yield from some
        if on_chunk is not None:
            on_chunk(len(some))


def _describe(path: Path, rows: NDArray[np.int64]) -> list[Described]:
    store = Store.open(path)
    crystals = [store[int(row)] for row in rows]
    return [described(crystal, symprec=STANDARD_SYMPREC) for crystal in crystals]
