"""One split per composition when files with given splits are ingested together.

A composition in the validation split of any file is in that of all of them, so that no polymorph of it is trained on.
Rows without a split follow their composition. Test rows remain as given, and no training row becomes one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lcoms.core.config import parse_json
from lcoms.data.checks import IngestOptions, split_of
from lcoms.data.store import SCHEMA, Shard, digest, write_shard
from lcoms.structure.crystal import Composition

NO_SPLIT = ""
_ORDER = ("val", "test", "train")  # preference of a row without a split among those of its composition


def unite_splits(
    out: Path, shards: Sequence[Shard], options: IngestOptions, *, state_key: str
) -> tuple[list[Shard], Counter[str]]:
    """Rewrite the shards whose rows change their split; after an interruption, the same call gives the same result.

    Args:
        state_key: name in the header of a shard under which an ingest keeps its state.

    Returns:
        The shards, and the number of rows moved from a given split, by the new split.
    """
    given: dict[str, set[str]] = {}
    for shard in shards:
        batch, _ = _read(out / shard.name, state_key)
        for formula, split in zip(*_names(batch), strict=True):
            given.setdefault(formula, set()).add(split)
    united, moved = [], Counter[str]()
    for index, shard in enumerate(shards):
        batch, state = _read(out / shard.name, state_key)
        formulas, splits = _names(batch)
        final = [
            _split(atoms, split, given[formula], options)
            for atoms, formula, split in zip(batch.column("atomic_numbers"), formulas, splits, strict=True)
        ]
        if final != splits:
            known = Counter(state.get("moved", {}))
            here = Counter(new for old, new in zip(splits, final, strict=True) if old not in (new, NO_SPLIT))
            columns = {name: batch.column(name) for name in SCHEMA.names} | {"split": pa.array(final, pa.string())}
            batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMA)
            state |= {"digest": digest(batch), "moved": dict(sorted((known + here).items()))}
            shard = write_shard(out, index, batch, {state_key: json.dumps(state)})
        moved.update(state.get("moved", {}))
        united.append(shard)
    return united, moved


def _split(atoms: pa.ListScalar, split: str, given: set[str], options: IngestOptions) -> str:
    """Return the split of a row.

    Args:
        atoms: atomic numbers of its crystal.
        given: splits of all rows of its composition.
    """
    if split == NO_SPLIT:
        found = next((name for name in _ORDER if name in given), None)
        key = Composition.from_atoms(atoms.as_py()).key  # formulas of large cells cannot be read back
        return found or split_of(key, seed=options.seed, val_fraction=options.val_fraction)
    return "val" if split == "train" and "val" in given else split


def _read(path: Path, state_key: str) -> tuple[pa.RecordBatch, dict[str, Any]]:
    with path.open("rb") as file:  # not a memory map: the file may be replaced
        table = pa.ipc.open_file(pa.py_buffer(file.read())).read_all()
    return table.to_batches()[0], parse_json(table.schema.metadata[state_key.encode()])


def _names(batch: pa.RecordBatch) -> tuple[list[str], list[str]]:
    return batch.column("formula").to_pylist(), batch.column("split").to_pylist()
