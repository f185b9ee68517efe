"""A campaign: distribute formulas to workers and store their answers, until all are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple

import numpy as np

from lcoms.campaign.folder import CampaignFolder, FormulaStatus
from lcoms.campaign.plan import Answer
from lcoms.campaign.workers import ATTEMPTS, Workers
from lcoms.core.pool import WorkerDiedError

AHEAD = 2  # formulas submitted per worker, so that none is idle
PATIENCE = 5.0  # seconds after which the number of workers is checked again
DIED = (
    f"the process that predicted it was killed {ATTEMPTS} times, perhaps because memory ran out; it is retried "
    "when the campaign is resumed."
)


class Finished(NamedTuple):
    """A finished formula.

    Attributes:
        reason: why it failed; empty if it succeeded.
        here: whether this run did it; otherwise it was done before, or by another run.
    """

    formula: str
    status: FormulaStatus
    reason: str
    here: bool


def run_campaign(
    formulas: Sequence[str],
    workers: Workers,
    folder: CampaignFolder,
    *,
    retry_failed: bool = False,
    progress: Callable[[Finished], None] | None = None,
) -> None:
    """Predict the formulas that are not finished yet; each is on disk before it is reported.

    If another run is working in the folder, formulas are taken in random order, so that the two rarely do the same.

    Args:
        formulas: reduced formulas, each once.
        retry_failed: also try those that failed before; those that failed because of the machine are always tried.
        progress: called with each formula; with those done before, when their turn comes.

    Raises:
        LcomsError: the folder cannot be written, or no worker can predict anything.
    """
    tell = progress or (lambda _: None)
    order = list(formulas) if folder.alone else np.random.default_rng().permutation(formulas).tolist()
    waiting = _unfinished(order, folder, retry_failed, tell)
    running: dict[Future[Answer], str] = {}
    while True:
        for formula in _some(waiting, AHEAD * workers.size() - len(running)):
            running[workers.submit(formula)] = formula
        if not running:
            return
        finished, _ = wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        for future in finished:
            _settle(running.pop(future), future, folder, tell)


def _unfinished(
    formulas: Iterable[str], folder: CampaignFolder, retry_failed: bool, tell: Callable[[Finished], None]
) -> Iterator[str]:
    """Yield unfinished formulas, each checked when its turn comes, as another run may have finished it by then."""
    for formula in formulas:
        failure = None if retry_failed else folder.failure(formula)
        if folder.is_done(formula):
            tell(Finished(formula, FormulaStatus.DONE, "", here=False))
        elif failure is not None:
            tell(Finished(formula, failure.status, failure.reason, here=False))
        else:
            yield formula


def _some(waiting: Iterator[str], n: int) -> Iterator[str]:
    for _ in range(n):
        formula = next(waiting, None)
        if formula is None:
            return
        yield formula


def _settle(formula: str, future: Future[Answer], folder: CampaignFolder, tell: Callable[[Finished], None]) -> None:
    """Store the result of a formula, then report it."""
    try:
        answer = future.result()
    except WorkerDiedError:
        folder.keep_failure(formula, FormulaStatus.DIED, DIED, None)
        tell(Finished(formula, FormulaStatus.DIED, DIED, here=True))
        return
    if answer.files:
        folder.keep(formula, answer.files, answer.seconds)
        tell(Finished(formula, FormulaStatus.DONE, "", here=True))
    else:
        status = FormulaStatus.STOPPED if answer.passing else FormulaStatus.FAILED
        folder.keep_failure(formula, status, answer.reason, answer.seconds)
        tell(Finished(formula, status, answer.reason, here=True))
