"""All comparisons that a score needs, each made once with a time limit, in one process or several.

A comparison that takes too long, or that pymatgen cannot make, counts as no match and carries a note.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from lcoms.core.errors import DataError
from lcoms.core.parallel import parallel_map
from lcoms.core.pool import WorkerDiedError
from lcoms.evaluate.answers import Answer
from lcoms.evaluate.pairing import Case
from lcoms.evaluate.validity import invalid_because
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import LOOSE, STRICT, matches, rmsd
from lcoms.structure.symmetry import same_space_group, space_group_number

TOO_SLOW = "comparison took too long"
_FEW = 200  # comparisons that take no longer than the start of a second process


class OutOfTime(BaseException):
    """Time limit exceeded; not an Exception, so that no handler in the interrupted code catches it."""


@dataclass(frozen=True)
class Verdict:
    """Comparison of one prediction with one known structure.

    Attributes:
        name: of the prediction.
        rank: its rank among those for this structure, from 1 on.
        given_rank: rank given in the prediction's file; 0 if it gives none.
        rms: over (volume / atom)^(1/3), at loose tolerances; None if they do not match.
        strict: whether they match at pymatgen's default tolerances.
        space_group: of the prediction; None without a crystal.
        same_space_group: whether it is that of the known structure.
        invalid: why the prediction does not pass the filter; empty if it does.
        note: why there was nothing to compare, or why the comparison failed.
    """

    name: str
    rank: int
    given_rank: int
    rms: float | None
    strict: bool
    space_group: int | None
    same_space_group: bool
    invalid: str
    note: str


@dataclass(frozen=True)
class Row:
    """One known structure and its verdicts.

    Attributes:
        invalid: why the known structure does not pass the filter; empty if it does.
        verdicts: of the first answers, by rank.
        n_answers: total number of answers.
        n_references: number of known structures of its formula.
        best_of_formula: smallest rms to the first `n_references` answers for its formula; None if none matches.
    """

    name: str
    formula: str
    space_group: int
    invalid: str
    verdicts: tuple[Verdict, ...]
    n_answers: int
    n_references: int
    best_of_formula: float | None


def judge(
    cases: Sequence[Case],
    *,
    k: int,
    timeout: float,
    workers: int,
    on_case: Callable[[Sequence[Row]], None] | None = None,
) -> list[Row]:
    """Compare every known structure with its first k answers, and with those that METRe needs.

    Args:
        timeout: seconds for one comparison; has an effect only if the system can interrupt a process (not on Windows).
        workers: number of processes; a small number of comparisons is made without any.

    Raises:
        DataError: a process was ended from outside, or smact is not installed.
    """
    task = partial(judge_case, k=k, timeout=timeout)
    n_comparisons = sum(len(mine[:k]) for case in cases for mine in case.own)
    rows: list[Row] = []
    for some in (
        map(task, cases) if min(workers, len(cases)) < 2 or n_comparisons < _FEW else _pool(task, cases, workers)
    ):
        rows += some
        if on_case is not None:
            on_case(some)
    return rows


def _pool(task: Callable[[Case], list[Row]], cases: Sequence[Case], workers: int) -> Iterator[list[Row]]:
    try:
        yield from parallel_map(task, cases, processes=workers)
    except WorkerDiedError as error:
        raise DataError("a worker process was ended; run the same command again with --workers 1.") from error


def judge_case(case: Case, *, k: int, timeout: float) -> list[Row]:
    """Return all verdicts of one formula; this function runs in the workers."""
    judged = _Judged(case, timeout)
    n = len(case.known)
    rows = []
    for place, (known, own) in enumerate(zip(case.known, case.own, strict=True)):
        group = space_group_number(known.crystal)
        verdicts = tuple(judged.verdict(place, answer, rank, group) for rank, answer in enumerate(own[:k], 1))
        found = [judged.compare(place, answer)[0] for answer in range(min(n, len(case.answers)))]
        best = min((rms for rms in found if rms is not None), default=None)
        rows.append(Row(known.name, case.formula, group, judged.filter(known.crystal)[0], verdicts, len(own), n, best))
    return rows


class _Judged:
    """Comparisons of one case, each made when first requested."""

    def __init__(self, case: Case, timeout: float) -> None:
        self.case, self.timeout = case, timeout
        self.done: dict[tuple[int, int], tuple[float | None, bool, str]] = {}
        self.filtered: dict[int, tuple[str, str]] = {}

    def verdict(self, place: int, answer: int, rank: int, group: int) -> Verdict:
        one = self.case.answers[answer]
        rms, strict, note = self.compare(place, answer)
        if one.crystal is None:
            return Verdict(one.name, rank, one.rank, None, False, None, False, "", note)
        own_group = space_group_number(one.crystal)
        invalid, slow = self.filter(one.crystal)
        kept = same_space_group(own_group, group)
        return Verdict(one.name, rank, one.rank, rms, strict, own_group, kept, invalid, note or slow)

    def compare(self, place: int, answer: int) -> tuple[float | None, bool, str]:
        """Return rms (loose), match (strict) and a note."""
        if (place, answer) not in self.done:
            self.done[place, answer] = self._compare(self.case.answers[answer], self.case.known[place].crystal)
        return self.done[place, answer]

    def _compare(self, answer: Answer, known: Crystal) -> tuple[float | None, bool, str]:
        if answer.crystal is None:
            return None, False, answer.reason or "no crystal"
        if answer.crystal.composition.reduced != known.composition.reduced:
            return None, False, f"another composition: {answer.crystal.composition.reduced_formula}"
        rms = None
        try:
            with time_limit(self.timeout):
                rms = rmsd(answer.crystal, known, LOOSE)
                return rms, matches(answer.crystal, known, STRICT), ""
        except OutOfTime:
            return None, False, TOO_SLOW
        except Exception as error:  # whatever pymatgen raises for a strange cell
            return None, False, f"cannot be compared: {(str(error).strip() or type(error).__name__).splitlines()[0]}"

    def filter(self, crystal: Crystal) -> tuple[str, str]:
        """Return why a crystal does not pass the filter, and a note if that took too long (counted as not passing)."""
        if id(crystal) not in self.filtered:
            try:
                with time_limit(self.timeout):
                    self.filtered[id(crystal)] = invalid_because(crystal), ""
            except OutOfTime:
                self.filtered[id(crystal)] = "filter took too long", "filter took too long"
        return self.filtered[id(crystal)]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block when the time is up; no effect if a process cannot interrupt itself."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
