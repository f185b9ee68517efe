"""Public data sets of `lcoms data fetch`: addresses, checksums and licences, from `sources.json` next to this module.

Only published checksums are listed; see `lcoms.data.fetch` for what happens without one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lcoms.core.errors import DataError


@dataclass(frozen=True)
class SourceFile:
    """One file to download.

    Attributes:
        name: path below the target folder, with forward slashes.
        url: its address.
        sha256: published checksum, None if there is none.
        size: published size in bytes, None if there is none.
        unpack: whether it is an archive to be unpacked next to itself.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None
    unpack: bool = False


@dataclass(frozen=True)
class Source:
    """A data set: its files, licence, citations, and whether it comes with its own splits."""

    name: str
    title: str
    files: tuple[SourceFile, ...]
    licence: str
    citations: tuple[str, ...]
    has_splits: bool = False


@cache
def sources() -> Mapping[str, Source]:
    """Return all known data sets by name."""
    content = json.loads(files("lcoms.data").joinpath("sources.json").read_text(encoding="utf-8"))
    return {
        name: Source(
            name,
            entry["title"],
            tuple(SourceFile(**file) for file in entry["files"]),
            entry["licence"],
            tuple(entry["citations"]),
            entry.get("has_splits", False),
        )
        for name, entry in content.items()
    }


def find_source(name: str) -> Source:
    """Return the data set of this name, regardless of capitals and hyphens.

    Raises:
        DataError: there is none.
    """
    wanted = name.lower().replace("-", "_").removeprefix("matbench_")
    for known, source in sources().items():
        if wanted in (known, known.replace("_", "")):
            return source
    close = difflib.get_close_matches(wanted, sources(), n=1)
    hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(sources())}."
    raise DataError(f"there is no data set {name!r}; {hint}")
