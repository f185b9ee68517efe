"""Results of reading a file: crystals, corrections, and refused structures with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from lcoms.core.errors import FileFormatError
from lcoms.structure.crystal import Crystal


class Topic(StrEnum):
    """Subject of a remark or a refusal; tables of counts show its value."""

    UNREADABLE = "structure cannot be read"
    PARTLY_OCCUPIED = "partly occupied sites"
    UNKNOWN_ELEMENT = "unknown element"
    NO_SYMBOLS = "no element symbols"
    CELL = "cell missing or unusable"
    COORDINATES = "coordinates missing or unusable"
    SYMMETRY = "symmetry unclear or contradictory"
    TOO_CLOSE = "atoms too close"
    SEVERAL = "several structures where one is expected"
    TOO_LARGE = "too many atoms"
    FORMULA = "formula differs from the atoms"
    MOVED = "atoms moved onto special positions"
    MERGED = "atoms listed more than once"
    OCCUPANCY = "occupancies near one taken as one"
    LEFT_OUT = "parts left out"
    ELEMENT = "element symbols read liberally"
    ORIGIN = "setting or origin decided from the structure"


@dataclass(frozen=True)
class Remark:
    """One sentence about a crystal that was read, and its topic."""

    topic: Topic
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class RefusedError(FileFormatError):
    """A structure is refused; `topic` classifies the reason, for counting."""

    def __init__(self, topic: Topic, sentence: str) -> None:
        super().__init__(sentence)
        self.topic = topic


@dataclass(frozen=True, eq=False)
class Reading:
    """One structure of a file, read or refused.

    Attributes:
        name: name of its data block or number of its frame; empty if the file can hold only one structure.
        crystal: None if refused.
        remarks: corrections, assumptions, omissions and contradictions, one sentence each.
        error: reason for the refusal; None if it is read.
    """

    name: str
    crystal: Crystal | None
    remarks: tuple[Remark, ...] = ()
    error: Remark | None = None

    @classmethod
    def refused(cls, name: str, error: FileFormatError) -> Reading:
        """Return a reading that contains only the reason for the refusal."""
        topic = error.topic if isinstance(error, RefusedError) else Topic.UNREADABLE
        return cls(name, None, (), Remark(topic, " ".join(str(error).split())))

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(remark.sentence for remark in self.remarks)

    def with_remark(self, topic: Topic, sentence: str) -> Reading:
        """Return the reading with one more remark."""
        return replace(self, remarks=(*self.remarks, Remark(topic, sentence)))
