"""From a store and a CD-VAE to what the surrogate learns from and what predictions start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.data.dataset import plausible_volume, to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.search.library import LatentLibrary
from lcoms.symmetry import space_group_number
from lcoms.train.surrogate import SurrogateData

LIBRARY_MAX_HULL = 0.1  # eV/atom; less stable crystals are no good starts
LIBRARY_MAX_ENERGY = 0.2  # eV/atom of formation, where the distance to the hull is not known


def select_rows(store: Store, *, max_atoms: int, split: str | None = None) -> NDArray[np.int64]:
    """Rows with cells of so many atoms and a plausible volume."""
    rows = store.select(split=split, max_atoms=max_atoms)
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
    """mu of the crystals of some rows, in their order; similar sizes are encoded together."""
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
    """Latents, compositions and formation energies of the rows whose energy is known."""
    crystals = store.arrays(rows)
    known = np.isfinite(crystals.formation_energy)
    batch = to_batch(crystals.take(np.flatnonzero(known)))
    features = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    is_val = store.columns("split")["split"][rows][known] == "val"
    assert batch.formation_energy is not None
    return SurrogateData(
        latents=latents[torch.from_numpy(known)],
        composition_features=features,
        energies=batch.formation_energy,
        groups=torch.from_numpy(composition_keys(features)),
        is_val=torch.from_numpy(is_val.astype(bool)),
    )


def build_library(
    store: Store, rows: NDArray[np.int64], latents: Float[Tensor, "n latent"], *, metadata: dict[str, Any]
) -> LatentLibrary:
    """Library of the stable and nearly stable training crystals among the rows."""
    columns = store.columns("split", "material_id", "formation_energy_per_atom", "e_above_hull")
    columns = {name: values[rows] for name, values in columns.items()}
    hull, energy = columns["e_above_hull"], columns["formation_energy_per_atom"]
    good = (columns["split"] == "train") & np.where(
        np.isnan(hull), energy < LIBRARY_MAX_ENERGY, hull <= LIBRARY_MAX_HULL
    )
    kept = np.flatnonzero(good)
    crystals = [store[int(rows[i])] for i in kept]
    return LatentLibrary.build(
        latents[torch.from_numpy(kept)],
        [crystal.composition for crystal in crystals],
        energy[kept],
        columns["material_id"][kept].tolist(),
        e_above_hull=hull[kept],
        space_groups=np.array([space_group_number(crystal) for crystal in crystals]),
        metadata=metadata,
    )
