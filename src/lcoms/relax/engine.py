"""Many independent relaxations with one oracle; the batch is refilled as crystals finish.

A crystal's result does not depend on the other crystals as long as the oracle's numbers do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from lcoms.core.errors import MACHINE, OracleError, is_want
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.relax.optimizer import Relaxation
from lcoms.relax.result import RelaxConfig, RelaxResult
from lcoms.structure.crystal import Composition, Crystal

Key = TypeVar("Key", bound=Hashable)
log = logging.getLogger(__name__)


def relax_stream(
    oracle: EnergyOracle,
    config: RelaxConfig,
    take: Callable[[int, bool], Sequence[tuple[Key, Crystal]]],
    emit: Callable[[Key, RelaxResult], None],
) -> None:
    """Relax all crystals that `take` returns, in batches of the oracle's size.

    Args:
        oracle: its exceptions and NaN end only the crystals that cause them.
        config: options for all crystals.
        take: called with the number of free places in the batch, and whether the batch is empty; returns crystals with
            unique keys. Returning none when the batch is empty ends the stream.
        emit: called with the key and result of each crystal as soon as it is finished.
    """
    live: dict[Key, Relaxation] = {}
    refusals: dict[Composition, str] = {}
    while True:
        room = max(1, oracle.batch_size) - len(live)
        new = take(room, not live) if room > 0 else ()
        if not live and not new:
            return
        for key, crystal in new:
            relaxation = Relaxation(crystal, config)
            refusal = _refusal(oracle, crystal.composition, refusals)
            result = relaxation.failed(refusal) if refusal else relaxation.check_start()
            if result is None:
                live[key] = relaxation
            else:
                emit(key, result)
        answers = evaluate_each(oracle, [relaxation.crystal for relaxation in live.values()])
        for (key, relaxation), answer in zip(list(live.items()), answers, strict=True):
            result = relaxation.tell(answer)
            if result is not None:
                del live[key]
                emit(key, result)


def _refusal(oracle: EnergyOracle, composition: Composition, known: dict[Composition, str]) -> str:
    """Return why the oracle cannot handle a composition; empty where it can."""
    if composition not in known:
        try:
            oracle.check([composition])
            known[composition] = ""
        except OracleError as error:
            known[composition] = str(error)
    return known[composition]


def evaluate_each(oracle: EnergyOracle, crystals: Sequence[Crystal]) -> list[Evaluation]:
    """Return the oracle's records; if it raises, evaluate crystals one by one and give those that fail a status."""
    if not crystals:
        return []
    try:
        answers = oracle.evaluate(crystals)
        if len(answers) != len(crystals):
            raise ValueError(f"{len(answers)} records for {len(crystals)} crystals")
    except Exception as error:  # any exception of an oracle concerns its crystals only
        if len(crystals) > 1:
            return [answer for crystal in crystals for answer in evaluate_each(oracle, [crystal])]
        log.debug("oracle %s raised", oracle.name, exc_info=True)
        text = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
        return [Evaluation.failed(f"{MACHINE}: {text}" if is_want(error) else text, crystals[0].n_atoms)]
    return [_sound(answer, crystal) for answer, crystal in zip(answers, crystals, strict=True)]


def _sound(answer: Evaluation, crystal: Crystal) -> Evaluation:
    """Return the record, or one with a failure status where its numbers cannot be used."""
    if not answer.ok:
        return answer
    if np.shape(answer.forces) != (crystal.n_atoms, 3) or np.shape(answer.stress) != (3, 3):
        return Evaluation.failed("the oracle gave forces or a stress of another shape.", crystal.n_atoms)
    return answer
