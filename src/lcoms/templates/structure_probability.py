"""How often chemically similar known crystals have a structure.

Two crystals have the same structure here if stoichiometry, space group and the orbits' multiplicities, numbers of free
coordinates and places are equal. This does not depend on origin and axes, so relaxed crystals can be compared by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import MIRROR
from lcoms.structure.wyckoff import Orbits, orbit_sizes, wyckoff_orbits, wyckoff_positions
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.placing import template_members
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.stoichiometry import elements_in_order

Signature = tuple[int, tuple[tuple[int, int, int], ...]]
"""Space group, and for each orbit its atoms in the primitive cell, its free coordinates and its element's place."""


@dataclass(frozen=True)
class StructureProbabilities:
    """Fractions of the chemically similar known crystals that have each structure of a stoichiometry.

    Attributes:
        shares: fraction by signature; empty where no crystals are known, and all structures are then equal.
    """

    shares: Mapping[Signature, float]

    def of(self, crystal: Crystal, *, symprec: float) -> float:
        """Return the fraction for a crystal's structure; 0 where no known crystal has it or the symmetry search fails.

        Args:
            symprec: angstrom; tolerance of the symmetry search.
        """
        found = _orbits_of(crystal, symprec) if self.shares else None
        return 0.0 if found is None else self.of_orbits(crystal.composition, *found)

    def of_orbits(self, composition: Composition, number: int, orbits: Orbits) -> float:
        """Return the fraction for a space group with orbits."""
        places = {z: at for at, z in enumerate(elements_in_order(composition))}
        return self.shares.get(signature(number, tuple((letter, places[z]) for letter, z in orbits)), 0.0)


_ORBITS: WeakKeyDictionary[Crystal, dict[float, tuple[int, Orbits] | None]] = WeakKeyDictionary()


def _orbits_of(crystal: Crystal, symprec: float) -> tuple[int, Orbits] | None:
    """Return space group and orbits of a crystal, cached for its lifetime; None if the search fails."""
    known = _ORBITS.setdefault(crystal, {})
    if symprec not in known:
        known[symprec] = wyckoff_orbits(crystal, symprec=symprec)
    return known[symprec]


ALL_ALIKE = StructureProbabilities({})


def structure_probabilities(
    composition: Composition, templates: ExactTemplates, similarity: ElementSimilarity, *, exclude_same: bool
) -> StructureProbabilities:
    """Return the probabilities of the structures of the templates of a composition's stoichiometry.

    Args:
        exclude_same: leave out crystals of the same composition, as a benchmark must.
    """
    target = composition.reduced
    members, _, heights = template_members(target, templates, alone=True)
    if not len(members.indices):
        return ALL_ALIKE
    first = int(members.indices[0])
    label = np.zeros(len(members.indices), dtype=np.int64)
    signatures: dict[Signature, int] = {}
    for rows, number, orbits in templates.prototypes(target.stoichiometry):
        label[rows.start - first : rows.stop - first] = signatures.setdefault(
            signature(number, orbits), len(signatures)
        )
    distances = similarity.distances(members.elements, members.in_order(target), len(target.counts))
    weights = np.exp(-similarity.sharpness * (distances + similarity.hull * heights))
    if exclude_same:
        weights[members.holds(target)] = 0.0
    total = weights.sum() + np.exp(-similarity.sharpness * similarity.reach)
    return StructureProbabilities(dict(zip(signatures, np.bincount(label, weights / total).tolist(), strict=True)))


def signature(number: int, places: Orbits) -> Signature:
    """Return the signature that all crystals of one structure share.

    Args:
        number: space group number.
        places: for each orbit the letter and the place of its element in the stoichiometry.
    """
    sizes, positions = orbit_sizes(number, places), wyckoff_positions(number)
    parts = [(size, positions[letter].n_free, at) for size, (letter, at) in zip(sizes, places, strict=True)]
    return min(number, MIRROR.get(number, number)), tuple(sorted(parts))
