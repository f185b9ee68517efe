"""Downloads that survive interruptions: written to `NAME.part`, hashed, checked, and only then renamed to `NAME`.

An existing part is continued by an HTTP range request, as long as the server still has the same file. Size and SHA-256
of a finished file are recorded next to it in `NAME.sha256.json`; if no checksum was published, later downloads are
compared with that record.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lcoms.core.config import parse_json
from lcoms.core.disk import sha256_of, write_whole
from lcoms.core.errors import DownloadError
from lcoms.data.sources import Source, SourceFile, find_source
from lcoms.data.unpack import LOCAL_ERRORS, inside, unpack

_CHUNK = 1 << 18
_TIMEOUT = 60.0
_RETRIED = (408, 429)  # retrying is useless for all others below 500
EMPTY = hashlib.sha256(b"").hexdigest()
Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Fetched:
    """One file that is present now.

    Attributes:
        path: the file, or what was unpacked from it.
        sha256: of the file as downloaded.
        size: of the file as downloaded, in bytes.
        was_there: whether it was present before and not downloaded again.
        verified: whether its checksum equals a published one, not only that recorded at the first download.
    """

    path: Path
    sha256: str
    size: int
    was_there: bool
    verified: bool


def fetch(
    name: str | Source, folder: str | Path, *, retries: int = 4, wait: float = 1.0, report: Report | None = None
) -> list[Fetched]:
    """Download a data set into a folder; files that are present and intact are not downloaded again.

    Args:
        name: one of `lcoms.data.sources`.
        folder: created if missing.
        retries: how often a dropped connection is resumed before giving up.
        wait: seconds before the first retry; doubled for each further one.
        report: called with file name, bytes received and total bytes (None if the server does not say).

    Raises:
        DataError: there is no such data set.
        DownloadError: an address no longer exists, the connection keeps failing, or a checksum is wrong.
    """
    source = find_source(name) if isinstance(name, str) else name
    fetched = []
    for file in source.files:
        target = inside(Path(folder), file.name)
        one = download(file, target, retries=retries, wait=wait, report=report)
        if file.unpack:
            members = unpack(target, target.parent)
            if not members:
                raise DownloadError(f"{target} holds no files; delete it, and see whether the data set has changed.")
            data = [member for member in members if member.suffix in (".json", ".csv")] or members
            one = Fetched(data[0], one.sha256, one.size, one.was_there, one.verified)
        fetched.append(one)
    return fetched


def download(
    file: SourceFile, target: Path, *, retries: int = 4, wait: float = 1.0, report: Report | None = None
) -> Fetched:
    """Download one file; see `fetch`."""
    expected = file.sha256 or _recorded(target)
    part = target.with_name(target.name + ".part")
    if target.exists() and (file.sha256 or target.stat().st_size):  # nothing shows that an empty file is complete
        sha256, size = sha256_of(target), target.stat().st_size
        if expected in (None, sha256):
            _etag_path(part).unlink(missing_ok=True)  # of a download that was killed when the file had its name
            _write_record(target, file, sha256, size)
            return Fetched(target, sha256, size, True, file.sha256 is not None)
    target.parent.mkdir(parents=True, exist_ok=True)
    etag_path = _etag_path(part)
    total = _download_part(file, part, retries, wait, report)
    size = part.stat().st_size
    if not size and file.sha256 != EMPTY:
        part.unlink()
        etag_path.unlink(missing_ok=True)
        raise DownloadError(f"{file.url}: the server sent nothing; try again later.")
    if size != (file.size or total or size):
        part.unlink()
        raise DownloadError(f"{file.url}: {size} bytes came instead of {file.size or total}; try again.")
    sha256 = sha256_of(part)
    if expected not in (None, sha256):
        part.unlink()
        etag_path.unlink(missing_ok=True)
        whose = "published" if file.sha256 else f"recorded at the first download in {_record_path(target).name}"
        raise DownloadError(
            f"{file.url}: the checksum {sha256[:12]}... is not the one {whose} ({str(expected)[:12]}...); "
            "the download was deleted, so try again or see whether the data set has changed."
        )
    part.replace(target)
    etag_path.unlink(missing_ok=True)
    _write_record(target, file, sha256, size)
    return Fetched(target, sha256, size, False, file.sha256 is not None)


def _download_part(file: SourceFile, part: Path, retries: int, wait: float, report: Report | None) -> int | None:
    """Complete the part, resuming dropped connections; return the length that the server states."""
    failures = 0
    while True:
        transfer, before = _Transfer(file, part, report), _size(part)
        try:
            return transfer.run()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in _RETRIED:
                raise DownloadError(f"{file.url}: the server answers {error.code} ({error.reason}).") from error
            problem = f"the server answers {error.code} ({error.reason})"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in LOCAL_ERRORS:
                raise DownloadError(f"{part} cannot be written: {str(error.strerror).lower()}.") from error
            problem = str(getattr(error, "reason", "") or error or type(error).__name__)
        # Progress resets the count; a download that restarts each time makes none, however far it gets.
        failures = 1 if transfer.resumed and _size(part) > before else failures + 1
        if failures > retries:
            raise DownloadError(
                f"{file.url}: {problem}; the part received is kept; run the same command again to resume."
            )
        time.sleep(wait * 2 ** (failures - 1))


class _Transfer:
    """One connection: appends to the part, or restarts if the server does not continue the same file.

    Attributes:
        resumed: whether the server continued where the part ends.
    """

    def __init__(self, file: SourceFile, part: Path, report: Report | None) -> None:
        self._file, self._part, self._report = file, part, report
        self._etag_path = _etag_path(part)
        self.resumed = False

    def run(self) -> int | None:
        """Complete the part; return the bytes of the whole file, if the server states them."""
        start, headers = _size(self._part), {"User-Agent": "lcoms", "Accept-Encoding": "identity"}
        etag = self._etag_path.read_text(encoding="latin-1") if self._etag_path.exists() else ""
        if start and (etag or self._file.sha256):  # otherwise a change of the file since then would go unnoticed
            headers["Range"] = f"bytes={start}-"
            if etag:
                headers["If-Range"] = etag
        try:
            request = urllib.request.Request(self._file.url, headers=headers)
            response = urllib.request.urlopen(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416 and "Range" in headers:  # nothing is left to send, or the file is shorter now
                total = _number_after_slash(error.headers.get("Content-Range"))
                error.close()
                if total == start:
                    return total
                self._forget()
                return self.run()
            error.close()
            raise
        with response:
            if response.status == 206:
                self._require_same(response, start, etag)
                self.resumed = True
            return self._receive(response, start if self.resumed else 0)

    def _require_same(self, response: http.client.HTTPResponse, start: int, etag: str) -> None:
        """Check that the response continues our part of the file; delete the part if it does not.

        Raises:
            http.client.HTTPException: it is of another file, or begins elsewhere.
        """
        begins = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", response.headers.get("Content-Range", "").strip())
        other = etag and _validator(response) not in ("", etag)
        if begins is None or int(begins.group(1)) != start or other:
            self._forget()
            raise http.client.HTTPException("the server goes on with another file, or elsewhere in it")

    def _receive(self, response: http.client.HTTPResponse, start: int) -> int | None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if not start:
            self._etag_path.unlink(missing_ok=True)
        with self._part.open("ab" if start else "wb") as sink:
            if not start and (validator := _validator(response)):  # not before the part of another version is gone
                self._etag_path.write_text(validator, encoding="latin-1")
            done = start
            while chunk := response.read(_CHUNK):
                sink.write(chunk)
                done += len(chunk)
                if self._report is not None:
                    self._report(self._file.name, done, total)
        if total is not None and done < total:
            raise http.client.IncompleteRead(b"", total - done)
        return total

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._etag_path.unlink(missing_ok=True)


def _validator(response: http.client.HTTPResponse) -> str:
    """Return what distinguishes versions of a file; a weak ETag does not."""
    etag = response.headers.get("ETag", "")
    return (etag if not etag.startswith("W/") else "") or response.headers.get("Last-Modified", "")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _number_after_slash(content_range: str | None) -> int | None:
    tail = (content_range or "").rpartition("/")[2]
    return int(tail) if tail.isdecimal() else None


def _etag_path(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + ".sha256.json")


def _recorded(target: Path) -> str | None:
    """Return the checksum that an earlier download recorded; None if there is none or it is that of an empty reply."""
    try:
        content = parse_json(_record_path(target).read_text(encoding="utf-8"))
        sha256 = content["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sha256 if isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) and sha256 != EMPTY else None


def _write_record(target: Path, file: SourceFile, sha256: str, size: int) -> None:
    content = {"url": file.url, "sha256": sha256, "size": size, "published_sha256": file.sha256}
    write_whole(_record_path(target), json.dumps(content, indent=1) + "\n")
