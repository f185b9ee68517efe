"""Worker processes that share a queue of crystals. One that dies costs only the crystal that it dies of."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError, LcomsError, OracleError
from lcoms.relax.result import RelaxConfig, RelaxResult, Status, crystal_to_dict, result_from_dict
from lcoms.structure.crystal import Crystal

_ERRORS: dict[str, type[LcomsError]] = {"OracleError": OracleError, "ConfigError": ConfigError}
MAX_DEATHS_AT_START = 3
EXIT_SECONDS = 10.0  # between the end of a worker's answers and its own


class _Worker:
    """One process, and the thread that reads its answers into the common queue."""

    def __init__(self, oracle: str, config: RelaxConfig, answers: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lcoms.relax.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.held: list[int] = []
        self.ready = False
        self.room = 0
        self._answers = answers
        self.send({"oracle": oracle, "options": to_dict(config)})
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, content: dict[str, Any]) -> None:
        """Write a line; a worker that is dead is noticed by its reader."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(content, allow_nan=False).encode() + b"\n")
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self._answers.put((self, json.loads(line)))
        self._answers.put((self, None))

    def stop(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class Pool:
    """Relaxes crystals by number on several processes.

    A worker that dies gives its crystals back. Each of these is then tried alone; one that a worker dies of again gets
    the status "worker died".
    """

    def __init__(
        self,
        oracle: str,
        config: RelaxConfig,
        crystals: Sequence[Crystal],
        *,
        processes: int,
        emit: Callable[[int, RelaxResult], None],
    ) -> None:
        self._oracle, self._config, self._crystals, self._emit = oracle, config, crystals, emit
        self._processes = processes
        self._answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._waiting: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._workers: list[_Worker] = []
        self._early_deaths = 0

    def run(self, numbers: Sequence[int]) -> None:
        """Relax these; returns when each has been emitted.

        Raises:
            OracleError: the oracle cannot be made in a worker, or workers die before they are ready.
        """
        self._waiting.extend(numbers)
        try:
            self._workers = [self._start() for _ in range(min(self._processes, len(numbers)))]
            while self._waiting or self._suspects or any(worker.held for worker in self._workers):
                worker, answer = self._answers.get()
                if worker in self._workers:
                    self._take(worker, answer)
        finally:
            for worker in self._workers:
                worker.stop()

    def _start(self) -> _Worker:
        return _Worker(self._oracle, self._config, self._answers)

    def _take(self, worker: _Worker, answer: Any) -> None:
        if answer is None:
            self._bury(worker)
        elif "error" in answer:
            raise _ERRORS.get(answer["error"], OracleError)(answer["text"])
        elif "ready" in answer:
            worker.ready, worker.room, self._early_deaths = True, answer["batch_size"], 0
        else:
            worker.held.remove(answer["number"])
            self._emit(answer["number"], result_from_dict(answer["result"]))
        for other in self._workers:
            self._feed(other)

    def _feed(self, worker: _Worker) -> None:
        """Keep the worker's batch full; suspects are given out one at a time, to a worker with nothing else."""
        if not worker.ready:
            return
        if self._suspects and not worker.held:
            self._give(worker, self._suspects.popleft())
            worker.room = 1 if worker.room > 0 else worker.room
            return
        while self._waiting and not self._suspects and len(worker.held) < worker.room:
            self._give(worker, self._waiting.popleft())

    def _give(self, worker: _Worker, number: int) -> None:
        worker.held.append(number)
        worker.send({"number": number, "crystal": crystal_to_dict(self._crystals[number])})

    def _bury(self, worker: _Worker) -> None:
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=EXIT_SECONDS)
        worker.stop()
        code = worker.process.returncode
        if not worker.ready:
            self._early_deaths += 1
            if self._early_deaths >= MAX_DEATHS_AT_START:
                raise OracleError(f"processes with the oracle {self._oracle} end before they are ready (code {code}).")
        if len(worker.held) == 1:
            number = worker.held[0]
            how = "was killed, perhaps for want of memory" if code == -9 else f"ended with code {code}"
            reason = f"the process that relaxed it {how}."
            self._emit(number, RelaxResult.without_energy(self._crystals[number], Status.WORKER_DIED, reason))
        else:
            self._suspects.extend(worker.held)
        self._workers[self._workers.index(worker)] = self._start()
