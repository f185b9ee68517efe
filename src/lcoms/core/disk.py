"""Files that are whole or not there, whatever stops the program while it writes them."""

from __future__ import annotations

import errno
import os
import platform
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: two runs there are not kept apart
    _LOCKS = False
else:
    _LOCKS = True

MACHINE = re.sub(r"\W", "_", platform.node())
Content = str | bytes | memoryview


def write_whole(path: Path, content: Content) -> None:
    """Write a file under a name of this process first, and rename it once it is on disk.

    What was there before stays until then; two processes that write the same file leave that of one of them.

    Args:
        path: folders above it are made.
        content: text is written as UTF-8.

    Raises:
        OSError: it cannot be written; its `filename` is the path.
    """
    write_together(path.parent, {path.name: content})


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a file as `write_whole` does, from pieces of text that need not be in memory together.

    Raises:
        OSError: it cannot be written; its `filename` is the path.
    """
    write_together(path.parent, {path.name: pieces})


def write_together(folder: Path, contents: Mapping[str, Content | Iterable[str]]) -> None:
    """Write files as `write_whole` does, and rename none of them before all are on disk.

    Args:
        folder: made with those above it.
        contents: by name, renamed in this order.

    Raises:
        OSError: one cannot be written; its `filename` is the path.
    """
    path, parts = folder, {folder / name: _part(folder / name) for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        for path, part in parts.items():
            content = contents[path.name]
            with part.open("wb") as file:
                for piece in (content,) if isinstance(content, str | bytes | memoryview) else content:
                    file.write(piece.encode() if isinstance(piece, str) else piece)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        error.filename = str(path)  # a full disk names no file, and the other name would tell nobody anything
        raise
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink()


def append(file: FileIO, path: Path, line: bytes) -> None:
    """Write to the end of a file that was opened without a buffer; on disk when this returns.

    Raises:
        OSError: it cannot be written, or not to its end; its `filename` is the path.
    """
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def lock(file: IO[bytes], *, shared: bool = False, wait: bool = False) -> bool | None:
    """Hold a file against other processes until it is closed; None where the system has no such locks.

    Args:
        shared: together with others that hold it so.
        wait: until it is free.

    Returns:
        Whether it is held now.

    Raises:
        OSError: with `wait`, the file system has no locks.
    """
    if not _LOCKS:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if wait:
        fcntl.flock(file, kind)
        return True
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def require_writable(path: Path) -> None:
    """Find out before hours of work whether their result can be written.

    Raises:
        OSError: it cannot; its `filename` is the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _part(path).touch()
        _part(path).unlink()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        error.filename = str(path)
        raise


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{MACHINE}-{os.getpid()}.part")


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    """Remove, once in the life of this process, what others of this machine left that were killed while they wrote."""
    for part in folder.glob(f".*.{MACHINE}-*.part"):
        with suppress(OSError, ValueError):
            if not _lives(int(part.name.removesuffix(".part").rpartition("-")[2])):
                part.unlink()


def _lives(process: int) -> bool:
    if os.name != "posix":  # where signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
