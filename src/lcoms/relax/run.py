"""`relax_crystals`: crystals and an oracle in, one result for each out, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from lcoms.crystal import Composition, Crystal
from lcoms.errors import ConfigError, OracleError
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import make_oracle
from lcoms.relax.checkpoint import Checkpoint, crystal_key
from lcoms.relax.engine import relax_stream
from lcoms.relax.pool import Pool
from lcoms.relax.result import RelaxConfig, RelaxResult, Status

CRYSTALS_PER_PROCESS = 8  # fewer are done sooner than another process has started


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

    Each result is the same whatever the number of processes, the order of the crystals and interruptions, if the oracle
    gives the same numbers for a crystal alone and among others (CHGNet here does).

    Args:
        crystals: starts; equal ones are relaxed once.
        oracle: a name for `make_oracle`, or an oracle itself, which is then used in this process.
        config: when to stop, RelaxConfig() where None.
        processes: how many; None: as many as there are cores and work for them.
        checkpoint: a file that keeps each result as soon as it is there; a later call goes on from it.
        progress: called with each crystal's number in the list and its result, as they come, those found in the
            checkpoint first.

    Returns:
        One result a crystal, in order; failures carry a status, also where the oracle does not know the elements, and
        none is left out.

    Raises:
        OracleError: the oracle cannot be made.
        ConfigError: more than one process was asked for with an oracle object, or the checkpoint is of another run.
    """
    config = config or RelaxConfig()
    if processes is not None and processes < 1:
        raise ConfigError(f"at least one process is needed, not {processes}.")
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
    made = make_oracle(oracle) if isinstance(oracle, str) else oracle
    refused = _refused(made, {crystal.composition for crystal in crystals})
    missing = []
    for number in (numbers[0] for numbers in same.values()):
        reason = refused.get(crystals[number].composition)
        if reason is None:
            missing.append(number)
        else:
            settle(number, RelaxResult.without_energy(crystals[number], Status.ORACLE_FAILED, reason))
    pool = name if isinstance(oracle, str) and processes != 1 else None
    if checkpoint is None:
        _relax(crystals, missing, made, config, (pool, processes), settle)
    else:
        with Checkpoint(Path(checkpoint), name, config) as store:
            _resume(crystals, missing, made, config, (pool, processes), settle, store)
    return [results[number] for number in range(len(crystals))]


def _refused(oracle: EnergyOracle, compositions: Iterable[Composition]) -> dict[Composition, str]:
    """The compositions that the oracle cannot handle, each with its sentence."""
    refused = {}
    for composition in compositions:
        try:
            oracle.check([composition])
        except OracleError as error:
            refused[composition] = str(error)
    return refused


def _resume(
    crystals: Sequence[Crystal],
    numbers: Sequence[int],
    oracle: EnergyOracle,
    config: RelaxConfig,
    where: tuple[str | None, int | None],
    settle: Callable[[int, RelaxResult], None],
    store: Checkpoint,
) -> None:
    """Take what the checkpoint holds, relax the rest, and keep each result before it is told."""
    missing = []
    for number in numbers:
        known = store.get(crystals[number])
        if known is None:
            missing.append(number)
        else:
            settle(number, known)

    def keep(number: int, result: RelaxResult) -> None:
        if result.status is not Status.WORKER_DIED:  # another run may have the memory for it
            store.put(crystals[number], result)
        settle(number, result)

    _relax(crystals, missing, oracle, config, where, keep)


def _relax(
    crystals: Sequence[Crystal],
    numbers: Sequence[int],
    oracle: EnergyOracle,
    config: RelaxConfig,
    where: tuple[str | None, int | None],
    emit: Callable[[int, RelaxResult], None],
) -> None:
    """Relax those of these numbers: in other processes where the oracle's name is given, else here."""
    name, processes = where
    if processes is None:
        processes = min(_cores(), -(-len(numbers) // CRYSTALS_PER_PROCESS))
    if name is not None and processes > 1:
        Pool(name, config, crystals, processes=processes, emit=emit).run(numbers)
        return
    left = iter(numbers)

    def take(room: int, idle: bool) -> list[tuple[int, Crystal]]:  # noqa: ARG001 - all crystals are at hand
        return [(number, crystals[number]) for number in islice(left, room)]

    relax_stream(oracle, config, take, emit)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
