"""The score that candidates are ranked by: an energy with corrections.

Energies alone do not find the known crystal: differences between polymorphs are smaller than the errors of every energy
model, and a failed decode can have a low predicted energy. The weights are fitted on validation compositions and are
stored in `ranking.json` of the weights (`prediction.ranking_file`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError
from lcoms.prediction.stages import Decoded

ON_HULL = 0.001  # eV/atom; largest height of known crystals that are on the hull of their source


@dataclass(frozen=True)
class _Weights:
    """Base class of weights, which must be finite and not negative."""

    def __post_init__(self) -> None:
        require(self, not_negative=vars(self))
        if not all(map(isfinite, vars(self).values())):
            raise ConfigError("weights must be finite.")


@dataclass(frozen=True)
class KnownWeights(_Weights):
    """Treatment of known crystals of the same composition.

    Attributes:
        on_hull: eV/atom by which an unknown crystal must lie below the known ones to precede them, if one of those is
            on the hull of its source.
        above_hull: the same if none is: more often there is then a better crystal that the source does not know.
        highest: eV/atom above the hull; known crystals higher up are marked if they are found, but not relaxed.
        least_probability: prototype probability below which templates of large cells are not worth a relaxation.
    """

    on_hull: float
    above_hull: float
    highest: float
    least_probability: float

    def bonus(self, lowest: float) -> float:
        """Return what is subtracted from the score of known crystals, eV/atom; `lowest` is their least hull height."""
        return self.on_hull if lowest <= ON_HULL else self.above_hull


@dataclass(frozen=True)
class ScoreWeights(_Weights):
    """Weights in eV/atom.

    Attributes:
        distance: added per unit of distance between the decoded latent and that of the resulting crystal.
        n_found: subtracted for each factor e in the number of proposals that led to the crystal.
        prototype_probability: subtracted for each factor e in the prototype probability.
        floor: added to both probabilities, so that a crystal without a template can be ranked; no unit.
        structure_probability: subtracted for each factor e in the share of the chemically similar known crystals that
            have its structure after relaxation (`templates.structure_probability`).
        limit: if random symmetric crystals are relaxed too, the energy above the lowest relaxed candidate that the
            prototype probability may compensate, eV/atom; known crystals rarely lie higher.
        excess: additional weight of the energy beyond the limit.
    """

    distance: float
    n_found: float
    prototype_probability: float
    floor: float
    structure_probability: float = 0.0
    limit: float = 0.0
    excess: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, positive=["floor"])

    def score(self, energy: float, decoded: Decoded, *, above: float = 0.0, share: float = 0.0) -> float:
        """Return the energy (eV/atom) with all corrections; the lowest score ranks first.

        Args:
            decoded: the crystal before relaxation.
            above: energy above the lowest of the relaxed candidates, eV/atom.
            share: fraction of the similar known crystals that have its structure.
        """
        return (
            energy
            + self.distance * decoded.latent_distance
            - self.n_found * log(max(decoded.n_found, 1))
            - self.prototype_probability * log(decoded.prototype_probability + self.floor)
            - self.structure_probability * log(share + self.floor)
            + self.excess * max(0.0, above - self.limit)
        )


ENTHALPY_ALONE = ScoreWeights(0.0, 0.0, 0.0, floor=1.0)
"""Used under pressure, where no weights were fitted."""
