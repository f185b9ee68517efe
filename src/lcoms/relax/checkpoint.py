"""Results on disk, one line of JSON each, written to disk before the next, so that they survive any crash.

The first line states oracle and options; every other line has a digest, so that damage is detected. Results are
identified by the numbers of the start crystal, so that crystals may be added or reordered between runs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lcoms.core.closing import Closing
from lcoms.core.config import to_dict
from lcoms.core.journal import Journal
from lcoms.oracles.registry import identity_of
from lcoms.relax.result import RelaxConfig, RelaxResult, result_from_dict, result_to_dict
from lcoms.structure.crystal import Crystal

VERSION = 2


def crystal_key(crystal: Crystal) -> str:
    """Return a key that is equal for crystals with identical numbers in identical order."""
    digest = hashlib.sha256()
    for array in (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:32]


class Checkpoint(Closing):
    """An open file of results; use it with `with`.

    Args:
        path: the file; created if missing.
        oracle: name of the oracle.
        config: options of the relaxation.

    Raises:
        ConfigError: the file belongs to another oracle or other options, or is in use by another run.
        DataError: the file is not a checkpoint, or one of its lines is damaged.
    """

    def __init__(self, path: Path, oracle: str, config: RelaxConfig) -> None:
        header = {"lcoms_relax": VERSION, "oracle": identity_of(oracle), "options": to_dict(config)}
        self._journal = Journal(path, _encode, _decode, what="line of a checkpoint as it was written", header=header)
        self._results = dict(self._journal.read())

    def close(self) -> None:
        self._journal.close()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, crystal: Crystal) -> RelaxResult | None:
        """Return the result for a start crystal; None where there is none."""
        return self._results.get(crystal_key(crystal))

    def put(self, start: Crystal, result: RelaxResult) -> None:
        """Store a result; it is on disk when this returns."""
        key = crystal_key(start)
        self._results[key] = result
        self._journal.append((key, result))


def _encode(entry: tuple[str, RelaxResult]) -> dict[str, Any]:
    content = {"key": entry[0], "result": result_to_dict(entry[1])}
    return {**content, "digest": _digest(content)}


def _decode(content: Any) -> tuple[str, RelaxResult]:
    if content.pop("digest") != _digest(content):
        raise ValueError("another digest than its own")
    return content["key"], result_from_dict(content["result"])


def _digest(content: Any) -> str:
    """Return the digest of a line's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
