"""Downloads that survive interruptions: to `NAME.part`, hashed on the way, checked, and only then renamed to `NAME`.

A part that is there already is gone on with by an HTTP range, as long as the server still has the same file. Size and
SHA-256 of a finished file are recorded beside it in `NAME.sha256.json`; where no checksum was published, that record is
what later downloads are compared with.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lcoms.core.config import parse_json
from lcoms.core.disk import write_whole
from lcoms.core.errors import DownloadError
from lcoms.data.sources import Source, SourceFile, find_source

_CHUNK = 1 << 18
_TIMEOUT = 60.0
_RETRIED = (408, 429)  # below 500 all others mean that asking again is of no use
_LOCAL_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)
Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Fetched:
    """One file that is there now.

    Attributes:
        path: the file, or what was unpacked from it.
        sha256: of the file as downloaded.
        size: in bytes, of the file as downloaded.
        was_there: it was not downloaded again.
        verified: its checksum equals a published one, not only what was recorded at the first download.
    """

    path: Path
    sha256: str
    size: int
    was_there: bool
    verified: bool


def fetch(
    name: str | Source, folder: str | Path, *, retries: int = 4, wait: float = 1.0, report: Report | None = None
) -> list[Fetched]:
    """Download a data set into a folder; what is there already and intact is not downloaded again.

    Args:
        name: one of `lcoms.data.sources`.
        folder: made if need be.
        retries: how often a dropped connection is taken up again before giving up.
        wait: seconds before the first retry; doubled at each further one.
        report: called with file name, bytes there and bytes in all (None where the server does not say).

    Raises:
        DataError: no such data set.
        DownloadError: an address is gone, the connection stays broken, or a checksum is wrong.
    """
    source = find_source(name) if isinstance(name, str) else name
    fetched = []
    for file in source.files:
        target = _inside(Path(folder), file.name)
        one = download(file, target, retries=retries, wait=wait, report=report)
        if file.unpack:
            members = unpack(target, target.parent)
            data = [member for member in members if member.suffix in (".json", ".csv")] or members
            one = Fetched(data[0], one.sha256, one.size, one.was_there, one.verified)
        fetched.append(one)
    return fetched


def download(
    file: SourceFile, target: Path, *, retries: int = 4, wait: float = 1.0, report: Report | None = None
) -> Fetched:
    """Download one file; see `fetch`."""
    record = _read_record(target)
    expected = file.sha256 or record.get("sha256")
    part = target.with_name(target.name + ".part")
    if target.exists():
        sha256, size = _hash_file(target), target.stat().st_size
        if expected in (None, sha256):
            _etag_path(part).unlink(missing_ok=True)  # of a download that was killed when the file had its name
            _write_record(target, file, sha256, size)
            return Fetched(target, sha256, size, True, file.sha256 is not None)
    target.parent.mkdir(parents=True, exist_ok=True)
    total = _download_part(file, part, retries, wait, report)
    size = part.stat().st_size
    if size != (file.size or total or size):
        part.unlink()
        raise DownloadError(f"{file.url}: {size} bytes came instead of {file.size or total}; try again.")
    sha256 = _hash_file(part)
    if expected not in (None, sha256):
        part.unlink()
        _etag_path(part).unlink(missing_ok=True)
        whose = "published" if file.sha256 else f"recorded at the first download in {_record_path(target).name}"
        raise DownloadError(
            f"{file.url}: the checksum {sha256[:12]}... is not the one {whose} ({str(expected)[:12]}...); "
            "the download was deleted, so try again or see whether the data set has changed."
        )
    part.replace(target)
    _etag_path(part).unlink(missing_ok=True)
    _write_record(target, file, sha256, size)
    return Fetched(target, sha256, size, False, file.sha256 is not None)


def _download_part(file: SourceFile, part: Path, retries: int, wait: float, report: Report | None) -> int | None:
    """Bring the part to its full length, taking up dropped connections; the length that the server names."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _transfer(file, part, report)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in _RETRIED:
                raise DownloadError(f"{file.url}: the server answers {error.code} ({error.reason}).") from error
            problem = f"the server answers {error.code} ({error.reason})"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
                raise DownloadError(f"{part} cannot be written: {str(error.strerror).lower()}.") from error
            problem = str(getattr(error, "reason", "") or error or type(error).__name__)
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after > before else failures + 1  # whoever makes headway may go on
        if failures > retries:
            raise DownloadError(
                f"{file.url}: {problem}; what has come is kept, so run the same command again to go on."
            )
        time.sleep(wait * 2 ** (failures - 1))


def _transfer(file: SourceFile, part: Path, report: Report | None) -> int | None:
    """One connection: append to the part, or begin anew where the server does not go on with the same file."""
    start = part.stat().st_size if part.exists() else 0
    etag_path = _etag_path(part)
    headers = {"User-Agent": "lcoms", "Accept-Encoding": "identity"}
    if start and (etag_path.exists() or file.sha256):  # else nothing would tell that the file has changed since
        headers["Range"] = f"bytes={start}-"
        if etag_path.exists():
            headers["If-Range"] = etag_path.read_text()
    try:
        response = urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:  # nothing is left to send, or the file has become shorter
            total = _number_after_slash(error.headers.get("Content-Range"))
            error.close()
            if total == start:
                return total
            part.unlink()
            return _transfer(file, part, report)
        error.close()
        raise
    with response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        etag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if etag:
            etag_path.write_text(etag)
        with part.open("ab" if start else "wb") as sink:
            done = start
            while chunk := response.read(_CHUNK):
                sink.write(chunk)
                done += len(chunk)
                if report is not None:
                    report(file.name, done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
    return total


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack the files of a zip or tar archive, none of them outside the folder; those there already are kept.

    Raises:
        DownloadError: it is no such archive, is damaged, or a member's name leads outside the folder.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                infos = [info for info in bundle.infolist() if not info.is_dir()]
                targets = [(_inside(folder, info.filename), info) for info in infos]
                return [_extract(lambda i=info: bundle.open(i), path, info.file_size) for path, info in targets]
        with tarfile.open(archive) as tar:
            members = [(_inside(folder, member.name), member) for member in tar if member.isfile()]
            return [_extract(lambda m=member: tar.extractfile(m), path, member.size) for path, member in members]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DownloadError(f"{archive} is not an archive that can be unpacked; delete it and fetch again.") from error


def _extract(opener: Callable[..., Any], target: Path, size: int) -> Path:
    if target.exists() and target.stat().st_size == size:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with opener() as stream, part.open("wb") as sink:
        shutil.copyfileobj(stream, sink, _CHUNK)
    part.replace(target)
    return target


def _inside(folder: Path, name: str) -> Path:
    """The path of a member below the folder.

    Raises:
        DownloadError: the name is absolute or climbs out.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in name or not pure.parts:
        raise DownloadError(f"a file named {name!r} would leave {folder}; nothing was written.")
    target = folder.joinpath(*pure.parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(f"a file named {name!r} would leave {folder}; nothing was written.")
    return target


def _hash_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _number_after_slash(content_range: str | None) -> int | None:
    tail = (content_range or "").rpartition("/")[2]
    return int(tail) if tail.isdecimal() else None


def _etag_path(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + ".sha256.json")


def _read_record(target: Path) -> dict[str, Any]:
    try:
        content = parse_json(_record_path(target).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_record(target: Path, file: SourceFile, sha256: str, size: int) -> None:
    content = {"url": file.url, "sha256": sha256, "size": size, "published_sha256": file.sha256}
    write_whole(_record_path(target), json.dumps(content, indent=1) + "\n")
