"""The bonus of known crystals: how far below them an unknown crystal must lie to rank first, from rows and a store.

If a crystal of the composition is known, either it is the ground state and the search gives worse ones, or the ground
state is not known yet and the search may find it. Predictions of validation compositions, whose crystals are excluded,
give the score difference d between the best other candidate and the ground state: a bonus b ranks a known ground state
first if d > -b, and an unknown one before another known crystal if d > b. How often a ground state is unknown follows
from a store with an earlier and a later source: it is the share of compositions of the earlier source for which the
later one has a lower crystal.
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

LOWER = 0.001  # eV/atom; a crystal lower by more than this is another ground state
WIDTH = 0.005  # eV/atom; broadening of the gaps, because few are available
MOST = 0.3  # eV/atom; larger bonuses make no difference
STEP = 0.001  # eV/atom
FEWEST = 10  # predictions in a fit


@dataclass(frozen=True)
class Unknown:
    """Share of `n` compositions whose ground state an earlier source did not know."""

    share: float
    n: int


def gaps_of(cases: Sequence[Scored]) -> Float[NDArray[np.float64], " n"]:
    """Return the score of the best other candidate minus that of the correct one, eV/atom, if both are relaxed.

    Raises:
        DataError: there are fewer than ten.
    """
    both = [case for case in cases if case.right.any() and not case.right.all()]
    gaps = [case.heights[~case.right].min() - case.heights[case.right].min() for case in both]
    if len(gaps) < FEWEST:
        raise DataError(f"{len(gaps)} predictions with the known crystal and others are too few for a fit.")
    return np.array(gaps)


def unknown_ground_states(store: Store, earlier: str) -> tuple[Unknown, Unknown]:
    """Return how often training crystals of other sources lie below all those of an earlier source.

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
    """Return the share of compositions whose ground state ranks first, for each bonus in eV/atom.

    Args:
        unknown: share of compositions whose ground state is not among the known crystals.
    """
    kept = ndtr((gaps[:, None] + bonuses) / WIDTH).mean(0)
    found = ndtr((gaps[:, None] - bonuses) / WIDTH).mean(0)
    return np.asarray((1 - unknown) * kept + unknown * found)


def fit_bonus(gaps: Float[NDArray[np.float64], " n"], unknown: float) -> float:
    """Return the bonus (eV/atom) with which most ground states rank first; the smallest of equally good ones."""
    bonuses = np.arange(0.0, MOST + STEP / 2, STEP)
    right = share_right(gaps, bonuses, unknown)
    return float(bonuses[np.flatnonzero(right >= right.max() - 1e-6)[0]])
