"""Child processes work however they are started, lose only the task that kills them, and never outlive their parent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pool_services as services
import pytest

from lcoms.core.errors import OracleError
from lcoms.core.parallel import parallel_map, serve_each
from lcoms.core.pool import Pool, StartError, WorkerDiedError, child_environment


@pytest.fixture(autouse=True)
def path_for_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_answers_come_in_the_order_of_the_items() -> None:
    assert list(parallel_map(services.square, range(20), processes=2)) == [n * n for n in range(20)]
    assert sorted(parallel_map(services.square, range(9), processes=2, in_order=False)) == [n * n for n in range(9)]
    assert list(parallel_map(services.square, [], processes=2)) == []


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1000):
            taken.append(n)
            yield n

    answers = parallel_map(services.square, items(), processes=1)
    assert next(answers) == 0
    assert len(taken) < 10
    answers.close()  # type: ignore[attr-defined]


def test_a_child_is_prepared_once() -> None:
    answers = parallel_map(services.add_remembered, range(4), processes=1, prepare=services.remember, arguments=(10,))
    assert list(answers) == [10, 11, 12, 13]


def test_what_a_task_raises_comes_to_the_parent_and_the_others_are_done() -> None:
    with Pool[int, int](serve_each, (services.refuse, None, ()), processes=1) as pool:
        futures = [pool.submit(n) for n in range(4)]
        with pytest.raises(OracleError, match="two is refused"):
            futures[2].result()
        assert [futures[n].result() for n in (0, 1, 3)] == [0, 1, 3]


def test_a_death_costs_only_the_task() -> None:
    with Pool[int, int](serve_each, (services.die_of_seven, None, ()), processes=2) as pool:
        futures = [pool.submit(n) for n in range(12)]
        with pytest.raises(WorkerDiedError) as caught:
            futures[7].result()
        assert caught.value.code == -9
        assert [futures[n].result() for n in range(12) if n != 7] == [n for n in range(12) if n != 7]


def test_a_task_may_have_a_second_try(tmp_path: Path) -> None:
    (once,) = parallel_map(services.die_once, [str(tmp_path / "a")], processes=1, attempts=2)
    assert once == "lives"
    with pytest.raises(WorkerDiedError, match="code 3"):
        list(parallel_map(services.die_once, [str(tmp_path / "b")], processes=1))


def test_children_that_never_start_are_an_error() -> None:
    with pytest.raises(StartError, match="code 7"):
        list(parallel_map(services.square, range(4), processes=2, prepare=services.leave))
    with pytest.raises(OracleError, match="nothing to prepare"):
        list(parallel_map(services.square, range(4), processes=2, prepare=services.fail_to_prepare))


def test_a_child_that_cannot_be_replaced_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is short when the system kills a child, so that another may not start."""
    start, started = subprocess.Popen, []

    def once(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        if started:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        started.append(start(*arguments, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", once)
    with Pool[int, int](serve_each, (services.die_of_seven, None, ()), processes=1) as pool:
        first, second = pool.submit(7), pool.submit(8)
        with pytest.raises(WorkerDiedError):
            first.result(timeout=60)
        with pytest.raises(OSError, match="Cannot allocate"):
            second.result(timeout=60)


def test_what_is_printed_does_not_come_among_the_answers() -> None:
    assert list(parallel_map(services.print_and_square, range(3), processes=1)) == [0, 1, 4]


def test_modules_of_the_working_directory_are_not_taken_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "signal", "queue", "lcoms", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the working directory')\n")
    monkeypatch.chdir(tmp_path)
    for entry in ("", str(tmp_path), "."):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path, entry])
            (found,) = parallel_map(services.surroundings, [0], processes=1)
            assert found["safe"]
            assert found["interrupt"]
            assert not found["random"].startswith(str(tmp_path))
            assert not {"", ".", str(tmp_path)} & set(found["path"])


def test_a_working_directory_that_is_named_in_the_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert str(tmp_path) in child_environment()["PYTHONPATH"].split(os.pathsep)


PARENT = """
import sys
sys.path.insert(0, {tests!r})
import pool_services
from lcoms.core.parallel import parallel_map
try:
    list(parallel_map(pool_services.start_a_sleeper, [{folder!r}] * 2, processes=2))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent_whatever_ends_it(way: signal.Signals, tmp_path: Path) -> None:
    script = PARENT.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, start_new_session=True)
    assert _within(300, lambda: len(list(tmp_path.iterdir())) == 2)
    pids = [int(pid) for file in tmp_path.iterdir() for pid in file.name.split("-")]
    assert len(pids) == 4
    assert all(map(_lives, pids))
    os.killpg(parent.pid, way)
    _, said = parent.communicate(timeout=300)
    assert parent.returncode == (130 if way == signal.SIGINT else -way)
    assert said == b""
    assert _within(120, lambda: not any(map(_lives, pids)))


def _within(seconds: float, holds) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
