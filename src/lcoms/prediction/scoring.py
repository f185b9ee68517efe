"""The score that candidates are ranked by: an energy, and what counts beside it.

Energies alone do not find the known crystal: differences between polymorphs are smaller than the errors of every energy
model, and a decode that went wrong can look good to it. The weights are fitted on validation compositions and stand in
`ranking.json` of the weights (`prediction.ranking_file`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import log

from lcoms.core.errors import ConfigError
from lcoms.prediction.stages import Decoded
from lcoms.structure.crystal import Crystal

MAGNETIC = frozenset(range(23, 29))
F_ELECTRONS = frozenset(range(57, 72)) | frozenset(range(89, 104))
LEAST_PROBABILITY = 0.01  # added, so that a crystal without a template can be ranked


ON_HULL = 0.001  # eV/atom; known crystals up to here are on the hull of their source


@dataclass(frozen=True)
class _Weights:
    """Numbers none of which is negative."""

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not weight >= 0:
                raise ConfigError(f"{name} must not be negative, as {weight} is.")


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
        magnetic, f_electrons: factors by which these count more for compounds with V to Ni, and with lanthanides or
            actinides, where energy models err more.
        limit: where random symmetric crystals are relaxed too, the energy above the lowest relaxed candidate that the
            prototype probability may make up for, eV/atom, times these factors; known crystals hardly ever lie higher.
        excess: how much more than once the energy beyond the limit counts.
        volume: added for each factor e in the volume per atom: functionals without dispersion forces, and models that
            learned from them, find open crystals too stable.
    """

    distance: float
    n_found: float
    prototype_probability: float
    magnetic: float = 1.0
    f_electrons: float = 1.0
    limit: float = 0.0
    excess: float = 0.0
    volume: float = 0.0

    def score(self, energy: float, crystal: Crystal, decoded: Decoded, *, above: float = 0.0) -> float:
        """The energy (eV/atom) with all that counts beside it; the lowest comes first.

        Args:
            crystal: whose energy it is.
            decoded: where the crystal came from.
            above: how far the energy lies above the lowest of the relaxed candidates, eV/atom.
        """
        doubt = self.doubt(crystal.composition.atomic_numbers)
        beside = (
            self.distance * decoded.latent_distance
            - self.n_found * log(max(decoded.n_found, 1))
            - self.prototype_probability * log(decoded.prototype_probability + LEAST_PROBABILITY)
        )
        excess = self.excess * max(0.0, above - self.limit * doubt)
        return energy + self.volume * log(crystal.volume / crystal.n_atoms) + doubt * beside + excess

    def doubt(self, elements: Collection[int]) -> float:
        """How much more than elsewhere the energy of a compound of these elements (atomic numbers) is doubted."""
        if F_ELECTRONS.intersection(elements):
            return self.f_electrons
        return self.magnetic if MAGNETIC.intersection(elements) else 1.0


ENTHALPY_ALONE = ScoreWeights(0.0, 0.0, 0.0)
"""Under pressure, where no weights were fitted."""
