"""The checks that a row passes on its way into a store, and the split by composition."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lcoms.core.errors import CrystalError, DataError
from lcoms.data.records import Reason, Record, RowError
from lcoms.data.store import SCHEMA
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import niggli_reduce, shortest_distance

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class IngestOptions:
    """What is checked and how rows are split; all of it is written into the store.

    Attributes:
        max_atoms: largest cell kept.
        min_distance: shortest distance allowed, angstrom, periodic copies included.
        min_volume: smallest volume per atom, cubic angstrom.
        max_volume: largest volume per atom, cubic angstrom.
        max_formation_energy: largest absolute formation energy, eV/atom. Unknown ones are kept.
        exclude: reduced formulas to leave out.
        reduce: bring every cell into its Niggli-reduced form.
        val_fraction: share of the compositions that go into the validation split.
        seed: of the hash that splits compositions.
        keep_split: keep the split that the source gives, but for `lcoms.data.splits`; compositions for which no row has
            one are split by composition.
        shard_rows: crystals after which a file of the store is closed.
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
        if self.max_atoms < 1 or self.shard_rows < 1:
            raise DataError("the largest cell and the rows of a shard must be at least 1.")


def split_of(key: str, *, seed: int, val_fraction: float) -> str:
    """'val' for a fixed, random-looking share of the compositions (by `Composition.key`), else 'train'."""
    hashed = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return "val" if int.from_bytes(hashed) < val_fraction * 2**64 else "train"


def check(record: Record, options: IngestOptions) -> tuple[Crystal, bool]:
    """The crystal of a record, reduced if asked for, and whether the Niggli reduction had to be replaced by another.

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
    """What became of some rows: those kept, in order, how many were dropped for which reason, and mended for which."""

    kept: pa.RecordBatch
    n_rows: int
    dropped: Counter[str]
    n_fallbacks: int
    remarks: Counter[str] = field(default_factory=Counter)


def process_chunk(parse: Callable[[Any], Record], rows: Sequence[Any], options: IngestOptions) -> Chunk:
    """Read and check some raw rows; this is what workers do."""
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
    """Columns of Python values as rows of a store."""
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def _row(record: Record, crystal: Crystal, options: IngestOptions) -> dict[str, Any]:
    formula = crystal.composition.reduced_formula
    if options.keep_split:  # what is empty is filled, and compositions are united, when all rows are known
        split = record.split if record.split in SPLITS else ""
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
    """Reduced formulas of a text with one or more on a line; what follows a # is a comment.

    Raises:
        FormulaError: one of them is no formula.
    """
    words = [word for line in lines for word in line.partition("#")[0].replace(",", " ").split()]
    return frozenset(Composition.from_formula(word).reduced_formula for word in words)
