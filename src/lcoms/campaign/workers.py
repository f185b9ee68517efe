"""Who predicts: local processes, or a Dask cluster. Both take formulas and give `concurrent.futures.Future`."""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from types import TracebackType
from typing import Any

from lcoms.campaign.plan import Answer, Plan, predict_one
from lcoms.core.errors import ConfigError, LcomsError

TRIES = 2  # a formula whose process was killed is tried once more
CONNECT_SECONDS = 15


class WorkerDiedError(LcomsError):
    """The process that predicted a formula was killed, and so was that of the second try."""

    def __init__(self) -> None:
        super().__init__(
            f"the process that predicted it was killed {TRIES} times, perhaps for want of memory; it is tried again "
            "when the campaign is resumed."
        )


class Workers(ABC):
    """Processes that predict one formula at a time each."""

    @abstractmethod
    def submit(self, formula: str) -> Future[Answer]:
        """Begin a formula; the future raises WorkerDiedError where its process was killed at each try."""

    @abstractmethod
    def size(self) -> int:
        """How many formulas are predicted at once, now."""

    @abstractmethod
    def close(self) -> None:
        """End what is under way, without waiting for it to be done."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalWorkers(Workers):
    """Processes on this machine; one that dies is replaced, and costs only the formula that it dies of.

    Each has an executor of its own, as an executor with several processes is broken by the death of one of them.

    Args:
        plan: how formulas are predicted.
        processes: how many.

    Raises:
        ConfigError: less than one process.
    """

    def __init__(self, plan: Plan, *, processes: int) -> None:
        if processes < 1:
            raise ConfigError(f"at least one process is needed, not {processes}.")
        self._plan, self._processes = plan, processes
        self._own = threading.local()
        self._all: set[ProcessPoolExecutor] = set()
        self._lock, self._closed = threading.Lock(), False
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="lcoms-campaign")

    def submit(self, formula: str) -> Future[Answer]:
        return self._threads.submit(self._predict, formula)

    def size(self) -> int:
        return self._processes

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for executor in list(self._all):
            for process in list((executor._processes or {}).values()):
                process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for executor in self._all:
            executor.shutdown(wait=True, cancel_futures=True)

    def _predict(self, formula: str) -> Answer:
        """In the process that belongs to this thread."""
        for _ in range(TRIES):
            if self._closed:
                break
            try:
                return self._process().submit(predict_one, formula, self._plan).result()
            except BrokenProcessPool:
                self._replace()
        raise WorkerDiedError

    def _process(self) -> ProcessPoolExecutor:
        found: ProcessPoolExecutor | None = getattr(self._own, "executor", None)
        if found is None:
            found = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)
            with self._lock:
                self._all.add(found)
            self._own.executor = found
        return found

    def _replace(self) -> None:
        with self._lock:
            self._all.discard(self._own.executor)
        self._own.executor.shutdown(wait=True)
        self._own.executor = None


class DaskWorkers(Workers):
    """A Dask cluster, by the address of its scheduler; its workers may come and go.

    Args:
        plan: how formulas are predicted.
        address: such as tcp://host:8786.

    Raises:
        ConfigError: Dask is not installed, or no scheduler answers there.
    """

    def __init__(self, plan: Plan, address: str) -> None:
        if find_spec("distributed") is None:
            raise ConfigError("--scheduler needs Dask; type pip install 'lcoms[dask]' first.")
        from distributed import Client

        self._plan = plan
        try:
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address!r}; check the address, such as tcp://host:8786."
            ) from error
        self._executor: Any = self._client.get_executor(pure=False)

    def submit(self, formula: str) -> Future[Answer]:
        answer: Future[Answer] = Future()
        self._try(formula, answer, TRIES)
        return answer

    def size(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def close(self) -> None:
        self._executor.shutdown(wait=False)
        self._client.close()

    def _try(self, formula: str, answer: Future[Answer], tries: int) -> None:
        """Ask the cluster; where workers died of the formula until Dask gave it up, ask once more."""
        from distributed import KilledWorker

        def settle(asked: Future[Answer]) -> None:
            error = asked.exception() if not asked.cancelled() else _lost()
            if error is None:
                answer.set_result(asked.result())
            elif not isinstance(error, KilledWorker):
                answer.set_exception(error if isinstance(error, LcomsError) else _lost(error))
            elif tries > 1:
                self._try(formula, answer, tries - 1)
            else:
                answer.set_exception(WorkerDiedError())

        try:
            self._executor.submit(predict_one, formula, self._plan).add_done_callback(settle)
        except Exception as error:  # in a callback nobody would hear of it
            answer.set_exception(_lost(error))


def _lost(error: BaseException | None = None) -> ConfigError:
    why = "" if error is None else f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return ConfigError(
        f"the Dask cluster gave up{why}; what is finished is kept, and the same command goes on from it."
    )


def _begin() -> None:
    """Start of a local process: one thread, no interruption of its own, and no life after its parent's."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
