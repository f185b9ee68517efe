"""Files are complete or absent."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pool_services as services
import pytest
from faults import largest_file

from lcoms.core import disk
from lcoms.core.disk import (
    append,
    replace_folder,
    require_no_campaign,
    require_writable,
    write_together,
    write_whole,
)
from lcoms.core.errors import ConfigError


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "Ångström\n")
    assert path.read_bytes() == "Ångström\n".encode()
    with largest_file(4), pytest.raises(OSError, match=str(path)) as raised:
        write_whole(path, b"longer than four bytes")
    assert raised.value.filename == str(path)
    assert {name.name: name.read_bytes() for name in path.parent.iterdir()} == {"file.txt": "Ångström\n".encode()}
    write_whole(path, memoryview(b"bytes"))
    assert path.read_bytes() == b"bytes"


def test_files_that_belong_together_are_all_new_or_all_old(tmp_path: Path) -> None:
    write_together(tmp_path, {"a": "1", "b": "2"})
    with largest_file(4), pytest.raises(OSError, match="b"):
        write_together(tmp_path, {"a": "3", "b": "too long for it"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "2"}


def test_two_processes_that_write_one_file_leave_that_of_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=services.write_often, args=(path, letter)) for letter in "ab"]
    for process in others:
        process.start()
    seen = set()
    while any(process.is_alive() for process in others):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 100_000
            seen |= set(content)
        time.sleep(0.001)
    assert [process.exitcode for process in others] == [0, 0]
    assert seen <= set(b"ab")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_two_threads_that_write_one_file_leave_that_of_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: write_whole(path, "ab"[n % 2] * 100_000), range(100)))
    assert path.read_text() in ("a" * 100_000, "b" * 100_000)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("old")
    (tmp_path / "link").symlink_to(Path("elsewhere") / "file")
    require_writable(tmp_path / "link")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_or_device_is_written_to_and_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        require_writable(pipe)
        write_whole(pipe, "through it")
        assert pipe.is_fifo()
        assert os.read(reader, 100) == b"through it"
    finally:
        os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_what_a_killed_process_left_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, living = (tmp_path / f".a.txt.{disk.MACHINE}-{pid}.part" for pid in (ended.pid, os.getppid()))
    mine = tmp_path / ".notes.part"
    for path in (left, living, mine):
        path.write_text("half")
    write_whole(tmp_path / "b.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"b.txt", living.name, mine.name}


def test_a_line_goes_to_the_end_or_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("a+b", buffering=0) as file:
        append(file, path, b"first\n")
        with largest_file(10), pytest.raises(OSError, match=str(path)):
            append(file, path, b"second\n")
    assert path.read_bytes() == b"first\nseco"


def test_whether_a_result_can_be_written_is_known_before(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b.json")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file" / "b.json", tmp_path / "a"):
        with pytest.raises(OSError, match=str(tmp_path)) as raised:
            require_writable(wrong)
        assert raised.value.filename == str(wrong)


OURS = ("rank-*.cif", "results.json")
OLD, NEW = (
    {"rank-01.cif": "old", "rank-02.cif": "old", "results.json": "old"},
    {"rank-01.cif": "new", "results.json": "new"},
)


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=[True, False], ids=["names exchanged", "two steps"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with an atomic exchange of names, and without it, as on systems that lack it."""
    if not request.param:
        monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    return bool(request.param)


@pytest.mark.usefixtures("exchange")
def test_a_folder_is_replaced_as_a_whole_and_what_the_user_keeps_in_it_stays(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "NaCl"
    replace_folder(folder, OLD, ours=OURS)
    assert read(folder) == OLD
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    replace_folder(folder, NEW, ours=OURS)
    assert read(folder) == NEW | {"notes/mine.txt": "mine"}
    with largest_file(4), pytest.raises(OSError, match="NaCl") as raised:
        replace_folder(folder, OLD | {"results.json": "longer than four bytes"}, ours=OURS)
    assert raised.value.filename == str(folder)
    assert read(folder) == NEW | {"notes/mine.txt": "mine"}
    assert [path.name for path in folder.parent.iterdir()] == ["NaCl"]


def test_a_file_or_a_link_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the user's")
    with pytest.raises(OSError, match="file"):
        replace_folder(tmp_path / "file", NEW, ours=OURS)
    assert read(tmp_path) == {"file": "of the user's"}
    replace_folder(tmp_path / "there", OLD, ours=OURS)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    replace_folder(tmp_path / "link", NEW, ours=OURS)
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "there") == NEW


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from lcoms.core import disk
moments, rename = itertools.count(), disk.os.rename
def deadly(*arguments):
    for act in (lambda *_: None, rename):
        act(*arguments)
        if next(moments) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
disk.os.rename = deadly
disk._exchange = lambda *_: False
files = {"rank-01.cif": "new", "results.json": "new"}
disk.replace_folder(Path(sys.argv[1]), files, ours=("rank-*.cif", "results.json"))
"""


@pytest.mark.parametrize("moment", range(4))
def test_a_writer_killed_at_any_rename_leaves_the_old_folder_or_the_new_one(moment: int, tmp_path: Path) -> None:
    folder = tmp_path / "NaCl"
    replace_folder(folder, OLD, ours=OURS)
    code = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(moment)], check=False).returncode
    assert code == -9
    disk._sweep.cache_clear()
    replace_folder(tmp_path / "ZnO", NEW, ours=OURS)  # any later writer sweeps up
    assert sorted(path.name for path in tmp_path.iterdir()) == ["NaCl", "ZnO"]
    assert read(folder) == (NEW if moment == 3 else OLD)


OFTEN = """
import sys
from pathlib import Path
from lcoms.core import disk
if sys.argv[3] == "False":
    disk._exchange = lambda *_: False
for number in range(30):
    names = [f"rank-{i:02d}.cif" for i in range(1 + number % 5)] + ["results.json"]
    disk.replace_folder(Path(sys.argv[1]), dict.fromkeys(names, sys.argv[2]), ours=("rank-*.cif", "results.json"))
"""


def test_two_writers_at_once_never_mix(exchange: bool, tmp_path: Path) -> None:
    folder, missing = tmp_path / "NaCl", 0
    replace_folder(folder, OLD, ours=OURS)
    (folder / "mine.txt").write_text("mine")
    writers = [subprocess.Popen([sys.executable, "-c", OFTEN, str(folder), letter, str(exchange)]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        missing += not (folder / "results.json").exists()
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert missing == 0 or not exchange
    found = read(folder)
    assert found.pop("mine.txt") == "mine"
    assert len(set(found.values())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["NaCl"]


def test_a_campaigns_folder_is_none_for_other_results(tmp_path: Path) -> None:
    (tmp_path / "campaign.json").write_text('{"a file": "of the user\'s"}')
    require_no_campaign(tmp_path)
    (tmp_path / "campaign.json").write_text('{"lcoms_campaign": 1}')
    for place in (tmp_path, tmp_path / "NaCl"):
        with pytest.raises(ConfigError, match="--out"):
            require_no_campaign(place)
    require_no_campaign(tmp_path / "deep" / "er")
