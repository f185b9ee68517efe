"""How well one element stands for another in a crystal, learned from which training crystals share a structure.

Every element has a vector; the distance of two compositions of one stoichiometry is the mean distance of the vectors of
their paired elements times their number and a scale. The vectors are learned so that a crystal's neighbours have its
structure (neighbourhood components analysis, Goldberger et al. 2004). Without learning, the vectors are the elements'
Mendeleev numbers (Pettifor's chemical scale).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.structure.elements import N_ELEMENTS, mendeleev_number

MOST_ELEMENTS = 5  # compositions of more share one scale


@dataclass(frozen=True, eq=False)
class ElementSimilarity:
    """Distances between compositions.

    Attributes:
        vectors: (104, d) of the elements by atomic number; the first row stands for none.
        scales: (6,) by the number of elements.
        hull: distance that 1 eV/atom above the hull counts for.
        sharpness: a neighbour at distance d has the weight exp(-sharpness d).
        reach: distance of one more, for none of the structures seen: where all neighbours are far, no structure
            has a large probability.
    """

    vectors: Float[NDArray[np.float32], "n_elements d"]
    scales: Float[NDArray[np.float32], " k"]
    hull: float
    sharpness: float
    reach: float

    @classmethod
    def mendeleev(cls) -> ElementSimilarity:
        """Distances are sums of differences of Mendeleev numbers."""
        numbers = [0.0] + [mendeleev_number(z) for z in range(1, N_ELEMENTS + 1)]
        scales = np.ones(MOST_ELEMENTS + 1, dtype=np.float32)
        return cls(np.array(numbers, dtype=np.float32)[:, None], scales, hull=20.0, sharpness=0.3, reach=20.0)

    def distances(
        self, elements: Int[NDArray[np.integer], "n k"], target: Int[NDArray[np.integer], " k"], n_elements: int
    ) -> Float[NDArray[np.float64], " n"]:
        """From each row of elements to the target, paired in their order.

        Args:
            n_elements: of the target; fewer than there are columns where one element is paired with two, and then the
                farther one counts: half a crystal of the element itself is not near.
        """
        lengths = np.linalg.norm(self.vectors[elements].astype(np.float64) - self.vectors[target], axis=-1)
        apart = lengths.mean(axis=1) if n_elements == elements.shape[1] else lengths.max(axis=1)
        return np.asarray(apart * n_elements * self.scales[min(n_elements, MOST_ELEMENTS)])
