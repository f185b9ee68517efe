"""From a store and a CD-VAE to what the surrogate learns from and what predictions start from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.batch import CrystalBatch
from lcoms.crystal import Composition, Crystal
from lcoms.data.dataset import plausible_volume, to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.search.library import LatentLibrary
from lcoms.search.orbits import OrbitStatistics, described, in_pattern_order
from lcoms.site_codes import SitesDescribed
from lcoms.symmetry import STANDARD_SYMPREC, symmetrise
from lcoms.train.similarity import StructureFamily, learn_similarity
from lcoms.train.surrogate import SurrogateData
from lcoms.wyckoff import n_primitive_atoms

DESCRIBED_AT_ONCE = 500
LIBRARY_MAX_HULL = 0.05  # eV/atom; less stable crystals are no good starts
LIBRARY_MAX_ABOVE_BEST = 0.05  # eV/atom above the best polymorph of the composition
LIBRARY_MAX_ENERGY = 0.0  # eV/atom of formation, where the distance to the hull is not known

Described = SitesDescribed | None
"""Space group, Wyckoff orbits and codes of the sites of a crystal, in its primitive cell."""


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
    model: CDVAE,
    store: Store,
    rows: NDArray[np.int64],
    latents: Float[Tensor, "n latent"],
    symmetries: Sequence[Described],
    statistics: OrbitStatistics,
    *,
    metadata: dict[str, Any],
    per_composition: int = 2,
) -> LatentLibrary:
    """Library of the stable and nearly stable training crystals among the rows; elements are compared as it teaches.

    Args:
        model: encodes once more those crystals whose cell is not primitive.
        symmetries: of the rows.
        statistics: in which the patterns have their places.
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
    known = [symmetries[i] for i in kept]
    chosen, z = primitive_cells([store[int(rows[i])] for i in kept], known, latents[torch.from_numpy(kept)], model)
    library = LatentLibrary.build(
        z,
        [crystal.composition for crystal in chosen],
        energy[kept],
        columns["material_id"][kept].tolist(),
        e_above_hull=hull[kept],
        space_groups=np.array([0 if one is None else one.space_group for one in known]),
        patterns=np.array(
            [
                -1 if one is None else statistics.place(crystal.composition, one.space_group, one.orbits)
                for crystal, one in zip(chosen, known, strict=True)
            ]
        ),
        site_codes=[
            () if one is None else in_pattern_order(crystal.composition, one.orbits, one.codes)
            for crystal, one in zip(chosen, known, strict=True)
        ],
        shapes=np.array([0 if one is None else one.shape for one in known]),
        metadata=metadata,
    )
    families = [StructureFamily(*family) for family in library.families()]
    return library.with_similarity(learn_similarity(families))


@torch.no_grad()
def primitive_cells(
    crystals: Sequence[Crystal], symmetries: Sequence[Described], latents: Float[Tensor, "n latent"], model: CDVAE
) -> tuple[list[Crystal], Float[Tensor, "n latent"]]:
    """The crystals in primitive cells and their latents; cells with antiferromagnetic order may have come doubled."""
    crystals, latents = list(crystals), latents.clone()
    for row, one in enumerate(symmetries):
        if one is None or n_primitive_atoms(one.space_group, one.orbits) == crystals[row].n_atoms:
            continue
        smaller = symmetrise(crystals[row], ladder=(STANDARD_SYMPREC,)).crystal
        if smaller.n_atoms == n_primitive_atoms(one.space_group, one.orbits):
            crystals[row] = smaller
            latents[row] = model.encode(CrystalBatch.from_crystals([smaller]))[0][0]
    return crystals, latents


def describe_rows(store: Store, rows: NDArray[np.int64], *, processes: int | None = None) -> list[Described]:
    """Space group, orbits and codes of the crystals of some rows; None for those not found.

    Args:
        processes: that search; None: as many as there are cores.
    """
    parts = np.array_split(rows, max(1, len(rows) // DESCRIBED_AT_ONCE))
    n = min(processes or os.cpu_count() or 1, len(parts))
    if n == 1:
        return [one for part in parts for one in _describe(store.path, part)]
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        return [one for some in pool.map(_describe, [store.path] * len(parts), parts) for one in some]


def _describe(path: Path, rows: NDArray[np.int64]) -> list[Described]:
    store = Store.open(path)
    crystals = [store[int(row)] for row in rows]
    return [described(crystal, symprec=STANDARD_SYMPREC) for crystal in crystals]


def count_orbits(store: Store, rows: NDArray[np.int64], symmetries: Sequence[Described]) -> OrbitStatistics:
    """Which Wyckoff positions the training crystals among the rows occupy."""
    train = store.columns("split")["split"][rows] == "train"
    return OrbitStatistics.count(
        (_primitive(store[int(row)].composition, one), one.space_group, one.orbits)
        for row, one, kept in zip(rows, symmetries, train, strict=True)
        if kept and one is not None
    )


def _primitive(composition: Composition, found: SitesDescribed) -> Composition:
    """What the primitive cell holds."""
    unit = composition.reduced
    return unit.scaled(n_primitive_atoms(found.space_group, found.orbits) // unit.n_atoms)


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
