"""`map` over several processes: a function of a module, many items, results as they arrive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple, TypeVar

from lcoms.core.messages import Tasks
from lcoms.core.pool import Pool

T = TypeVar("T")
A = TypeVar("A")
AHEAD = 3  # items per process that are in progress or in its queue


class _Setup(NamedTuple):
    function: Callable[[Any], Any]
    prepare: Callable[..., None] | None
    arguments: tuple[Any, ...]


def parallel_map(
    function: Callable[[T], A],
    items: Iterable[T],
    *,
    processes: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
    in_order: bool = True,
    attempts: int = 1,
) -> Iterator[A]:
    """Yield the results of items, which are taken as they are needed; the children end with the iterator.

    Args:
        function: defined in a module; called in a child with one item.
        prepare: defined in a module; called once in each child with `arguments`, before anything else.
        in_order: yield results in the order of the items; otherwise as they arrive.
        attempts: number of children that may die of an item before it is given up.

    Raises:
        WorkerDiedError: a child died of an item.
        Exception: whatever the function or `prepare` raised.
    """
    setup, left = _Setup(function, prepare, arguments), iter(items)
    with Pool[T, A](serve_each, setup, processes=processes, attempts=attempts) as pool:
        running: deque[Future[A]] = deque()
        while True:
            while len(running) < AHEAD * processes:
                try:
                    running.append(pool.submit(next(left)))
                except StopIteration:
                    break
            if not running:
                return
            if in_order:
                yield running.popleft().result()
                continue
            wait(running, return_when=FIRST_COMPLETED)
            done = [future for future in running if future.done()]
            running = deque(future for future in running if not future.done())
            for future in done:
                yield future.result()


def serve_each(setup: tuple[Callable[[Any], Any], Callable[..., None] | None, tuple[Any, ...]], tasks: Tasks) -> None:
    """Serve tasks by calling a function with each of them."""
    function, prepare, arguments = setup
    try:
        if prepare is not None:
            prepare(*arguments)
    except Exception as error:
        tasks.failed(error)
        return
    tasks.ready()
    while True:
        for number, task in tasks.take():
            try:
                tasks.answer(number, function(task))
            except Exception as error:  # the parent decides how to handle it
                tasks.error(number, error)
