"""Child processes that share a queue of tasks. If one dies, only the task that it died of is lost.

A child is started without the working directory on its path, with one thread, and in its own process group, which is
killed as a whole; it ends with its parent, whatever ends that, and Ctrl-C reaches only the parent. Scripts need no
`__main__` guard, because the child does not import them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from lcoms.core.closing import Closing
from lcoms.core.errors import LcomsError
from lcoms.core.messages import Kind, Service, dumps, loads, receive, send

T = TypeVar("T")
A = TypeVar("A")
MAX_DEATHS_AT_START = 3
KILLED = -9  # exit code of a process killed by the system
EXIT_SECONDS = 10.0  # between the end of a child's output and its exit
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class WorkerDiedError(LcomsError):
    """The process that worked on a task died of it in every attempt.

    Attributes:
        code: its exit code; if negative, the signal that killed it.
        how: how it ended, in words.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        self.how = "was killed, perhaps because memory ran out" if code == KILLED else f"ended with code {code}"
        super().__init__(f"the process that worked on it {self.how}.")


class StartError(LcomsError):
    """Processes end before they are ready for any task.

    Attributes:
        code: exit code of the last one.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"processes end before they are ready (code {code}).")


@dataclass(eq=False)
class _Entry:
    """A task in progress or waiting."""

    number: int
    task: Any
    future: Future[Any]
    deaths: int = 0


@dataclass(eq=False)
class _Worker:
    """One child, and the tasks that it holds."""

    process: subprocess.Popen[bytes]
    held: dict[int, _Entry] = field(default_factory=dict)
    room: int = 0  # 0 before it is ready
    alone: bool = False  # it holds a task that a child may have died of

    def send(self, content: Any) -> None:
        """Send a message to the child; a dead child is noticed by its reader."""
        assert self.process.stdin is not None
        with suppress(OSError):
            send(self.process.stdin, dumps(content))

    def stop(self) -> int:
        """Kill the process with all that it has started, wait for it, and return its exit code."""
        if os.name == "posix":
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        code = self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        return code


class Pool(Closing, Generic[T, A]):
    """Children that do tasks; use it in a `with` statement. Its methods may be called from any thread.

    A child that dies returns its tasks. Each is then tried alone; a task that `attempts` children die of alone is given
    up with WorkerDiedError.

    Args:
        service: work of a child; a function of a module.
        setup: its argument in addition to the tasks.
        processes: maximum number of children; each is started when there is a task for it.
    """

    def __init__(self, service: Service, setup: Any, *, processes: int, attempts: int = 1) -> None:
        self._start_message, self._processes, self._attempts = (service, setup), processes, attempts
        self._lock = threading.RLock()
        self._waiting: deque[_Entry] = deque()
        self._suspects: deque[_Entry] = deque()
        self._workers: list[_Worker] = []
        self._readers: list[threading.Thread] = []
        self._settled: list[Callable[[], None]] = []
        self._failed: Exception | None = None
        self._closed = False
        self._n_tasks = self._early_deaths = 0

    def submit(self, task: T) -> Future[A]:
        """Submit a task.

        Returns:
            Future of its result. It raises the error that the service reported for the task, WorkerDiedError if
            processes died of it; StartError, OSError or the service's own error if no task can be done at all.

        Raises:
            OSError: the system starts no process.
        """
        future: Future[A] = Future()
        with self._lock:
            if self._failed is not None or self._closed:
                future.set_exception(self._failed or RuntimeError("the pool is closed"))
                return future
            future.set_running_or_notify_cancel()
            self._waiting.append(_Entry(self._n_tasks, task, future))
            self._n_tasks += 1
            if len(self._workers) < self._processes and not any(w.room and not w.held for w in self._workers):
                self._start()
            self._feed()
        return future

    def close(self) -> None:
        """End the children without waiting for tasks in progress, whose futures get an error."""
        with self._lock:
            self._closed = True
            left = self._take_unfinished()
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join()
        for entry in left:
            if not entry.future.done():
                entry.future.set_exception(self._failed or RuntimeError("the pool was closed"))

    @property
    def pids(self) -> list[int]:
        """Process ids of the children alive now."""
        with self._lock:
            return [worker.process.pid for worker in self._workers]

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "lcoms.core.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
        worker = _Worker(process)
        self._workers.append(worker)
        worker.send(self._start_message)
        reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, worker: _Worker) -> None:
        """Receive the messages of a child until it ends, in a separate thread."""
        assert worker.process.stdout is not None
        with worker.process.stdout as answers:
            while (message := receive(answers)) is not None:
                try:
                    self._locked(self._take, worker, *loads(message))
                except Exception as error:  # a message that cannot be read here
                    self._locked(self._take, worker, Kind.FAILED, error)
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=EXIT_SECONDS)
        self._locked(self._bury, worker, worker.stop())

    def _locked(self, act: Callable[..., None], worker: _Worker, *content: Any) -> None:
        """Act on a message of a child, and settle futures without the lock, since their callbacks may submit more."""
        with self._lock:
            if worker in self._workers:
                act(worker, *content)
                self._feed()
            settled, self._settled = self._settled, []
        for settle in settled:
            settle()

    def _take(self, worker: _Worker, kind: Kind, content: Any) -> None:
        if kind is Kind.READY:
            worker.room, self._early_deaths = content, 0
        elif kind is Kind.FAILED:
            self._fail(content)
        else:
            number, answer = content
            future = worker.held.pop(number).future
            worker.alone = worker.alone and bool(worker.held)
            self._settle(future.set_result if kind is Kind.ANSWER else future.set_exception, answer)

    def _feed(self) -> None:
        """Keep the children busy; suspects are given out one at a time, to a child without other tasks."""
        for worker in self._workers:
            if self._suspects and worker.room and not worker.held:
                worker.alone = True
                self._give(worker, self._suspects.popleft())
            while self._waiting and not self._suspects and not worker.alone and len(worker.held) < worker.room:
                self._give(worker, self._waiting.popleft())

    def _give(self, worker: _Worker, entry: _Entry) -> None:
        worker.held[entry.number] = entry
        worker.send((entry.number, entry.task))

    def _bury(self, worker: _Worker, code: int) -> None:
        self._workers.remove(worker)
        if not worker.room:
            self._early_deaths += 1
            if self._early_deaths >= MAX_DEATHS_AT_START:
                self._fail(StartError(code))
                return
        held = list(worker.held.values())
        if len(held) == 1:
            held[0].deaths += 1
            if held[0].deaths >= self._attempts:
                self._settle(held.pop().future.set_exception, WorkerDiedError(code))
        self._suspects.extend(held)
        if self._waiting or self._suspects:
            try:
                self._start()
            except OSError as error:  # too little memory, or too many processes
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End all tasks with the error, since none can be done."""
        self._failed = error
        for entry in self._take_unfinished():
            self._settle(entry.future.set_exception, error)
        for worker in self._workers:
            worker.held.clear()

    def _take_unfinished(self) -> list[_Entry]:
        """Return all tasks without a result, and empty the queues."""
        held = (entry for worker in self._workers for entry in worker.held.values())
        unfinished = [*self._waiting, *self._suspects, *held]
        self._waiting.clear()
        self._suspects.clear()
        return unfinished

    def _settle(self, settle: Callable[[Any], None], content: Any) -> None:
        self._settled.append(lambda: settle(content))


def child_environment() -> dict[str, str]:
    """Return the environment of our Python processes: our modules, none of the working directory, one thread.

    The working directory is kept if PYTHONPATH names it, or if this package was imported from it.
    """
    here, named = Path.cwd(), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    wanted = {str(Path(__file__).parents[2]), *filter(None, named)}
    path = [entry for entry in sys.path if entry and (entry in wanted or Path(entry).absolute() != here)]
    return os.environ | _ONE_THREAD | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}
