"""What is used with `with` and closed on leaving, whatever the reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

Opened = TypeVar("Opened", bound="Closing")


class Closing(ABC):
    """Something open that `close` ends."""

    @abstractmethod
    def close(self) -> None:
        """End it; nothing else may be asked of it afterwards."""

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
