"""Workers of a campaign: local processes or a Dask cluster; both take formulas and return futures."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from socket import create_connection
from typing import Any

from lcoms.campaign.plan import Answer, Plan, predict_one
from lcoms.core.bounds import require_processes
from lcoms.core.closing import Closing
from lcoms.core.errors import ConfigError, LcomsError
from lcoms.core.parallel import serve_each
from lcoms.core.pool import KILLED, Pool, WorkerDiedError

ATTEMPTS = 2  # a formula whose process was killed is tried once more
CONNECT_SECONDS = 15


class Workers(Closing):
    """Processes that predict one formula at a time each; closing them ends running predictions."""

    @abstractmethod
    def submit(self, formula: str) -> Future[Answer]:
        """Start a formula; the future raises WorkerDiedError if its process was killed at each attempt."""

    @abstractmethod
    def size(self) -> int:
        """Return the number of formulas that can currently be predicted at once."""


class LocalWorkers(Workers):
    """Processes on this machine; one that dies is replaced, and only the formula it was working on is lost.

    Args:
        plan: how formulas are predicted.
        processes: number of processes.

    Raises:
        ConfigError: the number is below one.
    """

    def __init__(self, plan: Plan, *, processes: int) -> None:
        require_processes(processes)
        self._processes = processes
        predict = partial(predict_one, plan=plan)
        self._pool = Pool[str, Answer](serve_each, (predict, None, ()), processes=processes, attempts=ATTEMPTS)

    def submit(self, formula: str) -> Future[Answer]:
        return self._pool.submit(formula)

    def size(self) -> int:
        return self._processes

    def close(self) -> None:
        self._pool.close()

    @property
    def pids(self) -> list[int]:
        """Ids of the running processes."""
        return self._pool.pids


class DaskWorkers(Workers):
    """A Dask cluster, given by the address of its scheduler; its workers may come and go.

    Args:
        plan: how formulas are predicted.
        address: such as tcp://host:8786.

    Raises:
        ConfigError: Dask is not installed, or no scheduler answers at the address.
    """

    def __init__(self, plan: Plan, address: str) -> None:
        if find_spec("distributed") is None:
            raise ConfigError("--scheduler needs Dask; type pip install 'lcoms[dask]' first.")
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port, parse_address

        self._plan = plan
        try:  # a client that cannot connect waits and reports long after its error
            place = get_address_host_port("://".join(parse_address(address)), strict=True)
            create_connection(place, timeout=CONNECT_SECONDS).close()
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address!r}; check the address, such as tcp://host:8786."
            ) from error
        self._executor: Any = self._client.get_executor(pure=False)

    def submit(self, formula: str) -> Future[Answer]:
        answer: Future[Answer] = Future()
        self._try(formula, answer, ATTEMPTS)
        return answer

    def size(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def close(self) -> None:
        self._executor.shutdown(wait=False)
        self._client.close()

    def _try(self, formula: str, answer: Future[Answer], attempts: int) -> None:
        """Submit to the cluster; if workers died of the formula until Dask gave it up, submit it again."""
        from distributed import KilledWorker

        def settle(asked: Future[Answer]) -> None:
            error = asked.exception() if not asked.cancelled() else _lost()
            if error is None:
                answer.set_result(asked.result())
            elif not isinstance(error, KilledWorker):
                answer.set_exception(error if isinstance(error, LcomsError) else _lost(error))
            elif attempts > 1:
                self._try(formula, answer, attempts - 1)
            else:
                answer.set_exception(WorkerDiedError(KILLED))

        try:
            self._executor.submit(predict_one, formula, self._plan).add_done_callback(settle)
        except Exception as error:  # in a callback it would go unnoticed
            answer.set_exception(_lost(error))


def _lost(error: BaseException | None = None) -> ConfigError:
    why = "" if error is None else f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return ConfigError(
        f"the Dask cluster gave up{why}; what is finished is kept, and the same command resumes from it."
    )
