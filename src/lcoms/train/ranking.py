"""How well predicted energies order the polymorphs of one composition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

MIN_MEMBERS = 3  # crystals of a composition, for a rank correlation


def members_of(groups: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Return the indices of the members of each group, groups and members in ascending order.

    Args:
        groups: (n,) labels, equal for equal compositions.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    return np.split(order, starts[1:])


def within_composition_spearman(
    energies: NDArray[np.floating], predictions: NDArray[np.floating], groups: NDArray[np.integer]
) -> tuple[float, int]:
    """Return the mean Spearman correlation over compositions, and the number of compositions.

    Only compositions with at least three members and energies that are not all equal are considered. A composition
    with equal predictions has correlation 0. Without any composition the mean is NaN.

    Args:
        energies: (n,) true energies, eV/atom.
        predictions: (n,) predicted energies.
        groups: (n,) labels, equal for equal compositions.
    """
    correlations = []
    for members in members_of(groups):
        if len(members) < MIN_MEMBERS or np.ptp(energies[members]) == 0:
            continue
        truth, guess = (rankdata(values[members]) - (len(members) + 1) / 2 for values in (energies, predictions))
        norm = np.sqrt((truth @ truth) * (guess @ guess))
        correlations.append(truth @ guess / norm if norm > 0 else 0.0)
    return (float(np.mean(correlations)) if correlations else float("nan")), len(correlations)
