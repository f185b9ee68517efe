"""Files that are complete or absent, whatever stops the program while it writes them."""

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
from threading import get_native_id
from typing import IO

try:
    import fcntl
except ImportError:  # missing on Windows, where two runs are not kept apart
    _LOCKS = False
else:
    _LOCKS = True

from lcoms.core.errors import ConfigError

MACHINE = re.sub(r"\W", "_", platform.node())
ASIDE = "-old"
CAMPAIGN = "campaign.json"
ATTEMPTS = 100
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # from Linux's fcntl.h and fs.h
Content = str | bytes | memoryview


def write_whole(path: Path, content: Content) -> None:
    """Write a file under a temporary name of this thread, and rename it once it is on disk.

    A previous file remains until then; if two processes or threads write the same file, the result is that of one of
    them. A link stays, and the file it leads to is replaced. Pipes and devices (/dev/stdout) are written to directly.

    Args:
        path: parent folders are created.
        content: text is written as UTF-8.

    Raises:
        OSError: the file cannot be written; `filename` of the error is the path.
    """
    write_together(path.parent, {path.name: content})


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a file like `write_whole`, from pieces of text that need not be in memory together.

    Raises:
        OSError: the file cannot be written; `filename` of the error is the path.
    """
    write_together(path.parent, {path.name: pieces})


def write_together(folder: Path, contents: Mapping[str, Content | Iterable[str]]) -> None:
    """Write files like `write_whole`, and rename none of them before all are on disk.

    Args:
        folder: created with its parents.
        contents: by name, renamed in this order.

    Raises:
        OSError: a file cannot be written; `filename` of the error is its path.
    """
    path, parts = folder, {folder / name: _part(folder / name) for name in contents if not _is_device(folder / name)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        for path, content in ((folder / name, content) for name, content in contents.items()):
            with parts.get(path, path).open("wb") as file:
                for piece in (content,) if isinstance(content, str | bytes | memoryview) else content:
                    file.write(piece.encode() if isinstance(piece, str) else piece)
                file.flush()
                if path in parts:
                    os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, _real(path))
    except OSError as error:
        error.filename = str(path)  # errors of a full disk name no file, and the temporary name would help nobody
        raise
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink()


def replace_folder(folder: Path, contents: Mapping[str, Content], *, ours: Sequence[str]) -> None:
    """Replace a folder of files as a whole; other files that the user keeps in it remain.

    The new folder is written next to the old one and takes its name in one step if the system can exchange names
    (Linux), otherwise in two: a process stopped between them leaves the old folder under a hidden name, and the next
    writer restores it. Of two simultaneous writers, the folder is entirely that of the last.

    Args:
        folder: created with its parents.
        contents: by name.
        ours: patterns of names, such as rank-*.cif, of files that an earlier call may have written; these are removed.

    Raises:
        OSError: the folder cannot be written, and the old one is unchanged; `filename` of the error is the path.
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
    """Keep other writers of folders within this one waiting, if the file system has locks.

    Otherwise a writer that finds the name missing between the two steps of another would drop the user's files.
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
    """Copy files that are not ours from the old folder, so that none is lost whenever this stops."""
    for path in sorted(old.iterdir()) if old.exists() else ():
        if path.name in names or any(fnmatch(path.name, pattern) for pattern in ours):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _take_place(part: Path, folder: Path) -> None:
    """Rename the part to the folder, whatever has that name now or takes it meanwhile."""
    for _ in range(ATTEMPTS):
        if folder.exists():
            if _exchange(part, folder):  # the old folder is removed with the part
                return
            aside = _part(folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}{ASIDE}"))
            with suppress(FileNotFoundError):  # another writer was faster
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
            continue  # another writer's folder came between
        finally:
            if aside != part:
                shutil.rmtree(aside, ignore_errors=True)
        return
    raise FileExistsError(errno.EEXIST, "other programs write there without end")


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; return False if the system or the file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not on Linux
        return False
    return call(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def sync(folder: Path) -> None:
    """Make new names in a folder durable, if the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_no_campaign(folder: Path) -> None:
    """Check that results of no campaign would not be mixed with those of one.

    Raises:
        ConfigError: the folder is that of a campaign, or directly within one.
    """
    for place in (folder, folder.absolute().parent):
        with suppress(OSError, ValueError):
            if '"lcoms_campaign"' in (place / CAMPAIGN).read_text(encoding="utf-8"):
                raise ConfigError(
                    f"{place} is the folder of a campaign, which keeps only what lcoms campaign predicts; choose "
                    "another folder with --out."
                )


def append(file: FileIO, path: Path, line: bytes) -> None:
    """Append to a file that was opened without a buffer; the line is on disk when this returns.

    Raises:
        OSError: the line cannot be written completely; `filename` of the error is the path.
    """
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def lock(file: IO[bytes], *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock a file against other processes until it is closed; None if the system has no such locks.

    Args:
        shared: share the lock with others that share it.
        wait: wait until the file is free.

    Returns:
        Whether it is locked now.

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
    """Check, before hours of work, that the result can be written.

    Raises:
        OSError: it cannot; `filename` of the error is the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_device(path):
            _part(path).touch()
            _part(path).unlink()
        elif not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        error.filename = str(path)
        raise


def require_same(path: Path, source: Path) -> None:
    """Check, before hours of work, that a copy of a file would not replace another one.

    Raises:
        ConfigError: the path is a file of other content.
        OSError: a file cannot be read.
    """
    if path.is_file() and not path.samefile(source) and sha256_of(path) != sha256_of(source):
        raise ConfigError(f"{path} exists and differs from {source}; choose another folder with --out.")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the contents of a file, as hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part(path: Path) -> Path:
    """Return the temporary name of this thread for a file, next to where it will be."""
    path = _real(path)
    return path.with_name(f".{path.name}.{MACHINE}-{get_native_id()}-{os.getpid()}.part")


def _real(path: Path) -> Path:
    """Return the file that a link leads to; the path itself if it is no link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_device(path: Path) -> bool:
    """Return whether the path leads to a pipe or device, which a rename would replace by a file."""
    return path.exists() and not (path.is_file() or path.is_dir())


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    """Remove, once per process, what processes of this machine left behind when they were killed while writing."""
    for part in folder.glob(f".*.{MACHINE}-*.part"):
        with suppress(OSError, ValueError):
            if _lives(int(part.name.removesuffix(".part").rpartition("-")[2])):
                continue
            if not part.is_dir():
                part.unlink()
                continue
            name, aside, _ = part.name[1:].rpartition(f"{ASIDE}.{MACHINE}-")
            whole = folder / name.rpartition(".")[0]
            if aside and not whole.exists():  # the old folder of a writer stopped before the new one had its name
                part.rename(whole)
            else:
                shutil.rmtree(part, ignore_errors=True)


def _lives(process: int) -> bool:
    if os.name != "posix":  # where signal 0 would not be a mere test
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
