"""Building of the library from which predictions start, and of its statistics of orbits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError, DataError
from lcoms.data.dataset import to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.site_codes import SitesDescribed
from lcoms.structure.symmetry import STANDARD_SYMPREC, symmetrise
from lcoms.structure.wyckoff import n_primitive_atoms
from lcoms.templates.library import LatentLibrary
from lcoms.templates.wyckoff_statistics import OrbitStatistics, in_sequence_order
from lcoms.train.latents import Described, describe_rows, encode_rows, select_rows
from lcoms.train.similarity import ClassStructures, learn_similarity

LIBRARY_MAX_HULL = 0.05  # eV/atom; less stable crystals are not good starts
LIBRARY_MAX_ABOVE_BEST = 0.05  # eV/atom above the lowest polymorph of the composition
LIBRARY_MAX_ENERGY = 0.0  # eV/atom; formation energy, where the energy above the hull is unknown


@dataclass(frozen=True)
class ExtensionConfig:
    """Which crystals of a store are added to a library.

    Attributes:
        min_atoms, max_atoms: limits of the atoms in the primitive cell.
        max_orbits: in the primitive cell; crystals with more are left out.
        per_composition: largest number of polymorphs of a composition; the lowest in energy are kept.
    """

    min_atoms: int = 1
    max_atoms: int = 40
    max_orbits: int = 40
    per_composition: int = 2

    def __post_init__(self) -> None:
        require(self, at_least_one=["min_atoms", "max_orbits", "per_composition"])
        if self.max_atoms < self.min_atoms:
            raise ConfigError(f"no cell has {self.min_atoms} atoms or more and at most {self.max_atoms}.")


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
    """Build a library of the stable and nearly stable training crystals in the rows, and learn the element similarity.

    Args:
        model: encodes crystals again whose cell is not primitive.
        symmetries: symmetry descriptions of the rows.
        statistics: statistics of orbits that define the indices of the Wyckoff sequences.
        per_composition: largest number of polymorphs of a composition; the lowest in energy are kept.
    """
    kept = _starters(store, rows, per_composition)
    known = [symmetries[i] for i in kept]
    crystals, z = primitive_cells([store[int(rows[i])] for i in kept], known, latents[torch.from_numpy(kept)], model)
    library = _packed(store, rows[kept], crystals, z, known, statistics, metadata)
    classes = [ClassStructures(*members) for members in library.classes()]
    return library.with_similarity(learn_similarity(classes))


def extend_library(
    library: LatentLibrary,
    statistics: OrbitStatistics,
    model: CDVAE,
    store: Store,
    config: ExtensionConfig,
    *,
    processes: int | None = None,
) -> tuple[LatentLibrary, OrbitStatistics]:
    """Add the stable training crystals of a store whose ids are new to a library and its statistics.

    Existing entries and the element similarity of the library do not change.

    Args:
        processes: processes that search symmetries; None: as many as there are cores.

    Raises:
        DataError: the store has nothing to add.
    """
    rows = select_rows(store, max_atoms=config.max_atoms)
    rows = rows[_starters(store, rows, config.per_composition)] if len(rows) else rows
    ids, there = store.columns("material_id")["material_id"], set(library.ids)
    rows = np.array([row for row in rows if ids[row] not in there and store.n_atoms[row] >= config.min_atoms], np.int64)
    symmetries = describe_rows(store, rows, processes=processes) if len(rows) else []
    fits = [at for at, one in enumerate(symmetries) if one is not None and _fits(one, config)]
    if not fits:
        raise DataError(f"{store.path} has no stable training crystal to add that is not in the library.")
    rows, known = rows[fits], [symmetries[at] for at in fits]
    crystals, z = primitive_cells([store[int(row)] for row in rows], known, encode_rows(model, store, rows), model)
    joined = statistics.joined(count_orbits(store, rows, known))
    added = _packed(store, rows, crystals, z, known, joined, {}, rounded_as=library)
    extended = [*library.metadata.get("extended", []), {"store": store.fingerprint, "n": len(added)}]
    return replace(library.joined(added), metadata={**library.metadata, "extended": extended}), joined


def _fits(found: SitesDescribed, config: ExtensionConfig) -> bool:
    size = n_primitive_atoms(found.space_group, found.orbits)
    return found.space_group > 1 and len(found.orbits) <= config.max_orbits and config.min_atoms <= size


def _packed(
    store: Store,
    rows: NDArray[np.int64],
    crystals: Sequence[Crystal],
    latents: Float[Tensor, "n latent"],
    symmetries: Sequence[Described],
    statistics: OrbitStatistics,
    metadata: dict[str, Any],
    *,
    rounded_as: LatentLibrary | None = None,
) -> LatentLibrary:
    """Return a library of the rows, whose crystals are given in primitive cells."""
    columns = store.columns("material_id", "formation_energy_per_atom", "e_above_hull")
    return LatentLibrary.build(
        latents,
        [crystal.composition for crystal in crystals],
        columns["formation_energy_per_atom"][rows],
        columns["material_id"][rows].tolist(),
        e_above_hull=columns["e_above_hull"][rows],
        space_groups=np.array([0 if one is None else one.space_group for one in symmetries]),
        wyckoff_sequences=np.array(
            [
                -1 if one is None else statistics.place(crystal.composition, one.space_group, one.orbits)
                for crystal, one in zip(crystals, symmetries, strict=True)
            ]
        ),
        site_codes=[
            () if one is None else in_sequence_order(crystal.composition, one.orbits, one.codes)
            for crystal, one in zip(crystals, symmetries, strict=True)
        ],
        cell_codes=np.array([0 if one is None else one.cell_code for one in symmetries]),
        metadata=metadata,
        rounded_as=rounded_as,
    )


@torch.no_grad()
def primitive_cells(
    crystals: Sequence[Crystal], symmetries: Sequence[Described], latents: Float[Tensor, "n latent"], model: CDVAE
) -> tuple[list[Crystal], Float[Tensor, "n latent"]]:
    """Return crystals in primitive cells and their latents; antiferromagnetic crystals may come in doubled cells."""
    crystals, latents = list(crystals), latents.clone()
    for row, one in enumerate(symmetries):
        if one is None or n_primitive_atoms(one.space_group, one.orbits) == crystals[row].n_atoms:
            continue
        smaller = symmetrise(crystals[row], ladder=(STANDARD_SYMPREC,)).crystal
        if smaller.n_atoms == n_primitive_atoms(one.space_group, one.orbits):
            crystals[row] = smaller
            latents[row] = model.encode(CrystalBatch.from_crystals([smaller]))[0][0]
    return crystals, latents


def count_orbits(store: Store, rows: NDArray[np.int64], symmetries: Sequence[Described]) -> OrbitStatistics:
    """Return statistics of the Wyckoff positions that the training crystals among the rows occupy."""
    train = store.columns("split")["split"][rows] == "train"
    return OrbitStatistics.count(
        (_primitive(store[int(row)].composition, one), one.space_group, one.orbits)
        for row, one, kept in zip(rows, symmetries, train, strict=True)
        if kept and one is not None
    )


def _primitive(composition: Composition, found: SitesDescribed) -> Composition:
    """Return the composition of the primitive cell."""
    unit = composition.reduced
    return unit.scaled(n_primitive_atoms(found.space_group, found.orbits) // unit.n_atoms)


def _starters(store: Store, rows: NDArray[np.int64], per_composition: int) -> NDArray[np.int64]:
    """Return indices of good starts: training crystals near the hull and the lowest polymorph, few per composition."""
    columns = store.columns("split", "formation_energy_per_atom", "e_above_hull")
    energies, hull = columns["formation_energy_per_atom"][rows], columns["e_above_hull"][rows]
    batch = to_batch(store.arrays(rows))
    keys = composition_keys(batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals))
    best = np.full(keys.max() + 1, np.inf)
    np.fmin.at(best, keys, energies)
    stable = np.where(np.isnan(hull), energies <= LIBRARY_MAX_ENERGY, hull <= LIBRARY_MAX_HULL)
    train = columns["split"][rows] == "train"
    good = np.flatnonzero(train & stable & (energies - best[keys] <= LIBRARY_MAX_ABOVE_BEST))
    order = good[np.lexsort((energies[good], keys[good]))]
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return np.sort(order[place < per_composition])
