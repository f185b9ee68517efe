"""Entries in a file, one line of JSON each, on disk before the next begins, so that they survive a killed run.

An incomplete last line of a killed run is dropped. `Journal` belongs to one run at a time, `SharedJournal` to all runs
that append to it.
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
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, CrystalError, ConfigError)
_STARTS = tuple(bytes([byte]) for byte in b'{["-0123456789')  # of a line of JSON


class Journal(Closing, Generic[T]):
    """A file of entries, open for one run; use it in a `with` statement.

    Args:
        path: the file; created if missing.
        encode: converts an entry to JSON-ready values.
        decode: converts values that were read to an entry; raises ValueError, KeyError, TypeError, AttributeError,
            OverflowError, CrystalError or ConfigError if they are none.
        what: noun for an entry, used in the message about an invalid line.
        header: required content of the first line, such as the options of the run; None if there is no such line.

    Raises:
        ConfigError: another run uses the file, or it belongs to a run with another header.
        DataError: the file contains something else.
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
        """Return the entries that were present when the file was opened."""
        return list(self._found)

    def append(self, entry: T) -> None:
        """Store an entry; it is on disk when this returns."""
        append(self._file, self._path, to_line(self._encode(entry)))

    def _open(self) -> list[T]:
        """Read the file, and cut off an incomplete last line."""
        self._file.seek(0)
        content = self._file.read()
        whole = whole_lines(content)
        header = b"" if self._header is None else to_line(self._header)
        if not whole and header.startswith(content):  # new, or killed while writing the first line
            self._file.truncate(0)
            append(self._file, self._path, header)
            return []
        if not whole and not content.startswith(_STARTS):  # not the beginning of an entry
            raise DataError(f"{self._path}, line 1, is no {self._what}; delete the line or move the file away.")
        lines = whole.splitlines()
        if self._header is not None:
            self._compare(lines[:1], self._header)
        first = 1 if self._header is None else 2
        found = parse_lines(lines[first - 1 :], self._decode, self._path, what=self._what, first=first)
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        return found

    def _compare(self, lines: list[bytes], ours: dict[str, Any]) -> None:
        """Raise an error unless the first line is our header."""
        try:
            found = parse_json(lines[0])
            theirs = {name: found[name] for name in ours}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"{self._path}, line 1, is not the start of a file of this kind; move the file away."
            ) from error
        if theirs != ours:
            told = "; ".join(differences(theirs, ours))
            raise ConfigError(f"{self._path} belongs to another run ({told}); name another place, or delete it.")


class SharedJournal(Generic[T]):
    """A file of entries that several runs append to, locked for each line; unreadable lines are skipped.

    Args:
        path: the file; created with the first entry.
        encode: as for `Journal`.
        decode: as for `Journal`.
    """

    def __init__(self, path: Path, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        self._path, self._encode, self._decode = path, encode, decode

    def read(self) -> list[T]:
        """Return all entries present now; none if there is no file."""
        entries = []
        with suppress(FileNotFoundError):
            for line in self._path.read_bytes().split(b"\n"):
                with suppress(*_UNREADABLE):
                    entries.append(self._decode(parse_json(line)))
        return entries

    def append(self, entry: T) -> None:
        """Store an entry; it is on disk when this returns.

        Raises:
            OSError: it cannot be written; `filename` of the error is the path.
        """
        line = to_line(self._encode(entry))
        with self._path.open("a+b", buffering=0) as file:
            lock(file, wait=True)
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # an incomplete line of a killed run
                    line = b"\n" + line
            append(file, self._path, line)


def to_line(content: Any) -> bytes:
    """Return one line of JSON.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def whole_lines(content: bytes) -> bytes:
    """Return the content up to its last line end."""
    return content[: content.rfind(b"\n") + 1]


def parse_lines(lines: list[bytes], decode: Callable[[Any], T], path: Path, *, what: str, first: int = 1) -> list[T]:
    """Return the entries of the lines of a file.

    Args:
        what: noun for an entry, used in the message about an invalid line.
        first: number in the file of the first of the lines.

    Raises:
        DataError: a line is not an entry.
    """
    entries = []
    for number, line in enumerate(lines, first):
        try:
            entries.append(decode(parse_json(line)))
        except _UNREADABLE as error:
            raise DataError(f"{path}, line {number}, is no {what}; delete the line or move the file away.") from error
    return entries
