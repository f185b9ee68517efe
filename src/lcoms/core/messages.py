"""Messages between a pool and its children: bytes, each message preceded by its length in eight bytes."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any

Service = Callable[[Any, "Tasks"], None]
"""Work of a child: called with the setup of the pool, it takes tasks and answers them until it is killed."""


class Kind(Enum):
    """Kind of a message to the parent."""

    READY = "ready"  # with the number of tasks that may be held at once
    FAILED = "failed"  # with the error that prevents all tasks
    ANSWER = "answer"  # with a task's number and answer
    ERROR = "error"  # with a task's number and its error


class Tasks:
    """The tasks of this process, for its service."""

    def __init__(self, waiting: queue.SimpleQueue[bytes], answers: IO[bytes]) -> None:
        self._waiting, self._answers = waiting, answers

    def ready(self, room: int = 1) -> None:
        """Report that tasks may be sent, and how many at a time."""
        self._send(Kind.READY, room)

    def take(self, room: int = 1, *, wait: bool = True) -> list[tuple[int, Any]]:
        """Return at most `room` tasks with their numbers; if there are none, none or, with `wait`, the next one."""
        taken: list[tuple[int, Any]] = []
        while len(taken) < room:
            try:
                taken.append(loads(self._waiting.get(block=wait and not taken)))
            except queue.Empty:
                break
        return taken

    def answer(self, number: int, answer: Any) -> None:
        """Send the result of a task."""
        self._send(Kind.ANSWER, (number, answer))

    def error(self, number: int, error: Exception) -> None:
        """Report that a task cannot be done."""
        self._send(Kind.ERROR, (number, _portable(error)))

    def failed(self, error: Exception) -> None:
        """Report that no task can be done."""
        self._send(Kind.FAILED, _portable(error))

    def _send(self, kind: Kind, content: Any) -> None:
        send(self._answers, dumps((kind, content)))


def dumps(content: Any) -> bytes:
    """Return a value as bytes, as multiprocessing does; functions and classes by their names."""
    return bytes(ForkingPickler.dumps(content))


def loads(message: bytes) -> Any:
    """Return the value that one of our own processes passed to `dumps`."""
    return ForkingPickler.loads(message)


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message after its length."""
    stream.write(len(message).to_bytes(8, "big") + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message; None if the stream has ended, even within a message."""
    length = stream.read(8)
    if len(length) < 8:
        return None
    message = stream.read(int.from_bytes(length, "big"))
    return message if len(message) == int.from_bytes(length, "big") else None


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its text if it cannot be moved to another process."""
    with suppress(Exception):
        loads(dumps(error))
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
