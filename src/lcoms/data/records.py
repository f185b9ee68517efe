"""What a reader hands on: raw rows that are cheap to move between processes, and the records made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lcoms.crystal import Crystal

NAN = float("nan")


class Reason(StrEnum):
    """Why a row was dropped; the value is what the table shows."""

    UNREADABLE = "structure cannot be read"
    PARTLY_OCCUPIED = "partly occupied sites"
    UNKNOWN_ELEMENT = "unknown element"
    NOT_FINITE = "numbers not finite"
    NO_VOLUME = "cell without volume"
    TOO_MANY_ATOMS = "too many atoms"
    EXCLUDED = "excluded composition"
    ENERGY = "formation energy out of range"
    VOLUME = "volume per atom out of range"
    TOO_CLOSE = "atoms too close"
    NO_REDUCTION = "cell cannot be reduced"


class RowError(Exception):
    """A row that is dropped; counted by its reason, never shown as an error."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Record:
    """One row of a source, read: energies in eV/atom, NaN where the source gives none, `split` empty likewise."""

    material_id: str
    crystal: Crystal
    formation_energy_per_atom: float = NAN
    energy_per_atom: float = NAN
    e_above_hull: float = NAN
    source: str = ""
    split: str = ""


@dataclass(frozen=True)
class Reader:
    """How one file or folder is read.

    Attributes:
        path: the file or folder.
        rows: called, yields raw rows in a fixed order. It parses as little as it can.
        parse: makes a `Record` of a raw row, or raises `RowError`; a module's function, so that workers can call it.
        n_rows: how many rows there are, None where that is not known before reading.
    """

    path: Path
    rows: Callable[[], Iterator[Any]]
    parse: Callable[[Any], Record]
    n_rows: int | None = None
