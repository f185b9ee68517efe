"""Entries survive any kill, belong to one run, and are read back unchanged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lcoms.core.errors import ConfigError, DataError
from lcoms.core.journal import Journal, SharedJournal

HEADER = {"of": "numbers", "options": {"step": 1}}


def numbers(path: Path, header: dict[str, object] | None = None) -> Journal[complex]:
    return Journal(path, lambda z: [z.real, z.imag], lambda pair: complex(*pair), what="number", header=header)


@pytest.mark.parametrize("header", [None, HEADER])
def test_entries_come_back_with_their_type(tmp_path: Path, header: dict[str, object] | None) -> None:
    path = tmp_path / "made" / "n.jsonl"
    with numbers(path, header) as journal:
        assert journal.read() == []
        journal.append(1 + 2j)
        journal.append(0.1 - 3j)
    with numbers(path, header) as journal:
        assert journal.read() == [1 + 2j, 0.1 - 3j]


@pytest.mark.parametrize("header", [None, HEADER])
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_takes_the_rest_again(
    tmp_path: Path, header: dict[str, object] | None
) -> None:
    path = tmp_path / "n.jsonl"
    entries = [complex(n, -n) for n in range(3)]
    with numbers(path, header) as journal:
        for entry in entries:
            journal.append(entry)
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        with numbers(path, header) as journal:
            found = journal.read()
            assert found == entries[: max(0, content[:length].count(b"\n") - (header is not None))]
            for entry in entries[len(found) :]:
                journal.append(entry)
        assert path.read_bytes() == content


def test_another_run_or_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    with numbers(path, HEADER) as journal:
        journal.append(1j)
        with pytest.raises(ConfigError, match="in use by another run"):
            numbers(path, HEADER)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="step is 1 there, 2 here"):
        numbers(path, HEADER | {"options": {"step": 2}})
    with pytest.raises(DataError, match="line 1, is no number"):
        numbers(path)
    assert path.read_bytes() == before
    for broken in (b'{"of": "numbers"}\n', b"nonsense\n", b"[[[[\n", b"[1.0, 2.0]\n"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="line 1"):
            numbers(path, HEADER)
        assert path.read_bytes() == broken
    path.write_bytes(before + b"[1]\n[1, 2, 3]\n")
    with pytest.raises(DataError, match="line 4, is no number"):
        numbers(path, HEADER)


def test_a_text_without_a_line_end_is_not_taken_for_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text("notes of the user")
    for header in (None, HEADER):
        with pytest.raises(DataError, match="line 1, is no"):
            numbers(path, header)
        assert path.read_text() == "notes of the user"


def test_numbers_that_json_does_not_have_are_refused_and_leave_no_line(tmp_path: Path) -> None:
    with numbers(tmp_path / "n.jsonl") as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.append(complex("nan"))
    assert (tmp_path / "n.jsonl").read_bytes() == b""


WRITER = """
import sys
from pathlib import Path
from lcoms.core.journal import Journal
with Journal(Path(sys.argv[1]), int, int, what="number") as journal:
    n = len(journal.read())
    while True:
        journal.append(n)
        n += 1
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_stored(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    for wanted in (20, 60):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not (path.exists() and path.read_bytes().count(b"\n") >= wanted):
            time.sleep(0.002)
        stored = path.read_bytes().count(b"\n")
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        with Journal(path, int, int, what="number") as journal:
            found = journal.read()
        assert found == list(range(len(found)))
        assert len(found) >= stored >= wanted


def shared(path: Path) -> SharedJournal[str]:
    return SharedJournal(path, lambda text: {"text": text}, lambda content: content["text"])


def _write(path: Path, name: str) -> None:
    for n in range(25):
        shared(path).append(f"{name}{n}" * 50)


def test_several_runs_append_to_one_file_and_no_line_comes_into_another(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    assert shared(path).read() == []
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(shared(path).read()) == sorted(f"{name}{n}" * 50 for name in "ab" for n in range(25))


def test_a_torn_line_among_others_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    shared(path).append("first")
    with path.open("ab") as file:
        file.write(b'{"text": "to')
    shared(path).append("second")
    assert shared(path).read() == ["first", "second"]


def test_a_number_out_of_range_makes_a_line_unreadable(tmp_path: Path) -> None:
    path, large = tmp_path / "n.jsonl", b"9" * 30 + b"\n"
    path.write_bytes(b"1\n" + large + b"2\n")
    assert SharedJournal(path, int, np.int64).read() == [1, 2]
    with pytest.raises(DataError, match="line 2, is no number"):
        Journal(path, int, np.int64, what="number")
