"""How well the positions of a crystal's lines alone explain a pattern: all intensities are free (Le Bail et al. 1988).

Areas a >= 0 minimise |(y - P a) / noise|^2. They are multiplied by (P^T W y) / (P^T W P a) until they hardly change
(Lee and Seung 2001), which increases the misfit in no step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcoms.diffraction.refine import Model

STEPS = 40
FAINTEST = 1e-3  # of the mean area, from which an area starts


def free_profile(model: Model, net: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the profile (n,) of a model's lines with the areas that fit best; both lines of a doublet change alike.

    Args:
        net: (n,) measured intensities without background.
        noise: (n,) standard deviations.
    """
    from scipy.sparse import csc_matrix

    n, k = len(model.areas), len(model.places)
    if not n or not model.areas.any():
        return np.zeros_like(net)
    start = np.maximum(model.areas, FAINTEST * float(model.areas.mean()))
    gather = csc_matrix((start, (np.arange(n), np.arange(n) % k)), shape=(n, k))
    profiles = (model.lines @ gather).tocsc()
    weights = 1 / np.square(noise)
    normal = (profiles.T @ profiles.multiply(weights[:, None])).tocsr()
    wanted = np.maximum(profiles.T @ (weights * net), 0)
    factors = np.ones(k)
    for _ in range(STEPS):
        factors = factors * wanted / np.maximum(normal @ factors, 1e-300)
    return np.asarray(profiles @ factors)
