"""The score that candidates are ranked by: an energy, and what counts beside it.

Energies alone do not find the known crystal: differences between polymorphs are smaller than the errors of every energy
model, and a decode that went wrong can look good to it. The weights are fitted on validation compositions and stand in
`ranking.json` of the weights (`prediction.ranking_file`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from lcoms.core.bounds import require
from lcoms.prediction.stages import Decoded

LEAST_PROBABILITY = 0.01  # added, so that a crystal without a template can be ranked
SCORE_ERROR = 0.03  # eV/atom, standard deviation of scores where a pattern or a cell is weighed against them
ON_HULL = 0.001  # eV/atom; known crystals up to here are on the hull of their source


@dataclass(frozen=True)
class _Weights:
    """Numbers none of which is negative."""

    def __post_init__(self) -> None:
        require(self, not_negative=vars(self))


@dataclass(frozen=True)
class KnownWeights(_Weights):
    """How known crystals of the very composition are taken.

    Attributes:
        on_hull: eV/atom by which an unknown crystal must lie below the known ones to come before them, where one of
            those is on the hull of its source.
        above_hull: the same where none is: more often there is a better crystal that the source does not know.
        highest: eV/atom above the hull; known crystals higher up are marked where they are found, and not relaxed.
        least_probability: of a prototype; templates of large cells with less are not worth their relaxation.
    """

    on_hull: float = 0.1
    above_hull: float = 0.1
    highest: float = 0.1
    least_probability: float = 0.02

    def bonus(self, lowest: float) -> float:
        """What is taken off the score of known crystals, the lowest of which lies so high above the hull, eV/atom."""
        return self.on_hull if lowest <= ON_HULL else self.above_hull


@dataclass(frozen=True)
class ScoreWeights(_Weights):
    """Weights in eV/atom.

    Attributes:
        distance: added for each unit between the latent that was decoded and that of the crystal that came out.
        n_found: taken off for each factor e in the number of proposals that led to the crystal.
        prototype_probability: taken off for each factor e in the prototype probability.
        structure_probability: taken off for each factor e in the share of the chemically similar known crystals that
            have its structure after relaxation (`templates.structure_probability`).
        limit: where random symmetric crystals are relaxed too, the energy above the lowest relaxed candidate that the
            prototype probability may make up for, eV/atom; known crystals hardly ever lie higher.
        excess: how much more than once the energy beyond the limit counts.
    """

    distance: float
    n_found: float
    prototype_probability: float
    structure_probability: float = 0.0
    limit: float = 0.0
    excess: float = 0.0

    def score(self, energy: float, decoded: Decoded, *, above: float = 0.0, share: float = 0.0) -> float:
        """The energy (eV/atom) with all that counts beside it; the lowest comes first.

        Args:
            decoded: where the crystal came from.
            above: how far the energy lies above the lowest of the relaxed candidates, eV/atom.
            share: of the similar known crystals that have its structure.
        """
        return (
            energy
            + self.distance * decoded.latent_distance
            - self.n_found * log(max(decoded.n_found, 1))
            - self.prototype_probability * log(decoded.prototype_probability + LEAST_PROBABILITY)
            - self.structure_probability * log(share + LEAST_PROBABILITY)
            + self.excess * max(0.0, above - self.limit)
        )


ENTHALPY_ALONE = ScoreWeights(0.0, 0.0, 0.0)
"""Under pressure, where no weights were fitted."""
