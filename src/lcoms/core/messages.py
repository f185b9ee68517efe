"""What a pool and its children say to each other: messages of bytes, each after its length in eight of them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any

Service = Callable[[Any, "Tasks"], None]
"""What a child does: called with what the pool was made with, it takes tasks and answers them until it is ended."""


class Kind(Enum):
    """Of a message to the parent."""

    READY = "ready"  # with the number of tasks that may be held at a time
    FAILED = "failed"  # with the error for which no task can be done
    ANSWER = "answer"  # with a task's number and answer
    ERROR = "error"  # with a task's number and the error that it met


class Tasks:
    """The tasks of this process, for its service."""

    def __init__(self, waiting: queue.SimpleQueue[bytes], answers: IO[bytes]) -> None:
        self._waiting, self._answers = waiting, answers

    def ready(self, room: int = 1) -> None:
        """Say that tasks may come, and how many of them at a time."""
        self._send(Kind.READY, room)

    def take(self, room: int = 1, *, wait: bool = True) -> list[tuple[int, Any]]:
        """At most so many tasks, with their numbers; where none is there, none, or the next one that comes."""
        taken: list[tuple[int, Any]] = []
        while len(taken) < room:
            try:
                taken.append(loads(self._waiting.get(block=wait and not taken)))
            except queue.Empty:
                break
        return taken

    def answer(self, number: int, answer: Any) -> None:
        """Answer a task."""
        self._send(Kind.ANSWER, (number, answer))

    def error(self, number: int, error: Exception) -> None:
        """Say that a task cannot be done."""
        self._send(Kind.ERROR, (number, _portable(error)))

    def failed(self, error: Exception) -> None:
        """Say that no task can be done."""
        self._send(Kind.FAILED, _portable(error))

    def _send(self, kind: Kind, content: Any) -> None:
        send(self._answers, dumps((kind, content)))


def dumps(content: Any) -> bytes:
    """As multiprocessing moves values between processes; functions and classes by their names."""
    return bytes(ForkingPickler.dumps(content))


def loads(message: bytes) -> Any:
    """What `dumps` was given, by a process of our own."""
    return ForkingPickler.loads(message)


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message after its length."""
    stream.write(len(message).to_bytes(8, "big") + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the stream has ended, also amid a message."""
    length = stream.read(8)
    if len(length) < 8:
        return None
    message = stream.read(int.from_bytes(length, "big"))
    return message if len(message) == int.from_bytes(length, "big") else None


def _portable(error: Exception) -> Exception:
    """The error, or one with its text where it cannot be moved to another process."""
    with suppress(Exception):
        loads(dumps(error))
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
