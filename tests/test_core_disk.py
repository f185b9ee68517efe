"""Files are whole or not there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import largest_file

from lcoms.core import disk
from lcoms.core.disk import append, require_writable, write_together, write_whole


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


def _write_often(path: Path, letter: str) -> None:
    for _ in range(100):
        write_whole(path, letter * 100_000)


def test_two_processes_that_write_one_file_leave_that_of_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_write_often, args=(path, letter)) for letter in "ab"]
    for process in others:
        process.start()
    seen = set()
    while any(process.is_alive() for process in others):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 100_000
            seen |= set(content)
    assert [process.exitcode for process in others] == [0, 0]
    assert seen <= set(b"ab")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


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
