"""A queue of predictions, run one at a time; each can be cancelled."""

from __future__ import annotations

import logging
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lcoms.core.errors import LcomsError
from lcoms.core.machine import release_memory

KEPT = 20  # finished runs that can still be viewed
MOST_WAITING = 20  # queued predictions
UNEXPECTED = "lcoms failed unexpectedly; the terminal it runs in shows details."
CANCELLED = "cancelled."
log = logging.getLogger(__name__)

Tell = Callable[[str, float], None]
"""Takes the current step and the fraction of the work that is done, 0 to 1."""
Work = Callable[[Tell], str]
"""Takes a function that reports progress and returns a page of HTML."""


class BusyError(LcomsError):
    """The queue is full."""


class _CancelledError(Exception):
    """The run was cancelled while it was running."""


@dataclass
class Run:
    """One prediction, requested from the page.

    Attributes:
        notes: sentences on how the formula is read and why its prediction is doubtful.
        progress: the current step.
        fraction: fraction of the work that is done.
        complaint: one sentence if it failed.
        ended: set when it is done, has failed or was cancelled.
    """

    number: int
    title: str
    notes: tuple[str, ...] = ()
    progress: str = "queued"
    fraction: float = 0.0
    complaint: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    _packed: bytes = b""

    @property
    def page(self) -> str:
        """HTML, once it is done; stored compressed, because pages include the viewer."""
        return zlib.decompress(self._packed).decode() if self._packed else ""

    @page.setter
    def page(self, text: str) -> None:
        self._packed = zlib.compress(text.encode())

    @property
    def has_page(self) -> bool:
        return bool(self._packed)


class Desk:
    """A queue that runs requests in their order and keeps the results of the last few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}
        self._waiting: deque[tuple[Run, Work]] = deque()
        self._works = False
        self._asked = 0

    def submit(self, title: str, work: Work, notes: Sequence[str] = ()) -> Run:
        """Add work to the end of the queue.

        Args:
            notes: sentences that the page shows until the work is done.

        Raises:
            BusyError: the queue is full.
        """
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise BusyError(f"{MOST_WAITING} predictions are queued; wait until one of them is done, or cancel it.")
            self._asked += 1
            run = Run(self._asked, title, tuple(notes))
            self._runs[run.number] = run
            self._waiting.append((run, work))
            ended = [number for number, one in self._runs.items() if one.ended.is_set()]
            for number in ended[:-KEPT]:
                del self._runs[number]
            if not self._works:
                self._works = True
                threading.Thread(target=self._work_off, daemon=True).start()
        return run

    def cancel(self, run: Run) -> None:
        """Remove a run from the queue, or end it when it next reports progress; no effect if it has ended."""
        with self._lock:
            if not run.ended.is_set():
                run.complaint = CANCELLED
                run.ended.set()
            for pair in [pair for pair in self._waiting if pair[0] is run]:
                self._waiting.remove(pair)

    def ahead(self, run: Run) -> int:
        """Return the number of runs before a queued one, including the one running; 0 for others."""
        with self._lock:
            waiting = [one for one, _ in self._waiting]
        return waiting.index(run) + 1 if run in waiting else 0

    def find(self, number: int) -> Run | None:
        """Return a run by its number, as long as it is kept."""
        return self._runs.get(number)

    def runs(self) -> list[Run]:
        """Return the runs that are kept, latest first."""
        with self._lock:
            return list(self._runs.values())[::-1]

    def _work_off(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                run, work = self._waiting.popleft()
                run.progress = "starting"
            self._do(run, work)

    def _do(self, run: Run, work: Work) -> None:
        def tell(progress: str, fraction: float) -> None:
            if run.ended.is_set():
                raise _CancelledError
            run.progress, run.fraction = progress, max(run.fraction, min(fraction, 1.0))

        page = complaint = ""
        try:
            page = work(tell)
        except _CancelledError:
            log.info("the prediction of %s was cancelled", run.title)
        except LcomsError as error:
            complaint = str(error)
        except Exception:
            log.exception("the prediction of %s failed", run.title)
            complaint = UNEXPECTED
        release_memory()
        with self._lock:
            if not run.ended.is_set():
                run.complaint, run.fraction = complaint, 1.0
                if page:
                    run.page = page
                run.ended.set()
