"""How well surrogates predict energies of unseen compositions, and how well they order the crystals of each.

The total error is dominated by that of a composition's mean, which does not affect the order, so the error within
compositions is reported as well: that of energies relative to the mean of their composition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lcoms.core.errors import DataError
from lcoms.data.dataset import to_batch
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.models.surrogate import ConservativeSurrogate, predict_energies
from lcoms.train.latents import encode_rows, select_rows
from lcoms.train.ranking import members_of, within_composition_spearman
from lcoms.train.surrogate_data import EncodedCrystals

N_RESAMPLES = 1000  # of the bootstrap
ALL = "all"


class Interval(NamedTuple):
    """A mean over compositions, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class SurrogateScore:
    """Metrics on one set of crystals.

    Attributes:
        name: `all`, or the beginning of the names of their sources.
        n_crystals, n_compositions: numbers in the set.
        mae: mean absolute error, eV/atom.
        mae_within: error of energies relative to the mean of their composition, over compositions with several
            crystals, eV/atom.
        spearman: mean rank correlation over compositions with three or more crystals.
        n_ordered: number of those compositions.
    """

    name: str
    n_crystals: int
    n_compositions: int
    mae: Interval
    mae_within: Interval
    spearman: Interval
    n_ordered: int


@dataclass(frozen=True, eq=False)
class SourcedCrystals(EncodedCrystals):
    """Encoded crystals with the source of each."""

    sources: tuple[str, ...]


def unseen_rows(store: Store, *, max_atoms: int, split: str = "val") -> NDArray[np.int64]:
    """Return rows of a split with a formation energy and, except in the training split, a composition not trained on.

    Raises:
        DataError: there is none.
    """
    rows = select_rows(store, max_atoms=max_atoms, split=split)
    columns = store.columns("formula", "formation_energy_per_atom")
    wanted = np.isfinite(columns["formation_energy_per_atom"][rows].astype(float))
    if split != "train":
        wanted &= ~np.isin(columns["formula"][rows], columns["formula"][store.select(split="train")])
    if not wanted.any():
        what = "" if split == "train" else " of compositions that are not trained on"
        raise DataError(f"{store.path} holds no crystals of split {split!r}{what} with up to {max_atoms} atoms.")
    return rows[wanted]


def encode_crystals(store: Store, cdvae: CDVAE, rows: NDArray[np.int64]) -> SourcedCrystals:
    """Return rows of a store, encoded."""
    crystals = store.arrays(rows)
    batch = to_batch(crystals)
    features = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    sources = tuple(str(source) for source in store.columns("source")["source"][rows])
    energies = torch.from_numpy(crystals.formation_energy.astype(np.float64))
    return SourcedCrystals(encode_rows(cdvae, store, rows), features, energies, sources)


def score_surrogates(
    surrogates: Sequence[ConservativeSurrogate], crystals: SourcedCrystals, *, sources: Sequence[str] = ()
) -> list[SurrogateScore]:
    """Return the metrics of the mean of surrogates on all crystals, and on those whose source begins with each text."""
    made = [predict_energies(one, crystals.latents, crystals.composition_features) for one in surrogates]
    predictions = torch.stack(made).mean(dim=0).double().numpy()
    groups, energies = composition_keys(crystals.composition_features), crystals.energies.numpy()
    scores = []
    for name in (ALL, *sources):
        inside = np.array([name == ALL or source.startswith(name) for source in crystals.sources])
        if inside.any():
            scores.append(_score(name, energies[inside], predictions[inside], groups[inside]))
    return scores


def _score(
    name: str, energies: NDArray[np.float64], predictions: NDArray[np.float64], groups: NDArray[np.int64]
) -> SurrogateScore:
    errors, within, orders = [], [], []
    for members in members_of(groups):
        error = predictions[members] - energies[members]
        errors.append((float(np.abs(error).sum()), len(members)))
        if len(members) > 1:
            within.append((float(np.abs(error - error.mean()).sum()), len(members)))
        rho, counted = within_composition_spearman(energies[members], predictions[members], groups[members])
        if counted:
            orders.append((rho, 1))
    return SurrogateScore(
        name, len(energies), len(errors), _mean(errors), _mean(within), _mean(orders), n_ordered=len(orders)
    )


def _mean(sums: Sequence[tuple[float, int]]) -> Interval:
    """Return the ratio of the two sums, with its interval; NaN without data."""
    if not sums:
        return Interval(*[float("nan")] * 3)
    table = np.array(sums, dtype=float)
    random = np.random.default_rng(0)
    resampled = np.array([table[random.integers(len(table), size=len(table))].sum(axis=0) for _ in range(N_RESAMPLES)])
    low, high = np.percentile(resampled[:, 0] / resampled[:, 1], [2.5, 97.5])
    value = table[:, 0].sum() / table[:, 1].sum()
    return Interval(float(value), float(low), float(high))
