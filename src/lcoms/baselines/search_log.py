"""A search on disk: one line of JSON for each batch of outcomes, written to disk before the next is requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcoms.baselines.trial import TrialOutcome, outcome_from_dict, outcome_to_dict
from lcoms.core.journal import Journal

VERSION = 1
SearchLog = Journal[Sequence[TrialOutcome]]


def open_log(path: Path, header: Mapping[str, Any]) -> SearchLog:
    """Open the file of a search, or create it.

    Args:
        header: JSON-compatible description of the search.

    Raises:
        ConfigError: the file belongs to another search, or is in use by another run.
        DataError: the file is not that of a search.
    """
    return Journal(path, _encode, _decode, what="batch of a search", header={"lcoms_search": VERSION, **header})


def _encode(batch: Sequence[TrialOutcome]) -> list[dict[str, Any]]:
    return [outcome_to_dict(outcome) for outcome in batch]


def _decode(content: Any) -> Sequence[TrialOutcome]:
    return [outcome_from_dict(row) for row in content]
