"""What the stages of one prediction have found so far, to which later stages add crystals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.stages import Decoded


@dataclass(frozen=True, eq=False)
class Found:
    """Crystals of one composition.

    Attributes:
        decoded: all decoded crystals, and those used without decoding.
        relaxed: the relaxations; None if nothing is relaxed.
        fitted: templates chosen by a powder pattern, in the cells that fit it.
    """

    decoded: DecodedSet
    relaxed: RelaxedSet | None
    fitted: tuple[Decoded, ...] = ()

    def also(self, further: Sequence[Decoded], relaxed: RelaxedSet | None) -> Found:
        """Return these and further crystals, with their relaxations."""
        every = replace(self.decoded, direct=(*self.decoded.direct, *further))
        both = self.relaxed if relaxed is None or self.relaxed is None else self.relaxed.followed_by(relaxed)
        return replace(self, decoded=every, relaxed=both)
