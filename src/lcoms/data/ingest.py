"""From raw files to a store: every row is read, checked, reduced and given a split, or counted with a reason.

Work is split into chunks of rows. A shard is written whenever enough crystals have been collected, and its header
records the number of rows read so far, so that a killed ingest continues after the last shard and ends with an
identical store.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from lcoms import __version__
from lcoms.core.config import parse_json
from lcoms.core.disk import sha256_of
from lcoms.core.errors import DataError
from lcoms.core.parallel import parallel_map
from lcoms.core.pool import WorkerDiedError
from lcoms.data.checks import Chunk, IngestOptions, process_chunk
from lcoms.data.formats import open_reader
from lcoms.data.records import Reader, Record
from lcoms.data.splits import unite_splits
from lcoms.data.store import (
    MANIFEST,
    VERSION,
    Manifest,
    Shard,
    Store,
    digest,
    read_manifest,
    shard_name,
    write_manifest,
    write_shard,
)

CHUNK_ROWS = 256
_STATE_KEY = "lcoms"


@dataclass
class Progress:
    """Progress of an ingest, passed to the callback after every chunk.

    Attributes:
        n_total: number of rows of all sources, None if unknown.
    """

    n_total: int | None = None
    n_chunks: int = 0
    n_read: int = 0
    n_kept: int = 0
    n_fallbacks: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Chunk) -> None:
        self.n_chunks += 1
        self.n_read += chunk.n_rows
        self.n_kept += chunk.kept.num_rows
        self.n_fallbacks += chunk.n_fallbacks
        self.dropped.update(chunk.dropped)
        self.remarks.update(chunk.remarks)


def ingest(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    options: IngestOptions | None = None,
    file_format: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Store:
    """Read, check and store crystals. Run again after an interruption, it continues where it stopped.

    Args:
        sources: files and folders of the formats in `lcoms.data.formats`.
        out: folder of the store.
        file_format: read all sources in this format, whatever their names.
        workers: number of processes that parse and check; the result does not depend on it.
        overwrite: replace an existing store.
        report: called after every chunk of rows.

    Raises:
        DataError: a source cannot be read, no crystal is left, or `out` contains something else.
    """
    options, out = options or IngestOptions(), Path(out)
    if not sources:
        raise DataError("nothing to ingest: name at least one file or folder.")
    places = [Path(source).resolve() for source in sources]
    if twice := next((source for source, place in zip(sources, places, strict=True) if places.count(place) > 1), None):
        raise DataError(f"{twice} is given twice; name it once.")
    readers = [open_reader(Path(source), file_format) for source in sources]
    job = _job(readers, options, file_format)
    if overwrite:
        _clear(out)
    elif (out / MANIFEST).exists():
        if read_manifest(out).provenance.get("job") == job["job"]:
            return Store.open(out)
        raise DataError(f"{out} holds another store already; give another --out, or --overwrite to replace it.")
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    shards, progress = _resume(out, str(job["job"]))
    counts = [reader.n_rows for reader in readers]
    progress.n_total = None if None in counts else sum(n for n in counts if n is not None)
    tasks = islice(_tasks(readers), progress.n_chunks, None)
    try:
        for shard in _write_shards(_process(tasks, options, workers), out, len(shards), progress, options, job, report):
            shards.append(shard)
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()
    if not shards:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in progress.dropped.most_common())
        raise DataError(f"none of the {progress.n_read} rows could be kept ({reasons or 'the sources are empty'}).")
    moved: Counter[str] = Counter()
    if options.keep_split:
        shards, moved = unite_splits(out, shards, options, state_key=_STATE_KEY)
    provenance = {
        **job,
        "lcoms": __version__,
        "n_fallbacks": progress.n_fallbacks,
        "remarks": dict(sorted(progress.remarks.items())),
        "n_moved": dict(moved),
    }
    write_manifest(out, Manifest(tuple(shards), progress.n_read, dict(sorted(progress.dropped.items())), provenance))
    return Store.open(out)


def _tasks(readers: Sequence[Reader]) -> Iterator[tuple[Reader, list[Any]]]:
    """Yield chunks of raw rows; none extends beyond the end of a source."""
    for reader in readers:
        rows = reader.rows()
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield reader, chunk


def _process(tasks: Iterator[tuple[Reader, list[Any]]], options: IngestOptions, workers: int) -> Iterator[Chunk]:
    """Yield the checked chunks in order; a few are in progress at a time."""
    check, parts = partial(_check, options=options), ((reader.parse, rows) for reader, rows in tasks)
    try:
        yield from map(check, parts) if workers <= 1 else parallel_map(check, parts, processes=workers)
    except WorkerDiedError as error:
        raise DataError("a worker process was ended; run the same ingest again with --workers 1.") from error


def _check(task: tuple[Callable[[Any], Record], list[Any]], options: IngestOptions) -> Chunk:
    parse, rows = task
    return process_chunk(parse, rows, options)


def _write_shards(
    chunks: Iterator[Chunk],
    out: Path,
    index: int,
    progress: Progress,
    options: IngestOptions,
    job: dict[str, Any],
    report: Callable[[Progress], None] | None,
) -> Iterator[Shard]:
    """Gather chunks into shards of at least `shard_rows` crystals, the last one smaller."""
    pending: list[pa.RecordBatch] = []
    for chunk in chunks:
        progress.add(chunk)
        pending.append(chunk.kept)
        if sum(batch.num_rows for batch in pending) >= options.shard_rows:
            yield _write(pending, out, index, progress, job)
            index, pending = index + 1, []
        if report is not None:
            report(progress)
    if sum(batch.num_rows for batch in pending):
        yield _write(pending, out, index, progress, job)


def _write(batches: list[pa.RecordBatch], out: Path, index: int, progress: Progress, job: dict[str, Any]) -> Shard:
    batch = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    state = {
        "job": job["job"],
        "digest": digest(batch),
        "n_chunks": progress.n_chunks,
        "n_read": progress.n_read,
        "n_kept": progress.n_kept,
        "n_fallbacks": progress.n_fallbacks,
        "dropped": dict(sorted(progress.dropped.items())),
        "remarks": dict(sorted(progress.remarks.items())),
    }
    return write_shard(out, index, batch, {_STATE_KEY: json.dumps(state)})


def _resume(out: Path, job: str) -> tuple[list[Shard], Progress]:
    """Return the shards that an interrupted ingest has finished, and its progress.

    Raises:
        DataError: they belong to another ingest.
    """
    shards: list[Shard] = []
    progress = Progress()
    while (path := out / shard_name(len(shards))).exists():
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            table.validate(full=True)
            state = parse_json(table.schema.metadata[_STATE_KEY.encode()])
            intact = digest(table.to_batches()[0]) == state["digest"]
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, IndexError):
            break
        if state["job"] != job:
            raise DataError(
                f"{out} holds an ingest begun with other files or options; "
                "repeat those, give another --out, or --overwrite to start again."
            )
        if not intact:
            break
        n_atoms = len(table.column("atomic_numbers").combine_chunks().flatten())
        shards.append(Shard(path.name, table.num_rows, n_atoms, path.stat().st_size, state["digest"]))
        progress = Progress(
            None,
            state["n_chunks"],
            state["n_read"],
            state["n_kept"],
            state["n_fallbacks"],
            Counter(state["dropped"]),
            Counter(state.get("remarks", {})),
        )
    for path in out.glob("crystals-*.arrow"):
        if path.name >= shard_name(len(shards)):
            path.unlink()
    return shards, progress


def _clear(out: Path) -> None:
    """Remove the files of a store, and nothing else."""
    for path in (out / MANIFEST, *out.glob("crystals-*.arrow")):
        path.unlink(missing_ok=True)


def _job(readers: Sequence[Reader], options: IngestOptions, file_format: str | None) -> dict[str, Any]:
    """Return sources and options, and a hash of all under `job`, equal for runs that must give the same store."""
    job = {
        "sources": [_identify(reader.path) for reader in readers],
        "options": {**asdict(options), "exclude": sorted(options.exclude)},
        "format": file_format,
    }
    rules = (
        ["united splits"] if options.keep_split else []
    )  # a store made before this rule must not pass for one made after it
    text = json.dumps([job, VERSION, CHUNK_ROWS, *rules], sort_keys=True)
    return {**job, "job": hashlib.sha256(text.encode()).hexdigest()}


def _identify(path: Path) -> dict[str, Any]:
    """Return name, size and a hash of the contents of a file, or of the names and contents of a folder's files."""
    if not path.is_dir():
        return {"name": path.name, "size": path.stat().st_size, "sha256": sha256_of(path)}
    members = sorted(member for member in path.iterdir() if member.is_file())
    state = hashlib.sha256()
    for member in members:
        state.update(json.dumps([member.name, sha256_of(member)]).encode())
    return {"name": path.name, "size": len(members), "sha256": state.hexdigest()}
