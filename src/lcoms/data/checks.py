"""Checks of rows before they enter a store, and the split by composition."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lcoms.core.bounds import require
from lcoms.core.errors import CrystalError, DataError
from lcoms.data.records import Reason, Record, RowError
from lcoms.data.store import SCHEMA
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import niggli_reduce, shortest_distance

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # by their names in lower case  # fmt: skip
LONGEST_BOND = 6  # angstrom; no crystal passes a larger limit of its shortest distance


@dataclass(frozen=True)
class IngestOptions:
    """Settings of the checks and of the split, all of which are written into the store.

    Attributes:
        max_atoms: largest cell kept.
        min_distance: shortest distance allowed, angstrom, periodic copies included.
        min_volume: smallest volume per atom, cubic angstrom.
        max_volume: largest volume per atom, cubic angstrom.
        max_formation_energy: largest absolute formation energy, eV/atom. Rows without one are kept.
        exclude: reduced formulas to leave out.
        reduce: convert every cell to its Niggli-reduced form.
        val_fraction: fraction of the compositions assigned to the validation split.
        seed: of the hash that splits compositions.
        keep_split: keep the split given by the source, except as described in `lcoms.data.splits`; compositions without
            any given split are split by composition, and rows with a split of an unknown name are dropped.
        shard_rows: number of crystals after which a file of the store is closed.
    """

    max_atoms: int = 200
    min_distance: float = 0.5
    min_volume: float = 2.0
    max_volume: float = 200.0
    max_formation_energy: float = 5.0
    exclude: frozenset[str] = frozenset()
    reduce: bool = True
    val_fraction: float = 0.05
    seed: int = 0
    keep_split: bool = False
    shard_rows: int = 20_000

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise DataError(f"the share of validation compositions must lie in [0, 1), not {self.val_fraction}.")
        require(
            self,
            at_least_one=["max_atoms", "shard_rows"],
            positive=["max_formation_energy"],
            not_negative=["min_distance"],
            at_most={"min_distance": LONGEST_BOND},
        )
        if not 0 <= self.min_volume < self.max_volume:
            limits = f"{self.min_volume:g} to {self.max_volume:g}"
            raise DataError(f"volumes per atom from {limits} cubic angstrom are no range; write, for instance, 2 200.")


def split_of(key: str, *, seed: int, val_fraction: float) -> str:
    """Return 'val' for a fixed pseudo-random fraction of compositions (by `Composition.key`), else 'train'."""
    hashed = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return "val" if int.from_bytes(hashed) < val_fraction * 2**64 else "train"


def check(record: Record, options: IngestOptions) -> tuple[Crystal, bool]:
    """Return the crystal of a record, reduced if requested, and whether another reduction had to replace Niggli's.

    Raises:
        RowError: with the reason to drop it.
    """
    crystal = record.crystal
    energies = record.formation_energy_per_atom, record.energy_per_atom, record.e_above_hull
    if np.isinf(energies).any():
        raise RowError(Reason.NOT_FINITE)
    if crystal.n_atoms > options.max_atoms:
        raise RowError(Reason.TOO_MANY_ATOMS)
    if crystal.composition.reduced_formula in options.exclude:
        raise RowError(Reason.EXCLUDED)
    if options.keep_split and record.split and record.split.lower() not in SPLITS:
        raise RowError(Reason.SPLIT)
    if abs(record.formation_energy_per_atom) > options.max_formation_energy:
        raise RowError(Reason.ENERGY)
    if not options.min_volume <= crystal.volume / crystal.n_atoms <= options.max_volume:
        raise RowError(Reason.VOLUME)
    fell_back = False
    if options.reduce:
        try:
            lattice, frac_coords, succeeded = niggli_reduce(crystal.lattice, crystal.frac_coords)
            crystal, fell_back = Crystal(lattice, frac_coords, crystal.atomic_numbers), not succeeded
        except (CrystalError, RuntimeError, ValueError, np.linalg.LinAlgError):
            raise RowError(Reason.NO_REDUCTION) from None
    limit = options.min_distance
    if shortest_distance(crystal.lattice, crystal.frac_coords, up_to=limit) < limit:
        raise RowError(Reason.TOO_CLOSE)
    return crystal, fell_back


@dataclass(frozen=True)
class Chunk:
    """Result for several rows: those kept, in order, and counts of drops by reason and of corrections by topic."""

    kept: pa.RecordBatch
    n_rows: int
    dropped: Counter[str]
    n_fallbacks: int
    remarks: Counter[str] = field(default_factory=Counter)


def process_chunk(parse: Callable[[Any], Record], rows: Sequence[Any], options: IngestOptions) -> Chunk:
    """Read and check several raw rows; this is the task of a worker."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    dropped: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    n_fallbacks = 0
    for row in rows:
        try:
            record = parse(row)
            crystal, fell_back = check(record, options)
        except RowError as error:
            dropped[error.reason.value] += 1
            continue
        n_fallbacks += fell_back
        remarks.update(record.remarks)
        for name, value in _row(record, crystal, options).items():
            columns[name].append(value)
    return Chunk(record_batch(columns), len(rows), dropped, n_fallbacks, remarks)


def record_batch(columns: dict[str, list[Any]]) -> pa.RecordBatch:
    """Return columns of Python values as rows of a store."""
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def _row(record: Record, crystal: Crystal, options: IngestOptions) -> dict[str, Any]:
    formula = crystal.composition.reduced_formula
    if options.keep_split:  # empty splits are filled, and those of a composition united, once all rows are known
        split = SPLITS.get(record.split.lower(), "")
    else:
        split = split_of(crystal.composition.key, seed=options.seed, val_fraction=options.val_fraction)
    frac_coords = crystal.frac_coords.astype(np.float32)
    frac_coords[frac_coords >= 1.0] = 0.0  # rounding to float32 may reach 1
    return {
        "material_id": record.material_id,
        "formula": formula,
        "atomic_numbers": crystal.atomic_numbers.astype(np.uint8),
        "frac_coords": frac_coords.ravel(),
        "lattice": crystal.lattice.ravel(),
        "formation_energy_per_atom": record.formation_energy_per_atom,
        "energy_per_atom": record.energy_per_atom,
        "e_above_hull": record.e_above_hull,
        "source": record.source,
        "split": split,
    }


def read_formulas(lines: Iterable[str]) -> frozenset[str]:
    """Return the reduced formulas of a text with one or more per line; # starts a comment.

    Raises:
        FormulaError: one of them is not a formula.
    """
    words = [word for line in lines for word in line.partition("#")[0].replace(",", " ").split()]
    return frozenset(Composition.from_formula(word).reduced_formula for word in words)
