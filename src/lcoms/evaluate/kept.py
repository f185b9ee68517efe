"""File of outcomes, written as they are obtained, so that an interrupted evaluation of hours can be resumed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lcoms import __version__
from lcoms.core.closing import Closing
from lcoms.core.config import from_dict, parse_json
from lcoms.core.disk import require_writable, write_whole
from lcoms.core.errors import ConfigError, DataError
from lcoms.evaluate.formulas import Job, Outcome, jobs_for
from lcoms.evaluate.references import Reference
from lcoms.prediction.pipeline import Predictor
from lcoms.structure.crystal import crystal_to_dict

EVERY = 30.0  # seconds between writes
Name = tuple[str, int]


class OutcomeFile(Closing):
    """The file of one evaluation, open while it runs.

    A row belongs to an evaluation if version, weights, settings, seed and reference are the same. On exit, also by an
    error or Ctrl-C, all outcomes are written; a process that is killed loses those since the last write.
    """

    def __init__(self, path: Path, references: Sequence[Reference], predictor: Predictor, *, n_seeds: int) -> None:
        """Open the file, or start a new one.

        Raises:
            DataError: it contains something else, or rows of another evaluation.
            OSError: it cannot be written; its `filename` is the path.
        """
        require_writable(path)
        self._path, self._written = path, time.monotonic()
        self._keys = _keys(jobs_for(references, predictor.spec.seed, n_seeds), predictor)
        self.outcomes: dict[Name, Outcome] = _read(path, self._keys) if path.exists() else {}

    def close(self) -> None:
        self.write()

    def add(self, outcome: Outcome) -> None:
        """Add an outcome; it is on disk after half a minute at most, unless the next one takes longer."""
        self.outcomes[outcome.name, outcome.seed] = outcome
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Write all rows, in the order of prediction."""
        rows = [_to_dict(self.outcomes[name], key) for name, key in self._keys.items() if name in self.outcomes]
        write_whole(self._path, json.dumps(rows, indent=0) + "\n")
        self._written = time.monotonic()


def _keys(jobs: Sequence[Job], predictor: Predictor) -> dict[Name, str]:
    settings = {"version": __version__, "weights": predictor.bundle.digest, "spec": predictor.spec.to_dict()}
    keys = {}
    for seed, members in jobs:
        for reference in members:
            content = [settings, seed, reference.name, crystal_to_dict(reference.crystal)]
            keys[reference.name, seed] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return keys


def _to_dict(outcome: Outcome, key: str) -> dict[str, Any]:
    return asdict(outcome) | {"key": key}


def _read(path: Path, keys: dict[Name, str]) -> dict[Name, Outcome]:
    outcomes = {}
    try:
        for row in parse_json(path.read_bytes()):
            key = row.pop("key", None)
            outcome = from_dict(Outcome, row)
            if keys.get((outcome.name, outcome.seed)) != key:
                raise DataError(
                    f"{path} holds rows of other structures, settings or weights; name another file, or move it away."
                )
            outcomes[outcome.name, outcome.seed] = outcome
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"{path} holds no rows of lcoms evaluate; name another file, or move it away.") from error
    return outcomes
