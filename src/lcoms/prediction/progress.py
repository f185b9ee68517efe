"""What a prediction is doing now, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What is being done.

    Attributes:
        formula: of the composition.
        stage: searching, relaxing, or fitting the pattern.
        done: relaxations that are finished; zero where nothing is counted.
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
