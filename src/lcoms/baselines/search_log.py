"""A search on disk: one line of JSON for each batch of outcomes, written through before the next is asked for.

The first line says which search it is. A line that was cut short, by whatever killed the run, is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lcoms.baselines.trial import Outcome, outcome_from_dict, outcome_to_dict
from lcoms.core.config import parse_json
from lcoms.core.disk import append
from lcoms.core.errors import ConfigError, CrystalError

try:
    import fcntl
except ImportError:  # not on Windows: two runs there are not kept apart
    fcntl = None  # type: ignore[assignment]

VERSION = 1


class SearchLog:
    """An open file of outcomes; use it with `with`.

    Args:
        path: the file; made where there is none.
        header: which search it is, ready for JSON.

    Attributes:
        outcomes: those that were in the file when it was opened.

    Raises:
        ConfigError: the file is of another search, no such file, or in use by another run.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        self._header = {"lcoms_search": VERSION, **json.loads(json.dumps(header))}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            self.outcomes = self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SearchLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Store a batch; on disk when this returns."""
        self._write([outcome_to_dict(outcome) for outcome in outcomes])

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self._path} is in use by another run; wait for it or name another file."
                ) from error

    def _read(self) -> list[Outcome]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and _to_line(self._header).startswith(content):
            self._file.truncate(0)
            self._write(self._header)
            return []
        try:
            header, *batches = [parse_json(line) for line in whole.splitlines()]
            found = {name: header[name] for name in self._header}
            outcomes = [outcome_from_dict(row) for batch in batches for row in batch]
        except (ValueError, KeyError, TypeError, AttributeError, CrystalError) as error:
            raise ConfigError(f"{self._path} is no checkpoint of a search, or is damaged; move it away.") from error
        if found != self._header:
            different = ", ".join(name for name in self._header if found[name] != self._header[name])
            raise ConfigError(
                f"{self._path} holds another search ({different} differ); name another file or delete it."
            )
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        return outcomes

    def _write(self, line: Any) -> None:
        append(self._file, self._path, _to_line(line))


def _to_line(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"
