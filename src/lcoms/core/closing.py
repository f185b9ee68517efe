"""Objects used in a `with` statement and closed on leaving it for any reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

Opened = TypeVar("Opened", bound="Closing")


class Closing(ABC):
    """An open object that `close` ends."""

    @abstractmethod
    def close(self) -> None:
        """Close the object, which must not be used afterwards."""

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
