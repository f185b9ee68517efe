"""One prediction at a time: whoever asks while one runs is told so."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from lcoms.core.errors import LcomsError
from lcoms.core.machine import release_memory

KEPT = 20  # finished runs that can still be looked at
UNEXPECTED = "something went wrong inside lcoms; the terminal it runs in tells more."
log = logging.getLogger(__name__)

Work = Callable[[Callable[[str], None]], str]
"""Given a function that is told of progress, gives a page of HTML."""


class BusyError(LcomsError):
    """Another prediction is running."""


@dataclass
class Run:
    """One prediction, asked for from the page.

    Attributes:
        progress: what is done now.
        complaint: one sentence, where it came to nothing.
    """

    number: int
    title: str
    progress: str = "starting"
    complaint: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    _packed: bytes = b""

    @property
    def page(self) -> str:
        """HTML, once it is done; kept deflated, for pages carry the viewer with them."""
        return zlib.decompress(self._packed).decode() if self._packed else ""

    @page.setter
    def page(self, text: str) -> None:
        self._packed = zlib.compress(text.encode())


class Desk:
    """Takes work, does it in a thread of its own, and keeps what came of the last few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}
        self._asked = 0

    def submit(self, title: str, work: Work) -> Run:
        """Begin work.

        Raises:
            BusyError: other work is not done yet.
        """
        with self._lock:
            for run in self._runs.values():
                if not run.ended.is_set():
                    raise BusyError(
                        f"{run.title} is being predicted, one formula at a time; try again when it is done."
                    )
            self._asked += 1
            run = Run(self._asked, title)
            self._runs[run.number] = run
            for number in list(self._runs)[:-KEPT]:
                del self._runs[number]
        threading.Thread(target=_do, args=(run, work), daemon=True).start()
        return run

    def find(self, number: int) -> Run | None:
        """A run by its number, as long as it is kept."""
        return self._runs.get(number)

    def runs(self) -> list[Run]:
        """Those that are kept, the latest first."""
        with self._lock:
            return list(self._runs.values())[::-1]


def _do(run: Run, work: Work) -> None:
    def tell(progress: str) -> None:
        run.progress = progress

    try:
        run.page = work(tell)
    except LcomsError as error:
        run.complaint = str(error)
    except Exception:
        log.exception("the prediction of %s failed", run.title)
        run.complaint = UNEXPECTED
    finally:
        release_memory()
        run.ended.set()
