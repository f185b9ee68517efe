"""The store: checked crystals in columns on disk, memory-mapped, so that opening one costs almost nothing.

A store is a folder of Arrow IPC files `crystals-00000.arrow`, ... and a `store.json`, written last, that lists them.
Lattice rows are in angstrom, energies in eV/atom (NaN where unknown).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lcoms.core.config import from_dict, parse_json
from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError, DataError
from lcoms.structure.crystal import Crystal

FORMAT = "lcoms-crystal-store"
VERSION = 1
MANIFEST = "store.json"

SCHEMA = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("formula", pa.string(), nullable=False),
        pa.field("atomic_numbers", pa.list_(pa.uint8()), nullable=False),
        pa.field("frac_coords", pa.list_(pa.float32()), nullable=False),
        pa.field("lattice", pa.list_(pa.float64(), 9), nullable=False),
        pa.field("formation_energy_per_atom", pa.float64(), nullable=False),
        pa.field("energy_per_atom", pa.float64(), nullable=False),
        pa.field("e_above_hull", pa.float64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Shard:
    """One file of a store; `digest` is that of its rows, `size` is in bytes."""

    name: str
    n_crystals: int
    n_atoms: int
    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Contents of `store.json`.

    Attributes:
        shards: the files, in order.
        n_read: number of rows read from the sources.
        dropped: number of rows left out, by reason.
        provenance: origin of the rows and options of their checks.
    """

    shards: tuple[Shard, ...]
    n_read: int
    dropped: Mapping[str, int]
    provenance: Mapping[str, Any]

    @property
    def n_crystals(self) -> int:
        return sum(shard.n_crystals for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rows in order: equal for equal data, however it was ingested."""
        return hashlib.sha256("".join(shard.digest for shard in self.shards).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class CrystalArrays:
    """Many crystals as flat NumPy arrays; atoms of crystal i are `offsets[i]:offsets[i + 1]`.

    Attributes:
        offsets: (n_crystals + 1,).
        atomic_numbers: (n_atoms,), uint8.
        frac_coords: (n_atoms, 3), float32, in [0, 1).
        lattice: (n_crystals, 3, 3) rows in angstrom, float64.
        formation_energy: (n_crystals,) in eV/atom, NaN where unknown.
    """

    offsets: NDArray[np.int64]
    atomic_numbers: NDArray[np.uint8]
    frac_coords: NDArray[np.float32]
    lattice: NDArray[np.float64]
    formation_energy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lattice)

    def __getitem__(self, index: int) -> Crystal:
        atoms = slice(*self.offsets[index : index + 2])
        frac_coords, numbers = self.frac_coords[atoms], self.atomic_numbers[atoms]
        return Crystal(self.lattice[index], frac_coords.astype(np.float64), numbers.astype(np.int64))

    def take(self, indices: NDArray[np.int64] | Sequence[int]) -> CrystalArrays:
        """Return the chosen crystals, in the requested order."""
        indices = np.asarray(indices, dtype=np.int64)
        sizes = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[indices] - offsets[:-1], sizes)
        return CrystalArrays(
            offsets, self.atomic_numbers[atoms], self.frac_coords[atoms], self.lattice[indices],
            self.formation_energy[indices],
        )  # fmt: skip


def joined(parts: Sequence[CrystalArrays]) -> CrystalArrays:
    """Return the crystals of all parts, in order."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return CrystalArrays(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([part.atomic_numbers for part in parts]),
        np.concatenate([part.frac_coords for part in parts]),
        np.concatenate([part.lattice for part in parts]),
        np.concatenate([part.formation_energy for part in parts]),
    )


class Store:
    """A finished store, read through a memory map.

    `store[i]` is one `Crystal`; `arrays` gives many at once without a Python loop; `table` gives Arrow columns.
    """

    def __init__(self, path: Path, manifest: Manifest, table: pa.Table) -> None:
        self.path = path
        self.manifest = manifest
        self._table = table

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store.

        Raises:
            DataError: there is no finished store of this version, or a file of it is missing or truncated.
        """
        path = Path(path)
        manifest = read_manifest(path)
        tables = [_open_shard(path / shard.name, shard) for shard in manifest.shards]
        return cls(path, manifest, pa.concat_tables(tables) if tables else SCHEMA.empty_table())

    def verify(self) -> Store:
        """Return the store after checking that its rows are those that were written; takes seconds per million.

        Raises:
            DataError: they are not.
        """
        start = 0
        for shard in self.manifest.shards:
            rows = self._table.slice(start, shard.n_crystals).combine_chunks().to_batches()
            if "".join(digest(batch) for batch in rows) != shard.digest:
                raise DataError(f"{self.path / shard.name} was changed; ingest the data again.")
            start += shard.n_crystals
        return self

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> Crystal:
        if not -len(self) <= index < len(self):
            raise IndexError(f"the store has {len(self)} crystals; there is no number {index}.")
        row = self._table.slice(index % len(self), 1)
        lattice, frac, numbers = (row.column(name).chunk(0) for name in ("lattice", "frac_coords", "atomic_numbers"))
        return Crystal(
            lattice.flatten().to_numpy().reshape(3, 3),
            frac.flatten().to_numpy().reshape(-1, 3).astype(np.float64),
            numbers.flatten().to_numpy().astype(np.int64),
        )

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def table(self, *names: str) -> pa.Table:
        """Return the Arrow columns of these names, or all, still in the memory map."""
        return self._table.select(names) if names else self._table

    def columns(self, *names: str) -> dict[str, NDArray[Any]]:
        """Return scalar columns as NumPy arrays: floats for energies, str objects for the rest."""
        return {name: self._table.column(name).to_numpy() for name in names}

    @property
    def n_energies(self) -> int:
        """Number of crystals with a formation energy."""
        return int(np.isfinite(self.columns("formation_energy_per_atom")["formation_energy_per_atom"]).sum())

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms in each cell (n_crystals,)."""
        lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in self._table.column("atomic_numbers").chunks]
        return np.concatenate([np.empty(0, np.int64), *lengths])

    def select(
        self, *, split: str | None = None, max_atoms: int | None = None, min_atoms: int = 1
    ) -> NDArray[np.int64]:
        """Return the indices, ascending, of the crystals of a split and a range of sizes."""
        keep = self.n_atoms >= min_atoms
        if max_atoms is not None:
            keep &= self.n_atoms <= max_atoms
        if split is not None:
            keep &= np.asarray(pa.compute.equal(self._table.column("split"), split))
        return np.nonzero(keep)[0]

    def arrays(self, indices: NDArray[np.int64] | Sequence[int] | None = None) -> CrystalArrays:
        """Return flat arrays of the chosen crystals, or of all: copies of about 15 bytes per atom, 80 per crystal."""
        flat = {name: _flat(self._table.column(name)) for name in ("atomic_numbers", "frac_coords", "lattice")}
        every = CrystalArrays(
            np.concatenate([[0], np.cumsum(self.n_atoms)]),
            flat["atomic_numbers"],
            flat["frac_coords"].reshape(-1, 3),
            flat["lattice"].reshape(-1, 3, 3),
            self._table.column("formation_energy_per_atom").to_numpy(),
        )
        return every if indices is None else every.take(indices)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a finished store.

    Raises:
        DataError: there is none, or it is of another kind or version.
    """
    try:
        content = parse_json((path / MANIFEST).read_text())
    except FileNotFoundError:
        if any(path.glob("crystals-*.arrow")):
            message = f"{path} holds an unfinished store; run the same ingest again to resume it."
        else:
            message = f"{path} is not a store of crystals; make one with: lcoms data ingest FILES --out {path}"
        raise DataError(message) from None
    except NotADirectoryError:
        message = f"{path} is a file, not a store of crystals; make one with: lcoms data ingest {path} --out STORE"
        raise DataError(message) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path / MANIFEST} cannot be read; ingest the data again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not a store of crystals; its {MANIFEST} is something else.")
    if content.get("version") != VERSION:
        raise DataError(f"{path} is a store of version {content.get('version')}, not {VERSION}; ingest the data again.")
    try:
        manifest = from_dict(Manifest, {field.name: content[field.name] for field in fields(Manifest)})
    except (KeyError, ConfigError) as error:
        raise DataError(f"{path / MANIFEST} is incomplete; ingest the data again.") from error
    named = [shard.name for shard in manifest.shards] == [shard_name(i) for i in range(len(manifest.shards))]
    if not named or content.get("fingerprint", manifest.fingerprint) != manifest.fingerprint:
        raise DataError(f"{path / MANIFEST} was changed; ingest the data again.")
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `store.json`, which makes the store complete."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "n_crystals": manifest.n_crystals,
        "fingerprint": manifest.fingerprint,
        **asdict(manifest),
    }
    write_whole(path / MANIFEST, json.dumps(content, indent=1) + "\n")


def shard_name(index: int) -> str:
    """Return the file name of a shard by its number."""
    return f"crystals-{index:05d}.arrow"


def write_shard(path: Path, index: int, batch: pa.RecordBatch, metadata: Mapping[str, str]) -> Shard:
    """Write rows of SCHEMA as one shard, under a temporary name first, with `metadata` in its header."""
    batch_digest = digest(batch)
    target = path / shard_name(index)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA.with_metadata(dict(metadata))) as writer:
        writer.write_batch(batch.replace_schema_metadata(dict(metadata)))
    write_whole(target, memoryview(sink.getvalue()))
    n_atoms = len(batch.column("atomic_numbers").flatten())
    return Shard(target.name, batch.num_rows, n_atoms, target.stat().st_size, batch_digest)


def digest(batch: pa.RecordBatch) -> str:
    """Return the SHA-256 of the values of the rows, regardless of metadata and memory layout."""
    state = hashlib.sha256()
    for column in batch.columns:
        if pa.types.is_string(column.type):
            state.update("\0".join(column.to_pylist()).encode())
            continue
        if pa.types.is_list(column.type):
            state.update(np.diff(column.offsets.to_numpy()).tobytes())
            column = column.flatten()
        elif pa.types.is_fixed_size_list(column.type):
            column = column.flatten()
        state.update(column.to_numpy(zero_copy_only=False).tobytes())
    return state.hexdigest()


def _open_shard(path: Path, shard: Shard) -> pa.Table:
    """Return the rows of a shard, memory-mapped."""
    try:
        if path.stat().st_size != shard.size:
            raise DataError(f"{path} is cut short or was changed; ingest the data again.")
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=True)  # invalid offsets would crash the process
    except FileNotFoundError:
        raise DataError(f"{path} is missing; ingest the data again.") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as an Arrow file; ingest the data again.") from error
    if not table.schema.equals(SCHEMA) or table.num_rows != shard.n_crystals:
        raise DataError(f"{path} does not hold the columns of a store of crystals; ingest the data again.")
    return table.replace_schema_metadata(None)


def _flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return all values of a list column, concatenated."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks) if len(chunks) != 1 else chunks[0]
