"""Statistics of a store: counts, elements, sizes, energies, polymorphs. Formatting is left to the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.data.store import Store
from lcoms.structure.elements import SYMBOLS


@dataclass(frozen=True)
class Spread:
    """Number of known values of a column, and their distribution; NaN if there are none."""

    count: int
    minimum: float
    low: float
    median: float
    high: float
    maximum: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Compute minimum, 5th percentile, median, 95th percentile and maximum of the known values."""
        known = values[np.isfinite(values)]
        points = np.percentile(known, [0, 5, 50, 95, 100]).tolist() if len(known) else [float("nan")] * 5
        return cls(len(known), *points)


@dataclass(frozen=True)
class StoreInfo:
    """Statistics of a store.

    Attributes:
        n_compositions: number of distinct reduced formulas.
        splits: number of crystals in each split.
        sources: number of crystals of each source.
        elements: number of crystals that contain each element, by symbol, most common first.
        atoms: atoms per cell.
        volume_per_atom: cubic angstrom.
        formation_energy: eV/atom.
        energy: total energy, eV/atom.
        e_above_hull: eV/atom.
        polymorphs: number of compositions by their number of structures, ascending.
        most_polymorphs: compositions with the most structures, and their numbers.
        n_read: number of rows read by the ingest.
        dropped: number of rows left out, by reason.
        size: bytes on disk.
    """

    n_crystals: int
    n_atoms: int
    n_compositions: int
    splits: Mapping[str, int]
    sources: Mapping[str, int]
    elements: Mapping[str, int]
    atoms: Spread
    volume_per_atom: Spread
    formation_energy: Spread
    energy: Spread
    e_above_hull: Spread
    polymorphs: Mapping[int, int]
    most_polymorphs: Mapping[str, int]
    n_read: int
    dropped: Mapping[str, int]
    size: int
    fingerprint: str


def describe(store: Store) -> StoreInfo:
    """Return the statistics of a store; reads all of it once."""
    arrays, sizes = store.arrays(), store.n_atoms
    per_formula = _counts(store, "formula")
    n_structures, n_formulas = np.unique(np.array(list(per_formula.values())), return_counts=True)
    energies = store.columns("formation_energy_per_atom", "energy_per_atom", "e_above_hull")
    return StoreInfo(
        n_crystals=len(store),
        n_atoms=int(sizes.sum()),
        n_compositions=len(per_formula),
        splits=_counts(store, "split"),
        sources=_counts(store, "source"),
        elements=_elements(arrays.atomic_numbers, np.repeat(np.arange(len(store)), sizes)),
        atoms=Spread.of(sizes.astype(np.float64)),
        volume_per_atom=Spread.of(np.abs(np.linalg.det(arrays.lattice)) / sizes),
        formation_energy=Spread.of(energies["formation_energy_per_atom"]),
        energy=Spread.of(energies["energy_per_atom"]),
        e_above_hull=Spread.of(energies["e_above_hull"]),
        polymorphs=dict(zip(n_structures.tolist(), n_formulas.tolist(), strict=True)),
        most_polymorphs=dict(list(per_formula.items())[:10]),
        n_read=store.manifest.n_read,
        dropped=dict(store.manifest.dropped),
        size=sum(shard.size for shard in store.manifest.shards),
        fingerprint=store.fingerprint,
    )


def _counts(store: Store, name: str) -> dict[str, int]:
    """Return the count of each value of a column, most common first, ties by name."""
    counted = store.table(name).column(name).value_counts()
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _elements(atomic_numbers: NDArray[np.uint8], crystal_idx: NDArray[np.int64]) -> dict[str, int]:
    """Return the number of crystals that contain each element."""
    pairs = np.unique(crystal_idx * len(SYMBOLS) + atomic_numbers)
    counts = np.bincount(pairs % len(SYMBOLS), minlength=len(SYMBOLS))
    order = np.argsort(-counts, kind="stable")
    return {SYMBOLS[z]: int(counts[z]) for z in order.tolist() if counts[z]}
