"""Entries in a file, one line of JSON each, on disk before the next begins: whatever kills the run, they are there.

A last line that was cut short, by whatever killed the run, is dropped. `Journal` belongs to one run at a time,
`SharedJournal` to all that append to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from lcoms.core.closing import Closing
from lcoms.core.config import parse_json
from lcoms.core.disk import append, lock
from lcoms.core.errors import ConfigError, CrystalError, DataError
from lcoms.core.identity import differences

T = TypeVar("T")
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, CrystalError, ConfigError)


class Journal(Closing, Generic[T]):
    """A file of entries, open for one run; use it with `with`.

    Args:
        path: the file; made where there is none.
        encode: makes an entry ready for JSON.
        decode: makes an entry of what was read; ValueError, KeyError, TypeError, CrystalError or ConfigError where it
            is none.
        what: an entry is, for the sentence about a line that is none.
        header: what the first line must say, such as the options of the run; None: there is no such line.

    Raises:
        ConfigError: another run uses the file, or it is of a run with another header.
        DataError: the file holds something else.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[T], Any],
        decode: Callable[[Any], T],
        *,
        what: str,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._encode, self._decode, self._what = path, encode, decode, what
        self._header = None if header is None else json.loads(json.dumps(dict(header)))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            if lock(self._file) is False:
                raise ConfigError(f"{path} is in use by another run; wait for it or name another place.")
            self._found = self._open()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def read(self) -> list[T]:
        """The entries that were there when the file was opened."""
        return list(self._found)

    def append(self, entry: T) -> None:
        """Store an entry; on disk when this returns."""
        append(self._file, self._path, to_line(self._encode(entry)))

    def _open(self) -> list[T]:
        """Read the file, and cut off a last line that is not whole."""
        self._file.seek(0)
        content = self._file.read()
        whole = whole_lines(content)
        header = b"" if self._header is None else to_line(self._header)
        if not whole and header.startswith(content):  # new, or killed while it wrote the first line
            self._file.truncate(0)
            append(self._file, self._path, header)
            return []
        lines = whole.splitlines()
        if self._header is not None:
            self._compare(lines[:1], self._header)
        first = 1 if self._header is None else 2
        found = parse_lines(lines[first - 1 :], self._decode, self._path, what=self._what, first=first)
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        return found

    def _compare(self, lines: list[bytes], ours: dict[str, Any]) -> None:
        """Whether the first line is ours."""
        try:
            found = parse_json(lines[0])
            theirs = {name: found[name] for name in ours}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{self._path}, line 1, begins no file of this kind; move the file away.") from error
        if theirs != ours:
            told = "; ".join(differences(theirs, ours))
            raise ConfigError(f"{self._path} is of another run ({told}); name another place, or delete it.")


class SharedJournal(Generic[T]):
    """A file of entries that several runs append to, a lock for each line; lines that cannot be read are passed over.

    Args:
        path: the file; made at the first entry.
        encode: as for `Journal`.
        decode: as for `Journal`.
    """

    def __init__(self, path: Path, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        self._path, self._encode, self._decode = path, encode, decode

    def read(self) -> list[T]:
        """All entries that are there now; none where there is no file."""
        entries = []
        with suppress(FileNotFoundError):
            for line in self._path.read_bytes().split(b"\n"):
                with suppress(*_UNREADABLE):
                    entries.append(self._decode(parse_json(line)))
        return entries

    def append(self, entry: T) -> None:
        """Store an entry; on disk when this returns.

        Raises:
            OSError: it cannot be written; its `filename` is the path.
        """
        line = to_line(self._encode(entry))
        with self._path.open("a+b", buffering=0) as file:
            lock(file, wait=True)
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a line that a killed run cut short
                    line = b"\n" + line
            append(file, self._path, line)


def to_line(content: Any) -> bytes:
    """One line of JSON.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def whole_lines(content: bytes) -> bytes:
    """The content up to its last end of a line."""
    return content[: content.rfind(b"\n") + 1]


def parse_lines(lines: list[bytes], decode: Callable[[Any], T], path: Path, *, what: str, first: int = 1) -> list[T]:
    """Entries of the lines of a file.

    Args:
        what: an entry is, for the sentence about a line that is none.
        first: number of the first of the lines in the file.

    Raises:
        DataError: a line is no entry.
    """
    entries = []
    for number, line in enumerate(lines, first):
        try:
            entries.append(decode(parse_json(line)))
        except _UNREADABLE as error:
            raise DataError(f"{path}, line {number}, is no {what}; delete the line or move the file away.") from error
    return entries
