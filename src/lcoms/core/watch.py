"""Long work says how far it is, from any depth, to whoever watches; a watcher that raises ends the work.

What is watched belongs to one thread and one call (a context variable), so that no function in between hands it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[int, int], None]
"""Takes how many parts are done, and of how many."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Work within the block tells this watcher, and no other."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def going_on(done: int, total: int) -> None:
    """So many parts of all are done; raises what the watcher raises."""
    if (watcher := _watcher.get()) is not None:
        watcher(done, total)
