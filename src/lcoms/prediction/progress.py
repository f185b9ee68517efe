"""Progress of a prediction, reported to a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The current step of a prediction.

    Attributes:
        formula: formula that is predicted.
        stage: such as searching, relaxing, or fitting the pattern.
        done: number of finished samples or relaxations; zero if nothing is counted.
        total: number of all of them.
    """

    formula: str
    stage: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        count = f": {self.done} of {self.total}" if self.total else ""
        return f"{self.stage}{count}"


Tell = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Ignore progress."""


def counted(tell: Tell | None, stage: str, names: Sequence[str]) -> Callable[[int, object], None]:
    """Return a function that reports how many parts of a stage are done, called with the index of each finished one.

    Args:
        names: formulas of the parts.
    """
    done = 0

    def count(number: int, _: object) -> None:
        nonlocal done
        done += 1
        if tell is not None and number < len(names):
            tell(Progress(names[number], stage, min(done, len(names)), len(names)))

    if tell is not None and names:
        tell(Progress(names[0], stage, 0, len(names)))
    return count
