"""How well one element can replace another in a crystal, learned from training crystals that share a structure.

Every element has a vector; the distance between two compositions of one stoichiometry is the mean distance between the
vectors of their paired elements, times the number of elements and a scale. The vectors are learned so that a crystal's
neighbours have its structure (neighbourhood components analysis, Goldberger et al. 2004). Without learning, they are
the elements' Mendeleev numbers (Pettifor's chemical scale).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.structure.elements import N_ELEMENTS, mendeleev_number

MOST_ELEMENTS = 5  # compositions with more elements share this scale


@dataclass(frozen=True, eq=False)
class ElementSimilarity:
    """Distances between compositions.

    Attributes:
        vectors: (104, d) vectors of the elements by atomic number; the first row is unused.
        scales: (6,) by number of elements.
        hull: distance equivalent to 1 eV/atom above the hull.
        sharpness: a neighbour at distance d has the weight exp(-sharpness d).
        reach: distance of a virtual neighbour that represents unseen structures: where all real neighbours are far, no
            structure has a large probability.
    """

    vectors: Float[NDArray[np.float32], "n_elements d"]
    scales: Float[NDArray[np.float32], " k"]
    hull: float
    sharpness: float
    reach: float

    @classmethod
    def mendeleev(cls) -> ElementSimilarity:
        """Return the similarity whose distances are sums of differences between Mendeleev numbers."""
        numbers = [0.0] + [mendeleev_number(z) for z in range(1, N_ELEMENTS + 1)]
        scales = np.ones(MOST_ELEMENTS + 1, dtype=np.float32)
        return cls(np.array(numbers, dtype=np.float32)[:, None], scales, hull=20.0, sharpness=0.3, reach=20.0)

    def distances(
        self, elements: Int[NDArray[np.integer], "n k"], target: Int[NDArray[np.integer], " k"], n_elements: int
    ) -> Float[NDArray[np.float64], " n"]:
        """Return distances from each row of elements to the target, paired by column.

        Args:
            n_elements: number of elements of the target; less than the number of columns where one element is paired
                with two. The larger distance is then used: a binary is not near just because it contains the element.
        """
        lengths = np.linalg.norm(self.vectors[elements].astype(np.float64) - self.vectors[target], axis=-1)
        apart = lengths.mean(axis=1) if n_elements == elements.shape[1] else lengths.max(axis=1)
        return np.asarray(apart * n_elements * self.scales[min(n_elements, MOST_ELEMENTS)])
