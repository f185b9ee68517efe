"""Archives unpacked next to themselves: no member leaves the folder, and none replaces a file of the user.

`NAME.unpacked.json` next to an archive lists the files unpacked from it, with their SHA-256: only these are replaced
when the archive changes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from uuid import uuid4

from lcoms.core.config import parse_json
from lcoms.core.disk import sha256_of, write_whole
from lcoms.core.errors import DownloadError

LOCAL_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EMFILE)
MOST_TIMES, LEAST_LIMIT = 100, 256 << 20  # an archive may grow by this factor, or to this many bytes if it is small
_CHUNK = 1 << 18
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError,
    NotImplementedError,
)  # fmt: skip
Member = tuple[Path, Callable[[], AbstractContextManager[IO[bytes]]]]


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack the files of a zip or tar archive; files unpacked from it before that are intact are kept.

    Raises:
        DownloadError: it is not such an archive, is damaged, is too large when unpacked, a member's name leads outside
            the folder or to a file that is not from this archive, or the files cannot be written.
    """
    known = _read_record(archive)
    sha256 = sha256_of(archive)
    noted: dict[str, str] = {}
    try:
        with _members(archive, folder) as members:
            limit = max(MOST_TIMES * archive.stat().st_size, LEAST_LIMIT)
            for target, opener in members:
                name = str(target.relative_to(folder))
                whole = known.get("archive") == sha256 and target.is_file() and sha256_of(target)
                if whole and whole == known["files"].get(name):
                    noted[name] = whole
                    continue
                noted[name], size = _extract(opener, target, limit, known["files"].get(name) or noted.get(name))
                limit -= size
    except DownloadError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno in LOCAL_ERRORS:
            reason = os.strerror(error.errno or 0).lower()
            raise DownloadError(
                f"{error.filename or folder}: {reason} while {archive.name} is unpacked; correct this, and run the "
                "same command again."
            ) from error
        raise DownloadError(f"{archive} is not an archive that can be unpacked; delete it and fetch again.") from error
    if noted != known["files"] or known.get("archive") != sha256:
        write_whole(_record_path(archive), json.dumps({"archive": sha256, "files": noted}, indent=1) + "\n")
    return [folder / name for name in noted]


@contextmanager
def _members(archive: Path, folder: Path) -> Iterator[list[Member]]:
    """Open an archive and yield its files: where each belongs, and how it is read."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            infos = [info for info in bundle.infolist() if not info.is_dir()]
            yield [(inside(folder, info.filename), partial(bundle.open, info)) for info in infos]
        return
    with tarfile.open(archive) as tar:
        yield [(inside(folder, member.name), partial(_open, tar, member)) for member in tar if member.isfile()]


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    if stream is None:
        raise tarfile.ReadError("no file")
    return stream


def _extract(
    opener: Callable[[], AbstractContextManager[IO[bytes]]], target: Path, limit: int, ours: str | None
) -> tuple[str, int]:
    """Write a member to the target; return its SHA-256 and size.

    Args:
        limit: largest allowed size in bytes.
        ours: SHA-256 of what an earlier call wrote there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, state, size = target.with_name(f".{uuid4().hex}.part"), hashlib.sha256(), 0
    try:
        with opener() as stream, part.open("xb") as sink:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise DownloadError(
                        f"{target.name}: the archive unpacks to more than {MOST_TIMES} times its size, which no data "
                        "set does; what came out before is kept."
                    )
                state.update(chunk)
                sink.write(chunk)
        found = state.hexdigest()
        if target.is_symlink() or target.exists():
            there = sha256_of(target) if target.is_file() else ""
            if there == found:
                return found, size
            if there != ours or target.is_symlink():
                raise DownloadError(
                    f"{target} is there already and is not what the archive has under this name; move it away, or "
                    "fetch into another folder."
                )
        part.replace(target)
        return found, size
    finally:
        part.unlink(missing_ok=True)


def inside(folder: Path, name: str) -> Path:
    """Return the path of a member below the folder.

    Raises:
        DownloadError: the name is absolute or leads outside the folder.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in name or not pure.parts or not name.isprintable():
        raise DownloadError(f"a file named {name!r} would leave {folder}; nothing was written.")
    target = folder.joinpath(*pure.parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(f"a file named {name!r} would leave {folder}; nothing was written.")
    return target


def _record_path(archive: Path) -> Path:
    return archive.with_name(archive.name + ".unpacked.json")


def _read_record(archive: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(_record_path(archive).read_text(encoding="utf-8"))
        return {"archive": str(content["archive"]), "files": {str(k): str(v) for k, v in content["files"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"files": {}}
