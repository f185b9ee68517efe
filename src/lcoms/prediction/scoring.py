"""What counts beside the energy when candidates are put in order.

Energies alone do not find the known crystal: differences between polymorphs are smaller than the errors of every energy
model, and a decode that went wrong can look good to it. The weights come from validation compositions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import log

from lcoms.core.errors import ConfigError
from lcoms.structure.symmetry import space_group_order

MAGNETIC = frozenset(range(23, 29))
F_ELECTRONS = frozenset(range(57, 72)) | frozenset(range(89, 104))
LEAST_SUPPORT = 0.01  # added, so that a crystal without votes can be ranked


@dataclass(frozen=True)
class OrderWeights:
    """Weights in eV/atom.

    Attributes:
        distance: added for each unit between the latent that was decoded and that of the crystal that came out.
        symmetry: taken off for each factor e in the order of the space group: crystals are rarely less symmetric than
            they could be.
        count: taken off for each factor e in the number of starts that led to the crystal.
        support: taken off for each factor e in the share of votes for its structure.
        magnetic, f_electrons: factors by which all of these count more for compounds with V to Ni, and with lanthanides
            or actinides, where energy models err more.
        limit: where crystals are explored, the energy above the lowest relaxed candidate that votes may make up for,
            eV/atom, times these factors; known crystals hardly ever lie higher.
        excess: how much more than once the energy beyond the limit counts.
        volume: added for each factor e in the volume per atom: functionals without dispersion forces, and models that
            learned from them, hold open crystals too stable.
    """

    distance: float
    symmetry: float
    count: float
    support: float
    magnetic: float = 1.0
    f_electrons: float = 1.0
    limit: float = 0.0
    excess: float = 0.0
    volume: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if weight < 0:
                raise ConfigError(f"{name} must not be negative, as {weight} is.")

    def score(
        self,
        energy: float,
        *,
        elements: Collection[int],
        latent_distance: float,
        space_group: int,
        count: int,
        support: float,
        volume_per_atom: float,
        above: float = 0.0,
    ) -> float:
        """The energy (eV/atom) with all that counts beside it; the lowest comes first.

        Args:
            volume_per_atom: cubic angstrom.
            above: how far the energy lies above the lowest of the relaxed candidates, eV/atom.
        """
        doubt = self.doubt(elements)
        beside = (
            self.distance * latent_distance
            - self.symmetry * log(space_group_order(space_group))
            - self.count * log(max(count, 1))
            - self.support * log(support + LEAST_SUPPORT)
        )
        excess = self.excess * max(0.0, above - self.limit * doubt)
        return energy + self.volume * log(volume_per_atom) + doubt * beside + excess

    def doubt(self, elements: Collection[int]) -> float:
        """How much more than elsewhere the energy of a compound of these elements (atomic numbers) is doubted."""
        if F_ELECTRONS.intersection(elements):
            return self.f_electrons
        return self.magnetic if MAGNETIC.intersection(elements) else 1.0
