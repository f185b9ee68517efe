"""Files that are whole or not there, whatever stops the program while it writes them."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
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

from lcoms.core.errors import ConfigError

MACHINE = re.sub(r"\W", "_", platform.node())
ASIDE = "-old"
CAMPAIGN = "campaign.json"
ATTEMPTS = 100
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h and fs.h
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


def replace_folder(folder: Path, contents: Mapping[str, Content], *, ours: Sequence[str]) -> None:
    """Put a folder of files in the place of an older one, as a whole; what else the user keeps in it stays.

    The new folder is written beside the old one and takes its name in one step where the system can exchange names
    (Linux), else in two: whoever is stopped between these leaves the old one under a hidden name, and the next writer
    puts it back. Of two writers at once one comes last, and the folder is all its own.

    Args:
        folder: made with those above it.
        contents: by name.
        ours: patterns of names, such as rank-*.cif, of files that an earlier call may have written; they go.

    Raises:
        OSError: it cannot be written, and the old one is there as before; its `filename` is the path.
    """
    try:
        folder = folder.resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        part = _part(folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}"))
        try:
            part.mkdir()
            for name, content in contents.items():
                with (part / name).open("wb") as file:
                    file.write(content.encode() if isinstance(content, str) else content)
                    file.flush()
                    os.fsync(file.fileno())
            with _alone_in(folder.parent):
                _take_over(folder, part, {*contents}, ours)
                sync(part)
                _take_place(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync(folder.parent)
    except OSError as error:
        error.filename = str(folder)
        raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other writers of folders in this one waiting, where the file system has locks.

    Without it a writer that finds the name gone, between another's two steps, would carry over nothing of the user's.
    """
    if not _LOCKS:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take_over(old: Path, new: Path, names: Collection[str], ours: Sequence[str]) -> None:
    """Copy what is not ours from the old folder, so that nothing of it is lost whenever this stops."""
    for path in sorted(old.iterdir()) if old.exists() else ():
        if path.name in names or any(fnmatch(path.name, pattern) for pattern in ours):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _take_place(part: Path, folder: Path) -> None:
    """Rename the part to the folder, whatever stands there now or comes there meanwhile."""
    for _ in range(ATTEMPTS):
        if folder.exists():
            if _exchange(part, folder):  # what was there goes with the part
                return
            aside = _part(folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}{ASIDE}"))
            with suppress(FileNotFoundError):  # another writer was quicker
                os.rename(folder, aside)
        else:
            aside = part
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():
                with suppress(OSError):
                    os.rename(aside, folder)
                raise
            continue  # another writer's came between
        finally:
            if aside != part:
                shutil.rmtree(aside, ignore_errors=True)
        return
    raise FileExistsError(errno.EEXIST, "other programs write there without end")


def _exchange(first: Path, second: Path) -> bool:
    """Whether two names were exchanged in one step; False where the system or the file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not on Linux
        return False
    return call(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def sync(folder: Path) -> None:
    """Make new names in a folder durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_no_campaign(folder: Path) -> None:
    """Find out whether results that are of no campaign would come among those of one.

    Raises:
        ConfigError: the folder is that of a campaign, or stands directly in one.
    """
    for place in (folder, folder.absolute().parent):
        with suppress(OSError, ValueError):
            if '"lcoms_campaign"' in (place / CAMPAIGN).read_text(encoding="utf-8"):
                raise ConfigError(
                    f"{place} is the folder of a campaign, which keeps only what lcoms campaign predicts; choose "
                    "another folder with --out."
                )


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


def sha256_of(path: Path) -> str:
    """SHA-256 of what stands in a file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{MACHINE}-{os.getpid()}.part")


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    """Remove, once in the life of this process, what others of this machine left that were killed while they wrote."""
    for part in folder.glob(f".*.{MACHINE}-*.part"):
        with suppress(OSError, ValueError):
            if _lives(int(part.name.removesuffix(".part").rpartition("-")[2])):
                continue
            if not part.is_dir():
                part.unlink()
                continue
            name, aside, _ = part.name[1:].rpartition(f"{ASIDE}.{MACHINE}-")
            whole = folder / name.rpartition(".")[0]
            if aside and not whole.exists():  # the old folder, whose writer was stopped before the new one had its name
                part.rename(whole)
            else:
                shutil.rmtree(part, ignore_errors=True)


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
