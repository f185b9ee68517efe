"""What counts beside the energy when candidates are put in order.

Energies alone do not find the known crystal: differences between polymorphs are smaller than the errors of every energy
model, and a decode that went wrong can look good to it. The weights come from validation compositions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import log

from lcoms.errors import ConfigError
from lcoms.symmetry import space_group_order

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
        magnetic, f_electrons: factors by which all of them count more for compounds with V to Ni, and with lanthanides
            or actinides, where energy models err more.
        limit: where crystals are explored, the energy above the lowest relaxed candidate that votes may make up for,
            eV/atom, times these factors; known crystals hardly ever lie higher.
        excess: how much more than once the energy beyond the limit counts.
    """

    distance: float
    symmetry: float
    count: float
    support: float
    magnetic: float = 1.0
    f_electrons: float = 1.0
    limit: float = 0.0
    excess: float = 0.0

    def __post_init__(self) -> None:
        for name in ("distance", "symmetry", "count", "support", "magnetic", "f_electrons", "limit", "excess"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, as {getattr(self, name)} is.")

    def score(
        self,
        energy: float,
        *,
        elements: Collection[int],
        latent_distance: float,
        space_group: int,
        count: int,
        support: float,
        above: float = 0.0,
    ) -> float:
        """The energy (eV/atom) with all that counts beside it; the lowest comes first.

        Args:
            above: how far the energy lies above the lowest of the relaxed candidates, eV/atom.
        """
        doubt = self.doubt(elements)
        beside = (
            self.distance * latent_distance
            - self.symmetry * log(space_group_order(space_group))
            - self.count * log(max(count, 1))
            - self.support * log(support + LEAST_SUPPORT)
        )
        return energy + doubt * beside + self.excess * max(0.0, above - self.limit * doubt)

    def doubt(self, elements: Collection[int]) -> float:
        """How much more than elsewhere the energy of a compound of these elements (atomic numbers) is doubted."""
        if F_ELECTRONS.intersection(elements):
            return self.f_electrons
        return self.magnetic if MAGNETIC.intersection(elements) else 1.0
