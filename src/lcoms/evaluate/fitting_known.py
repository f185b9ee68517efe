"""How far below the known crystals of its composition an unknown one must lie to come first, from rows and a store.

Where a crystal of the composition is known, one of two things is true. Either it is the ground state, and the search
offers worse ones; or the ground state is not known yet, and the search may offer it. Predictions of validation
compositions, whose crystals are left out, tell how far apart by their scores the ground state and the best of the
others are: with a gap d, a bonus b puts the known ground state first where d > -b, and an unknown one before a known
other crystal where d > b. How often a ground state is unknown is told by a store with an earlier and a later source:
the share of compositions of the earlier one for which the later one has a lower crystal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr

from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.prediction.calibrate import Scored
from lcoms.prediction.scoring import ON_HULL

LOWER = 0.001  # eV/atom; by so much lower a crystal is another ground state
WIDTH = 0.005  # eV/atom; by which gaps are smeared, since few are measured
MOST = 0.3  # eV/atom; larger bonuses are all alike
STEP = 0.001  # eV/atom
FEWEST = 10


@dataclass(frozen=True)
class Unknown:
    """Share of compositions whose ground state an earlier source did not know, of `n`."""

    share: float
    n: int


def gaps_of(cases: Sequence[Scored]) -> Float[NDArray[np.float64], " n"]:
    """Score of the best other candidate less that of the right one, eV/atom, where both are relaxed.

    Raises:
        DataError: there are fewer than ten.
    """
    both = [case for case in cases if case.right.any() and not case.right.all()]
    gaps = [case.heights[~case.right].min() - case.heights[case.right].min() for case in both]
    if len(gaps) < FEWEST:
        raise DataError(f"{len(gaps)} predictions with the known crystal and others are too few to fit on.")
    return np.array(gaps)


def unknown_ground_states(store: Store, earlier: str) -> tuple[Unknown, Unknown]:
    """How often training crystals of other sources lie below all that an earlier one has of a composition.

    Args:
        earlier: beginning of the name of the earlier source.

    Returns:
        For compositions whose lowest crystal is on the hull of the earlier source, and for those where it is not.

    Raises:
        DataError: the store has no such source with heights above the hull, or no other.
    """
    columns = store.columns("formula", "source", "formation_energy_per_atom", "e_above_hull")
    rows = store.select(split="train")
    energies, hull = columns["formation_energy_per_atom"][rows], columns["e_above_hull"][rows]
    early = np.array([str(name).startswith(earlier) for name in columns["source"][rows]], dtype=bool)
    _, formula = np.unique(columns["formula"][rows].astype(str), return_inverse=True)
    first, last = (np.full(formula.max(initial=0) + 1, np.inf) for _ in range(2))
    np.fmin.at(first, formula[early], energies[early])
    np.fmin.at(last, formula[~early], energies[~early])
    lowest = early & np.isfinite(hull) & (energies == first[formula])
    found = []
    for group in (lowest & (hull <= ON_HULL), lowest & (hull > ON_HULL)):
        of = np.unique(formula[group])
        if not len(of) or early.all():
            raise DataError(f"{store.path} has no crystals of {earlier!r} on and above the hull, or none of others.")
        found.append(Unknown(float((last[of] < first[of] - LOWER).mean()), len(of)))
    return found[0], found[1]


def share_right(
    gaps: Float[NDArray[np.float64], " n"], bonuses: Float[NDArray[np.float64], " b"], unknown: float
) -> Float[NDArray[np.float64], " b"]:
    """Share of compositions whose ground state comes first, for each bonus in eV/atom.

    Args:
        unknown: share of compositions whose ground state is not among the known crystals.
    """
    kept = ndtr((gaps[:, None] + bonuses) / WIDTH).mean(0)
    found = ndtr((gaps[:, None] - bonuses) / WIDTH).mean(0)
    return np.asarray((1 - unknown) * kept + unknown * found)


def fit_bonus(gaps: Float[NDArray[np.float64], " n"], unknown: float) -> float:
    """The bonus, eV/atom, with which most ground states come first; the smallest of equally good ones."""
    bonuses = np.arange(0.0, MOST + STEP / 2, STEP)
    right = share_right(gaps, bonuses, unknown)
    return float(bonuses[np.flatnonzero(right >= right.max() - 1e-6)[0]])
