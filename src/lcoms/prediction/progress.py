"""What a prediction is doing now, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What is being done.

    Attributes:
        formula: of the composition.
        stage: searching, relaxing, or fitting the pattern.
        done: samples or relaxations that are finished; zero where nothing is counted.
        total: all of them.
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
    """Nobody watches."""


def counted(tell: Tell | None, stage: str, names: Sequence[str]) -> Callable[[int, object], None]:
    """Tells how many parts of a stage are done, when called with the number of each that is finished.

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
