"""Readers of the formats that `lcoms data ingest` takes; each streams its rows and holds a few of them at a time.

| what | how it is recognised | columns |
| --- | --- | --- |
| Parquet | `.parquet` | numbers, frac_coords (n x 3), lattice (3 x 3), flattened; or cif |
| CSV | `.csv`, `.csv.gz` | cif; or unit_cell and sites, as in OQMD |
| JSON | `.json`, `.json.gz`, `.jsonl`, `.jsonl.gz` | see `lcoms.data.formats_json` |
| extended XYZ | `.xyz`, `.extxyz` | Lattice and pbc; formation_energy_per_atom and others from the comment line |
| folder of CIFs | a folder with `id_prop.csv` | id and formation energy (eV/atom), no header; files `ID.cif` |

Beside the structure all of them may give material_id (or mp_id, id, entry_id, jid), formation_energy_per_atom (or
e_form, delta_e, formation_energy_peratom), energy_per_atom, e_above_hull (or ehull, stability), source and split.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lcoms import io as door
from lcoms.crystal import Crystal
from lcoms.data.records import NAN, Reader, Reason, Record, RowError
from lcoms.elements import N_ELEMENTS
from lcoms.errors import CrystalError, DataError, FileFormatError
from lcoms.lattice import is_valid_lattice

ID_PROP = "id_prop.csv"
_BATCH_ROWS = 1024
_ALIASES = {
    "material_id": ("material_id", "mp_id", "entry_id", "jid", "id"),
    "formation_energy_per_atom": ("formation_energy_per_atom", "e_form", "delta_e", "formation_energy_peratom"),
    "energy_per_atom": ("energy_per_atom",),
    "e_above_hull": ("e_above_hull", "ehull", "stability"),
}
_PARQUET_COLUMNS = ("numbers", "frac_coords", "lattice", "cif", "source", "split", *sum(_ALIASES.values(), ()))


def open_reader(path: Path, file_format: str | None = None) -> Reader:
    """The reader of a file or folder, by its name unless a format is given.

    Raises:
        DataError: it is missing, empty or of an unknown kind.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    name = file_format or _format_of(path)
    if name not in READERS:
        raise DataError(f"{path}: unknown kind of data; give one of {', '.join(READERS)} with --format.")
    return READERS[name](path)


def _format_of(path: Path) -> str | None:
    if path.is_dir():
        return "cif-folder"
    name = path.name.lower().removesuffix(".gz")
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def make_crystal(lattice: Any, frac_coords: Any, atomic_numbers: Any) -> Crystal:
    """A crystal from anything array-like: lattice rows (3, 3), frac_coords (n, 3) or flattened, atomic numbers (n,).

    Raises:
        RowError: with the reason why these are no crystal.
    """
    try:
        lattice = np.asarray(lattice, dtype=float).reshape(3, 3)
        frac_coords = np.asarray(frac_coords, dtype=float).reshape(-1, 3)
        atomic_numbers = np.asarray(atomic_numbers, dtype=np.int64)
    except (TypeError, ValueError):
        raise RowError(Reason.UNREADABLE) from None
    if atomic_numbers.ndim != 1 or len(atomic_numbers) != len(frac_coords) or not len(atomic_numbers):
        raise RowError(Reason.UNREADABLE)
    if atomic_numbers.min() < 1 or atomic_numbers.max() > N_ELEMENTS:
        raise RowError(Reason.UNKNOWN_ELEMENT)
    if not (np.isfinite(lattice).all() and np.isfinite(frac_coords).all()):
        raise RowError(Reason.NOT_FINITE)
    if not is_valid_lattice(lattice):
        raise RowError(Reason.NO_VOLUME)
    return Crystal(lattice, frac_coords, atomic_numbers)


def make_record(row: Mapping[str, Any], crystal: Crystal, material_id: str, source: str) -> Record:
    """A record from a crystal and the named values beside it; `material_id` and `source` stand in for missing ones."""
    values = {name: _first(row, names) for name, names in _ALIASES.items()}
    found_id = values.pop("material_id")
    return Record(
        material_id if found_id in (None, "") else str(found_id),
        crystal,
        source=str(row.get("source") or source),
        split=str(row.get("split") or ""),
        **{name: _number(value) for name, value in values.items()},
    )


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _number(value: Any) -> float:
    """A number, NaN where there is none; text that is no number counts as none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def crystal_from_cif(text: str) -> Crystal:
    """As `lcoms.io.from_cif`, with a reason in place of a message."""
    try:
        return door.from_cif(text)
    except CrystalError as error:
        reason = Reason.PARTLY_OCCUPIED if "partly occupied" in str(error) else Reason.UNREADABLE
        raise RowError(reason) from None
    except FileFormatError:
        raise RowError(Reason.UNREADABLE) from None


def parquet_reader(path: Path) -> Reader:
    """Rows of a Parquet file, a thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a Parquet file.") from error
    columns = [name for name in file.schema_arrow.names if name in _PARQUET_COLUMNS]
    if not ({"numbers", "frac_coords", "lattice"} <= set(columns) or "cif" in columns):
        raise DataError(f"{path} needs the columns numbers, frac_coords and lattice, or cif.")
    return Reader(path, partial(_parquet_rows, path, columns), _parse_table_row, file.metadata.num_rows)


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        n_read = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                row["row_name"] = f"{path.stem}-{n_read}"
                n_read += 1
                yield row


def _parse_table_row(row: Mapping[str, Any]) -> Record:
    """A row of a table, as a Parquet or CSV file gives it."""
    if row.get("cif"):
        crystal = crystal_from_cif(row["cif"])
    else:
        crystal = make_crystal(row["lattice"], row["frac_coords"], row["numbers"])
    return make_record(row, crystal, row["row_name"], row["row_name"].rpartition("-")[0])


READERS = {"parquet": parquet_reader}
ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
}
