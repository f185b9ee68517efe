"""Progress of long work, reported from any depth to a watcher; a watcher that raises ends the work.

The watcher belongs to one thread and one call (a context variable), so that no function in between passes it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[int, int], None]
"""Called with the number of parts done and the total."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Report work within the block to this watcher, and no other."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def going_on(done: int, total: int) -> None:
    """Report the number of parts done and the total; raises what the watcher raises."""
    if (watcher := _watcher.get()) is not None:
        watcher(done, total)
