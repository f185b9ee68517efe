"""From a store and a CD-VAE to what the surrogate learns from and what predictions start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.crystal import Composition
from lcoms.data.dataset import plausible_volume, to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.search.library import LatentLibrary
from lcoms.search.orbits import OrbitStatistics
from lcoms.symmetry import STANDARD_SYMPREC, space_group_number
from lcoms.train.surrogate import SurrogateData
from lcoms.wyckoff import Orbits, n_primitive_atoms, wyckoff_orbits

LIBRARY_MAX_HULL = 0.05  # eV/atom; less stable crystals are no good starts
LIBRARY_MAX_ABOVE_BEST = 0.05  # eV/atom above the best polymorph of the composition
LIBRARY_MAX_ENERGY = 0.0  # eV/atom of formation, where the distance to the hull is not known


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
    """Latents, compositions and formation energies of the rows whose energy is known.

    Crystals marked for validation whose composition also occurs among the training crystals are trained on.
    """
    crystals = store.arrays(rows)
    known = np.isfinite(crystals.formation_energy)
    batch = to_batch(crystals.take(np.flatnonzero(known)))
    features = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    is_val = (store.columns("split")["split"][rows][known] == "val").astype(bool)
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


def build_library(
    store: Store,
    rows: NDArray[np.int64],
    latents: Float[Tensor, "n latent"],
    *,
    metadata: dict[str, Any],
    per_composition: int = 2,
) -> LatentLibrary:
    """Library of the stable and nearly stable training crystals among the rows.

    Args:
        per_composition: at most so many polymorphs of a composition, the lowest in energy.
    """
    columns = store.columns("split", "material_id", "formation_energy_per_atom", "e_above_hull")
    columns = {name: values[rows] for name, values in columns.items()}
    crystals = store.arrays(rows)
    batch = to_batch(crystals)
    keys = composition_keys(batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals))
    kept = _starters(
        keys,
        columns["formation_energy_per_atom"],
        columns["e_above_hull"],
        columns["split"] == "train",
        per_composition,
    )
    energy, hull = columns["formation_energy_per_atom"], columns["e_above_hull"]
    chosen = [store[int(rows[i])] for i in kept]
    return LatentLibrary.build(
        latents[torch.from_numpy(kept)],
        [crystal.composition for crystal in chosen],
        energy[kept],
        columns["material_id"][kept].tolist(),
        e_above_hull=hull[kept],
        space_groups=np.array([space_group_number(crystal) for crystal in chosen]),
        metadata=metadata,
    )


def count_orbits(store: Store, rows: NDArray[np.int64]) -> OrbitStatistics:
    """Which Wyckoff positions the training crystals among the rows occupy, those in cells that are not primitive aside.

    A crystal whose symmetry is not found is left out: the statistics lose nothing by it.
    """

    def found() -> Iterator[tuple[Composition, int, Orbits]]:
        for row in rows[store.columns("split")["split"][rows] == "train"]:
            crystal = store[int(row)]
            described = wyckoff_orbits(crystal, symprec=STANDARD_SYMPREC)
            if described is not None and n_primitive_atoms(*described) == crystal.n_atoms:
                yield crystal.composition, *described

    return OrbitStatistics.count(found())


def _starters(
    keys: NDArray[np.int64],
    energies: NDArray[np.float64],
    hull: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    per_composition: int,
) -> NDArray[np.int64]:
    """Rows worth starting from: near the hull, near the best polymorph, few of each composition."""
    best = np.full(keys.max() + 1, np.inf)
    np.fmin.at(best, keys, energies)
    stable = np.where(np.isnan(hull), energies <= LIBRARY_MAX_ENERGY, hull <= LIBRARY_MAX_HULL)
    good = np.flatnonzero(allowed & stable & (energies - best[keys] <= LIBRARY_MAX_ABOVE_BEST))
    order = good[np.lexsort((energies[good], keys[good]))]
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return np.sort(order[place < per_composition])
