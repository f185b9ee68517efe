"""Energies above the hull of known crystals: those of the source, and lower bounds where it gives none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.crystal import Composition

INSTABILITY_STEP = 0.01  # eV/atom


def least_heights(
    hull: NDArray[np.float64], energies: NDArray[np.float64], compositions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return energies above the hull (eV/atom) where known, else lower bounds of them.

    The lower bound is the height above the hull energy known from other crystals of the composition, or above the
    lowest of these crystals where it is not known, or the height above the elements if that is larger; 0 where no
    energy is known.

    Args:
        hull: (n,) energies above the hull, NaN where unknown.
        energies: (n,) formation energies, eV/atom, NaN where unknown.
        compositions: (n,) labels, equal for crystals of one composition.
    """
    known = np.isfinite(hull) & np.isfinite(energies)
    told, best = (np.full(compositions.max(initial=0) + 1, np.inf) for _ in range(2))
    np.fmin.at(told, compositions[known], energies[known] - hull[known])
    np.fmin.at(best, compositions, energies)
    floor = np.where(np.isfinite(told), told, best)[compositions]
    least = np.fmax(np.fmax(energies, energies - floor), 0.0)
    return np.where(np.isfinite(hull), hull, least)


def instability_of(
    compositions: Sequence[Composition], energies: NDArray[np.float64], hull: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return energies above the hull, or their lower bounds (`least_heights`), in steps of `INSTABILITY_STEP`.

    Args:
        compositions: n of them, with any number of formula units.
        energies: (n,) formation energies, eV/atom.
        hull: (n,) energies above the hull, eV/atom, NaN where unknown.
    """
    numbers: dict[Composition, int] = {}
    labels = [numbers.setdefault(composition.reduced, len(numbers)) for composition in compositions]
    heights = least_heights(hull, energies, np.array(labels, dtype=np.int64))
    return np.clip(np.round(heights / INSTABILITY_STEP), 0, 255).astype(np.uint8)
