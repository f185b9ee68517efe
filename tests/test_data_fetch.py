"""Downloads from a local server that drops connections, changes its files, reports wrong sizes or has no file."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest
from faults import largest_file

from lcoms.core.errors import DataError, DownloadError
from lcoms.data.fetch import Fetched, download, fetch, unpack
from lcoms.data.sources import Source, SourceFile, find_source, sources

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Server of `files`; `cuts` are the numbers of bytes after which the next responses are cut off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/data.bin": CONTENT}
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.careless = False  # goes on with another file all the same
        self.shift = 0  # bytes by which a part begins elsewhere than asked for
        self.etags = True
        self.asked: list[str | None] = []
        self.sent = 0

    def url(self, path: str = "/data.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, content = self.server, self.server.files.get(self.path)
        server.asked.append(self.headers.get("Range"))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if content is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        wanted = self.headers.get("Range")
        same = server.careless or self.headers.get("If-Range", etag) == etag
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            begins = start + server.shift
            self.send_header("Content-Range", f"bytes {begins}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        if server.etags:
            self.send_header("ETag", etag)
        self.end_headers()
        body = body[: server.cuts.pop(0)] if server.cuts else body
        server.sent += len(body)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(server: Server, folder: Path, *, sha256: str | None = None, retries: int = 3) -> Fetched:
    file = SourceFile("data.bin", server.url(), sha256)
    return download(file, folder / "data.bin", retries=retries, wait=0.001)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_download_is_checked_and_recorded(server: Server, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    file = SourceFile("data.bin", server.url(), SHA256, len(CONTENT))
    one = download(file, tmp_path / "data.bin", report=lambda *step: steps.append(step))
    assert one == Fetched(tmp_path / "data.bin", SHA256, len(CONTENT), was_there=False, verified=True)
    assert one.path.read_bytes() == CONTENT
    assert steps[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert names(tmp_path) == ["data.bin", "data.bin.sha256.json"]
    record = json.loads((tmp_path / "data.bin.sha256.json").read_text())
    assert record == {"url": server.url(), "sha256": SHA256, "size": len(CONTENT), "published_sha256": SHA256}
    again = download(file, tmp_path / "data.bin")
    assert again.was_there
    assert len(server.asked) == 1


def test_dropped_connections_are_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 300_000, 5]
    one = get(server, tmp_path, sha256=SHA256)
    assert one.path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=400000-", "bytes=400005-"]
    assert server.sent == len(CONTENT)  # no byte came twice


def test_interrupted_download_goes_on_at_the_next_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0]
    with pytest.raises(DownloadError, match="run the same command again"):
        get(server, tmp_path, retries=0)
    assert (tmp_path / "data.bin.part").stat().st_size == 100_000
    assert not (tmp_path / "data.bin").exists()
    server.cuts = []
    one = get(server, tmp_path)
    assert one.path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"
    assert names(tmp_path) == ["data.bin", "data.bin.sha256.json"]


def test_complete_part_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert get(server, tmp_path, sha256=SHA256).path.read_bytes() == CONTENT
    assert server.sent == 0


def test_file_that_changed_meanwhile_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0]
    with pytest.raises(DownloadError):
        get(server, tmp_path, retries=0)
    server.cuts = []
    server.files["/data.bin"] = CONTENT[::-1]
    assert get(server, tmp_path).path.read_bytes() == CONTENT[::-1]


def test_a_run_stopped_between_two_versions_of_a_file_does_not_mix_them(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cuts = [1000]
    with pytest.raises(DownloadError):
        get(server, tmp_path, retries=0)
    server.files["/data.bin"] = CONTENT[::-1]
    opened = Path.open

    def stopped(path: Path, mode: str = "r", **options: Any) -> IO[Any]:
        if path.name == "data.bin.part" and mode == "wb":
            raise KeyboardInterrupt
        return opened(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", stopped)
        with pytest.raises(KeyboardInterrupt):
            get(server, tmp_path)
    assert get(server, tmp_path).path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("ranges", [True, False])
def test_server_without_ranges_or_validators(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges, server.etags, server.cuts = ranges, False, [100_000]
    assert get(server, tmp_path).path.read_bytes() == CONTENT
    assert server.asked == [None, None]  # nothing to tell whether a part still belongs to the file
    server.cuts = [100_000]
    assert get(server, tmp_path / "b", sha256=SHA256).path.read_bytes() == CONTENT
    assert server.asked[2:] == [None, "bytes=100000-"]


@pytest.mark.parametrize("published", [True, False])
def test_a_part_of_another_file_or_from_elsewhere_is_not_spliced(
    server: Server, tmp_path: Path, published: bool
) -> None:
    """A server may answer a range request although its file has changed, or with bytes from another position."""
    server.careless = True
    for change in ("file", "range"):
        server.cuts, server.files["/data.bin"], server.shift = [100_000], CONTENT, 0
        folder = tmp_path / change
        with pytest.raises(DownloadError):
            get(server, folder, retries=0)
        if change == "file":
            server.files["/data.bin"] = CONTENT[::-1]
        else:
            server.shift = 7
        server.cuts = []
        sha256 = hashlib.sha256(server.files["/data.bin"]).hexdigest() if published else None
        assert get(server, folder, sha256=sha256).path.read_bytes() == server.files["/data.bin"]


def test_a_weak_validator_does_not_tell_that_a_file_is_the_same(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT[::-1][:1000])
    (tmp_path / "data.bin.part.etag").write_text("")
    assert get(server, tmp_path).path.read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_server_that_begins_anew_each_time_makes_no_headway(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [1000 * (i + 1) for i in range(60)]
    with pytest.raises(DownloadError, match="the part received is kept"):
        get(server, tmp_path, retries=2)
    assert len(server.asked) == 3


def test_an_empty_reply_is_no_file(server: Server, tmp_path: Path) -> None:
    server.files["/data.bin"] = b""
    with pytest.raises(DownloadError, match="sent nothing"):
        get(server, tmp_path)
    assert names(tmp_path) == []
    server.files["/data.bin"] = CONTENT
    empty = {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
    for record in (json.dumps(empty), '{"sha256": ""}', '{"sha256": null}', "[]", "damaged"):
        (tmp_path / "data.bin").write_bytes(b"")
        (tmp_path / "data.bin.sha256.json").write_text(record)
        assert get(server, tmp_path).path.read_bytes() == CONTENT
        assert json.loads((tmp_path / "data.bin.sha256.json").read_text())["sha256"] == SHA256
        (tmp_path / "data.bin").unlink()


def test_truncation_that_never_ends_gives_up(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000] * 50
    with pytest.raises(DownloadError, match="the part received is kept"):
        get(server, tmp_path, retries=2)
    assert len(server.asked) == 3  # the first made headway, two did not
    assert not (tmp_path / "data.bin").exists()


def test_size_that_is_not_the_published_one(server: Server, tmp_path: Path) -> None:
    file = SourceFile("data.bin", server.url(), None, len(CONTENT) + 1)
    with pytest.raises(DownloadError, match=f"{len(CONTENT)} bytes came instead of {len(CONTENT) + 1}"):
        download(file, tmp_path / "data.bin")
    assert not (tmp_path / "data.bin").exists()


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"is not the one published \(000000"):
        get(server, tmp_path, sha256="0" * 64)
    assert names(tmp_path) == []


def test_without_a_published_checksum_the_first_download_counts(server: Server, tmp_path: Path) -> None:
    assert not get(server, tmp_path).verified
    (tmp_path / "data.bin").write_bytes(b"spoilt")
    assert get(server, tmp_path).path.read_bytes() == CONTENT  # a damaged file is replaced
    (tmp_path / "data.bin").unlink()
    server.files["/data.bin"] = b"something else"
    with pytest.raises(DownloadError, match=r"recorded at the first download in data.bin.sha256.json"):
        get(server, tmp_path)
    assert names(tmp_path) == ["data.bin.sha256.json"]


def test_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="answers 404"):
        download(SourceFile("x", server.url("/nothing")), tmp_path / "x", wait=0.001)
    assert len(server.asked) == 1
    assert names(tmp_path) == []


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert get(server, tmp_path).path.read_bytes() == CONTENT
    server.statuses = [500] * 9
    with pytest.raises(DownloadError, match="answers 500"):
        get(server, tmp_path / "b", retries=2)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="refused"):
        download(SourceFile("x", "http://127.0.0.1:9/x"), tmp_path / "x", retries=1, wait=0.001)


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_data_set_of_several_files_and_an_archive(server: Server, tmp_path: Path) -> None:
    server.files = {"/a.csv": b"a", "/b.zip": zip_of({"readme.txt": b"read", "rows.json": b"[]"})}
    files = (
        SourceFile("set/a.csv", server.url("/a.csv")),
        SourceFile("set/b.zip", server.url("/b.zip"), unpack=True),
    )
    source = Source("set", "A set", files, "CC0", ("nobody",))
    fetched = fetch(source, tmp_path)
    assert [one.path for one in fetched] == [tmp_path / "set" / "a.csv", tmp_path / "set" / "rows.json"]
    assert (tmp_path / "set" / "readme.txt").read_bytes() == b"read"
    (tmp_path / "set" / "rows.json").unlink()
    assert fetch(source, tmp_path)[1].path.read_bytes() == b"[]"
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt", "..\\evil.txt"])
def test_members_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    (folder / "bad.zip").write_bytes(zip_of({"good.txt": b"good", name: b"evil"}))
    with pytest.raises(DownloadError, match="nothing was written"):
        unpack(folder / "bad.zip", folder)
    with tarfile.open(folder / "bad.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(DownloadError, match="nothing was written"):
        unpack(folder / "bad.tar.gz", folder)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["bad.tar.gz", "bad.zip"]


def test_links_of_an_archive_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(folder / "links.tar", "w") as archive:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
    assert unpack(folder / "links.tar", folder) == []
    (folder / "door").symlink_to(outside)
    (folder / "through.zip").write_bytes(zip_of({"door/evil.txt": b"evil"}))
    with pytest.raises(DownloadError, match="nothing was written"):
        unpack(folder / "through.zip", folder)
    assert list(outside.iterdir()) == []


def test_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(DownloadError, match="not an archive"):
        unpack(path, tmp_path)


def test_known_sources_are_complete() -> None:
    assert {"mp_e_form", "mp_20", "oqmd", "jarvis_dft_3d", "perov_5", "carbon_24"} == set(sources())
    assert {source.name for source in sources().values() if source.has_splits} == {"mp_20", "perov_5", "carbon_24"}
    for source in sources().values():
        assert source.licence
        assert source.citations
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32


@pytest.mark.parametrize(
    ("name", "found"), [("MP-20", "mp_20"), ("mp20", "mp_20"), ("matbench_mp_e_form", "mp_e_form"), ("OQMD", "oqmd")]
)
def test_names_are_found(name: str, found: str) -> None:
    assert find_source(name).name == found


def test_unknown_names() -> None:
    with pytest.raises(DataError, match="did you mean carbon_24"):
        find_source("carbon24s")
    with pytest.raises(DataError, match="choose one of"):
        find_source("xyz")


def test_members_never_replace_files_of_the_users(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(zip_of({"notes.txt": b"of the archive", "rows.json": b"[]"}))
    (tmp_path / "notes.txt").write_bytes(b"of the user's.")  # as long as the member
    with pytest.raises(DownloadError, match=r"notes\.txt is there already"):
        unpack(archive, tmp_path)
    assert (tmp_path / "notes.txt").read_bytes() == b"of the user's."
    (tmp_path / "notes.txt").unlink()
    files = [tmp_path / "notes.txt", tmp_path / "rows.json"]
    assert unpack(archive, tmp_path) == files
    archive.write_bytes(zip_of({"notes.txt": b"of the next archive", "rows.json": b"[]"}))
    assert unpack(archive, tmp_path) == files  # what came out of the last one is replaced
    assert files[0].read_bytes() == b"of the next archive"
    files[0].write_bytes(b"changed by the user")
    with pytest.raises(DownloadError, match="is there already"):
        unpack(archive, tmp_path)
    archive.write_bytes(zip_of({"set.zip": b"itself"}))
    with pytest.raises(DownloadError, match="is there already"):
        unpack(archive, tmp_path)


def test_an_archive_that_grows_without_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.data.unpack.LEAST_LIMIT", 1 << 20)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in ("a.bin", "b.bin"):
            bundle.writestr(name, bytes(1 << 20))
    with pytest.raises(DownloadError, match="100 times its size"):
        unpack(archive, tmp_path)
    assert not (tmp_path / "b.bin").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_not_called_a_bad_archive(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zip_of({"rows.json": bytes(100_000)}))
    with largest_file(5000), pytest.raises(DownloadError, match=r"file too large while set\.zip is unpacked"):
        unpack(tmp_path / "set.zip", tmp_path)
    assert names(tmp_path) == ["set.zip"]


def test_archives_without_files_or_with_a_password_are_one_sentence(server: Server, tmp_path: Path) -> None:
    source = Source("x", "X", (SourceFile("x.zip", server.url("/x.zip"), unpack=True),), "CC0", ())
    server.files["/x.zip"] = zip_of({})
    with pytest.raises(DownloadError, match="holds no files"):
        fetch(source, tmp_path)
    locked = bytearray(zip_of({"rows.json": b"[]"}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(signature) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(DownloadError, match="not an archive that can be unpacked"):
        unpack(tmp_path / "locked.zip", tmp_path)
