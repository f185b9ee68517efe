"""Readers of the formats that `lcoms data ingest` accepts; each streams its rows and holds a few of them at a time.

| format | recognised by | structure of a row |
| --- | --- | --- |
| Parquet | `.parquet` | columns numbers, frac_coords (n x 3) and lattice (3 x 3), flattened; or cif |
| CSV | `.csv`, `.csv.gz` | column cif (as in CDVAE); or unit_cell and sites (OQMD) |
| JSON | `.json`, `.json.gz`, `.jsonl`, `.jsonl.gz` | MatBench, OQMD and JARVIS layouts: see `lcoms.data.formats_json` |
| extended XYZ | `.xyz`, `.extxyz`, also with `.gz` | one frame; energies from the comment line |
| folder | of CIF, POSCAR or extxyz files, also compressed | `ID.cif`; `id_prop.csv`: ID, formation energy in eV/atom |

In addition to the structure, all may give the values of `lcoms.data.records.ALIASES`, `source` and `split`, and for
predictions `formula` and `rank`.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lcoms.core.errors import DataError
from lcoms.data.checks import SPLITS
from lcoms.data.formats_json import json_reader, open_text, parse_row
from lcoms.data.records import (
    ALIASES,
    Reader,
    Reason,
    Record,
    RowError,
    is_read,
    make_record,
    plain_name,
    row_error,
)
from lcoms.structure import io as door
from lcoms.structure.extxyz import crystal_of, frame_atoms
from lcoms.structure.reading import RefusedError

ID_PROP = "id_prop.csv"
REST = "cells beyond the header"
_BATCH_ROWS = 1024
_log = logging.getLogger("lcoms")


def open_reader(path: Path, file_format: str | None = None) -> Reader:
    """Return the reader of a file or folder, chosen by its name unless a format is given.

    Raises:
        DataError: it is missing, of unknown kind, or cannot be read at all.
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
    """Return the reader of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, n_rows = file.schema_arrow.names, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a Parquet file.") from error
    wanted = {"numbers", "frac_coords", "lattice", "cif", "source", "split", "rank", "formula"}.union(*ALIASES.values())
    columns = [name for name in names if plain_name(name) in wanted or is_read(name)]
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
    """Return the reader of a CSV file with a header; files named after a split set the split if no column does."""
    with open_text(path) as handle:
        header: list[str] = next(_guarded(iter(csv.reader(handle)), path), [])
    if not ("cif" in header or {"unit_cell", "sites"} <= set(header)):
        raise DataError(f"{path} needs a column cif, or the columns unit_cell and sites, separated by commas.")
    if twice := next((name for name in header if name and header.count(name) > 1), ""):
        raise DataError(f"{path} has two columns named {twice}; rename one.")
    return Reader(path, partial(_csv_rows, path), parse_row)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(sys.maxsize)
    stem = path.name.partition(".")[0]
    with open_text(path) as handle:
        for number, row in enumerate(_guarded(csv.DictReader(handle, restkey=REST), path)):
            row = _named({} if REST in row else dict(row), path, number)  # too many cells are in doubt, all of them
            if stem.lower() in SPLITS:
                row["split"] = row.get("split") or stem
                row["source"] = row.get("source") or path.resolve().parent.name
            yield row


def _guarded(rows: Iterator[Any], path: Path) -> Iterator[Any]:
    try:
        yield from rows
    except (csv.Error, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short; fetch it again.") from error


def extxyz_reader(path: Path) -> Reader:
    """Return the reader of an extended XYZ file, split into frames here so that a bad one does not stop the rest."""
    return Reader(path, partial(_extxyz_rows, path), _parse_frame)


def _extxyz_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open_text(path) as handle:
        lines = _guarded(handle, path)
        first, number = next(lines, ""), 0
        while first:
            if not (n_atoms := first.strip(" \t\r\n")):
                first = next(lines, "")
                continue
            if not re.fullmatch(r"[0-9]{1,9}", n_atoms):
                raise DataError(f"{path}: frame {number} does not begin with its number of atoms.")
            frame = [first, *islice(lines, int(n_atoms) + 1)]
            whole = len(frame) == int(n_atoms) + 2
            while (first := next(lines, "")).lstrip().startswith("VEC"):  # lattice vectors below the atoms
                frame.append(first)
            yield _named({"frame": "".join(frame) if whole else ""}, path, number)
            number += 1


def _parse_frame(row: Mapping[str, Any]) -> Record:
    if not row["frame"]:
        raise RowError(Reason.UNREADABLE)
    try:
        atoms, remarks = frame_atoms(row["frame"].replace("\r\n", "\n").replace("\r", "\n"))
        crystal, more = crystal_of(atoms)
    except RefusedError as error:
        raise row_error(error) from None
    values = {**row, **atoms.info}
    if atoms.calc is not None and "energy" in atoms.calc.results:
        values.setdefault("energy_per_atom", atoms.calc.results["energy"] / len(atoms))
    return make_record(values, crystal, row["row_name"], row["source_name"], [*remarks, *more])


def folder_reader(path: Path) -> Reader:
    """Return the reader of a folder: the files listed in `id_prop.csv`, in its order, otherwise all, by name."""
    files = door.structure_files(path)
    rows = _listed(path, files) if (path / ID_PROP).exists() else [(file.name, file, "") for file in files]
    door.say_unread(path)
    if not rows:
        raise DataError(f"{path} holds neither {ID_PROP} nor CIF, POSCAR or extxyz files.")
    return Reader(path, partial(_folder_rows, path, rows), _parse_file)


def _listed(path: Path, files: list[Path]) -> list[tuple[str, Path, str]]:
    """Return id, file and energy of each line of `id_prop.csv`; ids are file names with or without extensions.

    Ids without a file are kept, to be counted as unreadable; they and files without an id are logged as warnings.

    Raises:
        DataError: the list cannot be read, a line has more than two cells, an id is listed twice or may mean several
            files, or none has a file.
    """
    by_name = {file.name: [file] for file in files}
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(_stem(file.name), []).append(file)
    listed = path / ID_PROP
    try:
        text = door.file_text(listed)
    except RefusedError as error:
        raise DataError(f"{listed}: {error}") from error
    lines = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row and row[0].strip()]
    if longer := next((row for row in lines if any(row[2:])), None):
        raise DataError(
            f"{listed}: {','.join(longer)[:60]!r} is more than an id and an energy; write decimals with points."
        )
    rows: dict[str, tuple[str, Path, str]] = {}
    for name, value in ((row[0], row[1] if len(row) > 1 else "") for row in lines):
        found = by_name.get(name) or by_stem.get(name) or [path / f"{name}.cif"]
        if len(found) > 1:
            names = " or ".join(file.name for file in found)
            raise DataError(f"{listed}: {name} may be {names}; write the name of the file.")
        if name in rows:
            raise DataError(f"{listed}: {name} is listed twice; take one line out.")
        rows[name] = name, found[0], value
    _say_unmatched(listed, files, list(rows.values()))
    return list(rows.values())


def _say_unmatched(listed: Path, files: list[Path], rows: list[tuple[str, Path, str]]) -> None:
    """Log a warning for ids without a file and files without an id; raises DataError if no id has a file."""
    absent = [name for name, file, _ in rows if file not in files]
    if rows and len(absent) == len(rows):
        raise DataError(
            f"{listed}: none of its ids, such as {absent[0][:40]!r}, is a structure file of the folder; write one id "
            "and energy per line, separated by a comma."
        )
    taken = {file for _, file, _ in rows}
    unlisted = [file.name for file in files if file not in taken]
    for names, what in ((absent, "ids without a file"), (unlisted, "files not listed and left out")):
        if names:
            _log.warning("%s: %s: %d, such as %s", listed, what, len(names), names[0])


def _stem(name: str) -> str:
    """Return the name of a structure file without the extensions of its format."""
    kinds = r"\.(cif|mcif|mmcif|vasp|poscar|contcar|xyz|extxyz)$"
    return re.sub(kinds, "", door.unpacked_name(name), flags=re.IGNORECASE)


def _folder_rows(path: Path, rows: list[tuple[str, Path, str]]) -> Iterator[dict[str, Any]]:
    """Yield one row per structure; files are read here only to see whether they may hold several."""
    source = path.resolve().name
    for name, file, value in rows:
        stem = _stem(name)
        n = _n_structures(file)
        for place in range(n):
            row_name = stem if n == 1 else f"{stem}-{place + 1}"
            yield {"file": str(file), "place": place, "e_form": value, "row_name": row_name, "source_name": source}


def _n_structures(file: Path) -> int:
    """Return the number of structures in a file, refused ones included; single data blocks need no parsing."""
    if door.unpacked_name(file.name.lower()).endswith("cif"):
        try:
            text = door.file_text(file)
        except RefusedError:
            return 1
        if len(re.findall(r"(?im)^\s*data_", text)) <= 1:
            return 1
    return len(door.read_file(file))


def _parse_file(row: Mapping[str, Any]) -> Record:
    readings = door.read_file(row["file"])
    reading = readings[min(row["place"], len(readings) - 1)]
    try:
        crystal, remarks = door.only([reading])
    except RefusedError as error:
        raise row_error(error) from None
    return make_record(row, crystal, row["row_name"], row["source_name"], remarks)


def _named(row: dict[str, Any], path: Path, number: int) -> dict[str, Any]:
    """Return the row with names that replace a missing id and source."""
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
