"""A search on disk: one line of JSON for each batch of outcomes, written through before the next is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcoms.baselines.trial import TrialOutcome, outcome_from_dict, outcome_to_dict
from lcoms.core.journal import Journal

VERSION = 1
SearchLog = Journal[Sequence[TrialOutcome]]


def open_log(path: Path, header: Mapping[str, Any]) -> SearchLog:
    """The file of a search, made where there is none.

    Args:
        header: which search it is, ready for JSON.

    Raises:
        ConfigError: the file is of another search, or in use by another run.
        DataError: the file is of no search.
    """
    return Journal(path, _encode, _decode, what="batch of a search", header={"lcoms_search": VERSION, **header})


def _encode(batch: Sequence[TrialOutcome]) -> list[dict[str, Any]]:
    return [outcome_to_dict(outcome) for outcome in batch]


def _decode(content: Any) -> Sequence[TrialOutcome]:
    return [outcome_from_dict(row) for row in content]
