"""`relax_crystals`: relax many crystals with an oracle and return one result for each, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from math import isnan
from pathlib import Path
from queue import SimpleQueue

from lcoms.core.bounds import require_processes
from lcoms.core.errors import MACHINE, ConfigError, OracleError
from lcoms.core.pool import Pool, StartError, WorkerDiedError
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import make_oracle
from lcoms.relax.checkpoint import Checkpoint, crystal_key
from lcoms.relax.engine import relax_stream
from lcoms.relax.result import RelaxConfig, RelaxResult, Status
from lcoms.relax.worker import serve
from lcoms.structure.crystal import Crystal

CRYSTALS_PER_PROCESS = 8  # fewer finish before another process has started


def relax_crystals(
    crystals: Sequence[Crystal],
    oracle: str | EnergyOracle,
    config: RelaxConfig | None = None,
    *,
    processes: int | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, RelaxResult], None] | None = None,
) -> list[RelaxResult]:
    """Relax positions and cells of many crystals at once.

    Results do not depend on the number of processes, the order of the crystals or interruptions if the oracle gives the
    same numbers for a crystal alone and in a batch (as CHGNet does here).

    Args:
        crystals: start structures; identical ones are relaxed once.
        oracle: a name for `make_oracle`, or an oracle object, which is then used in this process.
        config: when to stop; None is RelaxConfig().
        processes: number of processes; None uses as many as there are cores and work for them.
        checkpoint: file that stores each result as soon as it is ready; a later call continues from it. Crystals whose
            process died, that ran out of memory, or that the oracle could not evaluate at all are tried again.
        progress: called with each crystal's index in the list and its result as they finish, those from the checkpoint
            first.

    Returns:
        One result per crystal, in order; failures carry a status, even where the oracle does not know the elements, and
        no crystal is left out.

    Raises:
        OracleError: the oracle cannot be made.
        ConfigError: several processes are requested with an oracle object, or the checkpoint belongs to another run.
    """
    config = config or RelaxConfig()
    require_processes(processes)
    if not isinstance(oracle, str) and (processes or 1) > 1:
        raise ConfigError("an oracle object stays in its process; give its name to use several processes.")
    same: dict[str, list[int]] = {}
    for number, crystal in enumerate(crystals):
        same.setdefault(crystal_key(crystal), []).append(number)
    results: dict[int, RelaxResult] = {}

    def settle(number: int, result: RelaxResult) -> None:
        for twin in same[crystal_key(crystals[number])]:
            results[twin] = result
            if progress is not None:
                progress(twin, result)

    name = oracle if isinstance(oracle, str) else oracle.name
    firsts = [numbers[0] for numbers in same.values()]
    if checkpoint is None:
        _relax(crystals, firsts, oracle, config, processes, settle)
    else:
        with Checkpoint(Path(checkpoint), name, config) as store:
            _resume(crystals, firsts, oracle, config, processes, settle, store)
    return [results[number] for number in range(len(crystals))]


def _resume(
    crystals: Sequence[Crystal],
    numbers: Sequence[int],
    oracle: str | EnergyOracle,
    config: RelaxConfig,
    processes: int | None,
    settle: Callable[[int, RelaxResult], None],
    store: Checkpoint,
) -> None:
    """Take the results in the checkpoint, relax the other crystals, and store each result before it is reported."""
    missing = []
    for number in numbers:
        known = store.get(crystals[number])
        if known is None:
            missing.append(number)
        else:
            settle(number, known)

    def keep(number: int, result: RelaxResult) -> None:
        if not _transient(result):
            store.put(crystals[number], result)
        settle(number, result)

    _relax(crystals, missing, oracle, config, processes, keep)


def _transient(result: RelaxResult) -> bool:
    """Return whether another run may succeed: with more memory, or with what the oracle lacked at its first call."""
    failed = result.status is Status.ORACLE_FAILED
    lacked = failed and (isnan(result.start_energy) or MACHINE in result.reason)
    return lacked or result.status is Status.WORKER_DIED


def _relax(
    crystals: Sequence[Crystal],
    numbers: Sequence[int],
    oracle: str | EnergyOracle,
    config: RelaxConfig,
    processes: int | None,
    emit: Callable[[int, RelaxResult], None],
) -> None:
    """Relax the crystals of these indices, here or in other processes; the oracle is then loaded only in those."""
    if not numbers:
        return
    if processes is None:
        processes = min(_cores(), -(-len(numbers) // CRYSTALS_PER_PROCESS))
    if isinstance(oracle, str) and processes > 1:
        _relax_elsewhere(crystals, numbers, oracle, config, processes, emit)
        return
    made = make_oracle(oracle) if isinstance(oracle, str) else oracle
    left = iter(numbers)

    def take(room: int, idle: bool) -> list[tuple[int, Crystal]]:  # noqa: ARG001 - all crystals are at hand
        return [(number, crystals[number]) for number in islice(left, room)]

    relax_stream(made, config, take, emit)


def _relax_elsewhere(
    crystals: Sequence[Crystal],
    numbers: Sequence[int],
    oracle: str,
    config: RelaxConfig,
    processes: int,
    emit: Callable[[int, RelaxResult], None],
) -> None:
    """Relax crystals in several processes; results are emitted in this one as they finish."""
    done: SimpleQueue[tuple[int, Future[RelaxResult]]] = SimpleQueue()

    def put(number: int, future: Future[RelaxResult]) -> None:
        done.put((number, future))

    with Pool[Crystal, RelaxResult](serve, (oracle, config), processes=processes) as pool:
        for number in numbers:
            pool.submit(crystals[number]).add_done_callback(partial(put, number))
        for _ in numbers:
            number, future = done.get()
            try:
                result = future.result()
            except WorkerDiedError as error:
                reason = f"the process that relaxed it {error.how}."
                result = RelaxResult.without_energy(crystals[number], Status.WORKER_DIED, reason)
            except StartError as error:
                raise OracleError(
                    f"processes with the oracle {oracle} end before they are ready (code {error.code})."
                ) from error
            emit(number, result)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
