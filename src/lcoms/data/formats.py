"""Readers of the formats that `lcoms data ingest` takes; each streams its rows and holds a few of them at a time.

| what | how it is recognised | the structure of a row |
| --- | --- | --- |
| Parquet | `.parquet` | columns numbers, frac_coords (n x 3) and lattice (3 x 3), flattened; or cif |
| CSV | `.csv`, `.csv.gz` | a column cif (as in CDVAE); or unit_cell and sites (OQMD) |
| JSON | `.json`, `.json.gz`, `.jsonl`, `.jsonl.gz` | MatBench, OQMD and JARVIS layouts: see `lcoms.data.formats_json` |
| extended XYZ | `.xyz`, `.extxyz`, also with `.gz` | one frame; energies from the comment line |
| folder | a folder of CIF files | `ID.cif`; `id_prop.csv` gives ID and formation energy (eV/atom) of each, no header |

Beside the structure all of them may give the values of `lcoms.data.records.ALIASES`, `source` and `split`,
and for predictions `formula` and `rank`.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lcoms.core.errors import DataError
from lcoms.data.formats_json import json_reader, open_text, parse_row
from lcoms.data.records import ALIASES, Reader, Reason, Record, RowError, crystal_from_cif, make_record
from lcoms.structure import io as door

if TYPE_CHECKING:
    from ase import Atoms

ID_PROP = "id_prop.csv"
_BATCH_ROWS = 1024
_SPLIT_NAMES = ("train", "val", "test")


def open_reader(path: Path, file_format: str | None = None) -> Reader:
    """The reader of a file or folder, by its name unless a format is given.

    Raises:
        DataError: it is missing, of an unknown kind, or cannot be read at all.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    name = file_format or _format_of(path)
    if name not in READERS:
        raise DataError(f"{path}: unknown kind of data; give one of {', '.join(READERS)} with --format.")
    return READERS[name](path)


def _format_of(path: Path) -> str | None:
    if path.is_dir():
        return "folder"
    name = path.name.lower().removesuffix(".gz")
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def parquet_reader(path: Path) -> Reader:
    """Rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, n_rows = file.schema_arrow.names, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a Parquet file.") from error
    wanted = {"numbers", "frac_coords", "lattice", "cif", "source", "split", "rank", "formula"}.union(*ALIASES.values())
    columns = [name for name in names if name in wanted]
    if not ({"numbers", "frac_coords", "lattice"} <= set(columns) or "cif" in columns):
        raise DataError(f"{path} needs the columns numbers, frac_coords and lattice, or cif.")
    return Reader(path, partial(_parquet_rows, path, columns), parse_row, n_rows)


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            batches = file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows):
                yield _named(row, path, number)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or cut short; fetch it again.") from error


def csv_reader(path: Path) -> Reader:
    """Rows of a CSV file with a header; files called train, val or test give that split where no column does."""
    with open_text(path) as handle:
        header: list[str] = next(_guarded(iter(csv.reader(handle)), path), [])
    if not ("cif" in header or {"unit_cell", "sites"} <= set(header)):
        raise DataError(f"{path} needs a column cif, or the columns unit_cell and sites.")
    return Reader(path, partial(_csv_rows, path), parse_row)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(sys.maxsize)
    stem = path.name.partition(".")[0]
    with open_text(path) as handle:
        for number, row in enumerate(_guarded(csv.DictReader(handle, restkey="rest"), path)):
            row = _named(dict(row), path, number)
            if stem in _SPLIT_NAMES:
                row["split"] = row.get("split") or stem
                row["source"] = row.get("source") or path.resolve().parent.name
            yield row


def _guarded(rows: Iterator[Any], path: Path) -> Iterator[Any]:
    try:
        yield from rows
    except (csv.Error, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short; fetch it again.") from error


def extxyz_reader(path: Path) -> Reader:
    """Frames of an extended XYZ file, cut apart here so that a bad one does not end the rest."""
    return Reader(path, partial(_extxyz_rows, path), _parse_frame)


def _extxyz_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open_text(path) as handle:
        lines = _guarded(handle, path)
        for number, first in enumerate(line for line in lines if line.strip()):
            n_atoms = first.strip(" \t\r\n")
            if not re.fullmatch(r"[0-9]{1,9}", n_atoms):
                raise DataError(f"{path}: frame {number} does not begin with its number of atoms.")
            frame = [first, *islice(lines, int(n_atoms) + 1)]
            whole = len(frame) == int(n_atoms) + 2
            yield _named({"frame": "".join(frame) if whole else ""}, path, number)


def _parse_frame(row: Mapping[str, Any]) -> Record:
    from ase.io import read

    try:
        atoms = cast("Atoms", read(io.StringIO(row["frame"]), format="extxyz"))
        crystal = door.from_ase(atoms)
    except Exception:  # CrystalError, and ASE raises many kinds for malformed text
        raise RowError(Reason.UNREADABLE) from None
    values = {**row, **atoms.info}
    if atoms.calc is not None and "energy" in atoms.calc.results:
        values.setdefault("energy_per_atom", atoms.calc.results["energy"] / len(atoms))
    return make_record(values, crystal, row["row_name"], row["source_name"])


def folder_reader(path: Path) -> Reader:
    """CIF files of a folder: those that `id_prop.csv` names, in its order, or else all, by name."""
    rows = _listed(path) if (path / ID_PROP).exists() else [(file.stem, "") for file in sorted(path.glob("*.cif"))]
    if not rows:
        raise DataError(f"{path} holds neither {ID_PROP} nor CIF files.")
    return Reader(path, partial(_folder_rows, path, rows), _parse_file, len(rows))


def _listed(path: Path) -> list[tuple[str, str]]:
    with (path / ID_PROP).open(newline="", encoding="utf-8", errors="replace") as handle:
        return [
            (row[0].strip(), row[1] if len(row) > 1 else "") for row in csv.reader(handle) if row and row[0].strip()
        ]


def _folder_rows(path: Path, rows: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for name, value in rows:
        file = path / (name if name.endswith(".cif") else f"{name}.cif")
        row_name = name.removesuffix(".cif")
        yield {"file": str(file), "e_form": value, "row_name": row_name, "source_name": path.resolve().name}


def _parse_file(row: Mapping[str, Any]) -> Record:
    try:
        text = Path(row["file"]).read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise RowError(Reason.UNREADABLE) from None
    return make_record(row, crystal_from_cif(text), row["row_name"], row["source_name"])


def _named(row: dict[str, Any], path: Path, number: int) -> dict[str, Any]:
    """The row with names that stand in for a missing id and source."""
    stem = path.name.partition(".")[0]
    row["row_name"], row["source_name"] = f"{stem}-{number}", stem
    return row


READERS: dict[str, Callable[[Path], Reader]] = {
    "parquet": parquet_reader,
    "csv": csv_reader,
    "json": json_reader,
    "extxyz": extxyz_reader,
    "folder": folder_reader,
}
ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
}
