"""Quality of the latent space: smoothness, paths between two crystals of one composition, energy in the latents.

Small displacements of the atoms should move a latent by much less than the distance between two crystals. A crystal
decoded half-way between two others should be valid, with an energy not far above theirs; a linear regression on latents
should predict the energy better than one on the composition alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.evaluate.validity import MIN_DISTANCE
from lcoms.models.base import CDVAE
from lcoms.models.composition import composition_keys
from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import LOOSE, matches
from lcoms.train.surrogate_data import SurrogateData

RIDGE = 1e-4  # quadratic penalty of the linear fit
DISPLACEMENTS = (1e-5, 1e-3, 0.01, 0.03, 0.1)  # angstrom


class Pair(NamedTuple):
    """Two crystals with the same contents of the cell."""

    first: Crystal
    second: Crystal


@dataclass(frozen=True)
class Way:
    """Crystals decoded at even steps between the latents of two crystals.

    Attributes:
        formula: of the cell.
        n_atoms: number of atoms in the cell.
        valid: at each point, whether decoding gave a crystal without short distances.
        energies: at each point, eV/atom; None without a valid crystal, or if the oracle gave none.
        ends_match: whether the crystals decoded at both ends match those encoded.
    """

    formula: str
    n_atoms: int
    valid: tuple[bool, ...]
    energies: tuple[float | None, ...]
    ends_match: tuple[bool, bool]

    @property
    def barrier(self) -> float | None:
        """Height of the highest point above the line between the ends, eV/atom; None without both ends."""
        first, last = self.energies[0], self.energies[-1]
        if first is None or last is None:
            return None
        line = np.linspace(first, last, len(self.energies))
        return max(e - low for e, low in zip(self.energies, line.tolist(), strict=True) if e is not None)


def pairs_of_one_composition(store: Store, rows: NDArray[np.int64], n: int, random: np.random.Generator) -> list[Pair]:
    """Return at most n pairs of different structures with the same contents of the cell, one per composition.

    Raises:
        DataError: there is no such pair.
    """
    by_contents: dict[tuple[str, int], list[int]] = {}
    formulas = store.columns("formula")["formula"]
    for row in random.permutation(rows).tolist():
        by_contents.setdefault((str(formulas[row]), int(store.n_atoms[row])), []).append(row)
    found: list[Pair] = []
    for members in by_contents.values():
        for one, other in combinations(members[:4], 2):
            pair = Pair(store[one], store[other])
            if not matches(pair.first, pair.second, LOOSE):
                found.append(pair)
                break
        if len(found) == n:
            break
    if not found:
        raise DataError(f"{store.path} has no two different crystals with the same contents of the cell there.")
    return found


@torch.no_grad()
def interpolate(
    model: CDVAE, pairs: Sequence[Pair], generator: torch.Generator, *, oracle: EnergyOracle | None, points: int = 11
) -> list[Way]:
    """Decode `points` latents on the straight line between the two of each pair, once each and without symmetry.

    Args:
        oracle: for the energies; None: no energies.
    """
    ways = []
    for pair in pairs:
        ends = model.encode(CrystalBatch.from_crystals(pair))[0]
        shares = torch.linspace(0, 1, points)[:, None]
        cell = pair.first.composition
        crystals = model.decode(torch.lerp(ends[:1], ends[1:], shares), [cell] * points, generator)
        valid = [c is not None and shortest_distance(c.lattice, c.frac_coords) >= MIN_DISTANCE for c in crystals]
        there = [c for c, good in zip(crystals, valid, strict=True) if c is not None and good]
        looked = iter([] if oracle is None else evaluate_all(oracle, there))
        energies = []
        for good in valid:
            result = next(looked, None) if good else None
            energies.append(result.energy / cell.n_atoms if result is not None and result.ok else None)
        same = [c is not None and matches(c, p, LOOSE) for c, p in zip((crystals[0], crystals[-1]), pair, strict=True)]
        ways.append(Way(cell.formula, cell.n_atoms, tuple(valid), tuple(energies), (same[0], same[1])))
    return ways


class Shift(NamedTuple):
    """How far latents move when every atom is displaced.

    Attributes:
        displacement: standard deviation of each Cartesian component, angstrom.
        median, percentile_90: distance from the latent of the undisplaced crystal.
    """

    displacement: float
    median: float
    percentile_90: float


@torch.no_grad()
def latent_shifts(
    model: CDVAE,
    crystals: Sequence[Crystal],
    random: np.random.Generator,
    *,
    displacements: Sequence[float] = DISPLACEMENTS,
) -> list[Shift]:
    """Return how far the latents of crystals move when their atoms are displaced at random."""
    latents = model.encode(CrystalBatch.from_crystals(crystals))[0]
    shifts = []
    for size in displacements:
        moved = [
            Crystal(
                c.lattice,
                c.frac_coords + size * random.normal(size=c.frac_coords.shape) @ np.linalg.inv(c.lattice),
                c.atomic_numbers,
            )
            for c in crystals
        ]
        apart = torch.linalg.norm(model.encode(CrystalBatch.from_crystals(moved))[0] - latents, dim=1).numpy()
        shifts.append(Shift(size, float(np.median(apart)), float(np.percentile(apart, 90))))
    return shifts


@torch.no_grad()
def pair_distances(model: CDVAE, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Return the distance between the two latents of each pair."""
    first, second = (model.encode(CrystalBatch.from_crystals(some))[0] for some in zip(*pairs, strict=True))
    distances: NDArray[np.float64] = torch.linalg.norm(first - second, dim=1).double().numpy()
    return distances


class Probe(NamedTuple):
    """Errors of linear regressions on unseen compositions, eV/atom.

    Attributes:
        composition: from element fractions.
        latent: from element fractions and the latent.
        within_composition, within: the same for energies relative to the mean of their composition, which element
            fractions alone cannot predict.
        n_train, n_unseen: numbers of crystals.
    """

    composition: float
    latent: float
    within_composition: float
    within: float
    n_train: int
    n_unseen: int


def probe_energy(data: SurrogateData) -> Probe:
    """Return the errors of ridge regressions of the energy, without and with latents.

    Raises:
        DataError: there is nothing to test on.
    """
    train, unseen = ~data.is_val, data.is_val
    if not bool(unseen.any()):
        raise DataError("there is no crystal of an unseen composition to probe on.")
    std = data.latents[train].std(dim=0).clamp_min(1e-3)
    latents = (data.latents - data.latents[train].mean(dim=0)) / std
    both = torch.cat([data.composition_features, 0.1 * latents], dim=1)
    groups = composition_keys(data.composition_features[unseen])
    errors = [
        (_ridge(x[train], data.energies[train], x[unseen]) - data.energies[unseen]).double().numpy()
        for x in (data.composition_features, both)
    ]
    alone, with_latent = (float(np.abs(error).mean()) for error in errors)
    return Probe(
        alone, with_latent, _within(errors[0], groups), _within(errors[1], groups), int(train.sum()), len(groups)
    )


def _ridge(x: Float[Tensor, "n k"], y: Float[Tensor, " n"], asked: Float[Tensor, "m k"]) -> Float[Tensor, " m"]:
    x, y, asked = x.double(), y.double(), asked.double()
    mean, level = x.mean(dim=0), y.mean()
    gram = (x - mean).T @ (x - mean) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, (x - mean).T @ (y - level))
    predicted: Tensor = (asked - mean) @ weights + level
    return predicted.float()


def _within(errors: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Return the mean absolute error relative to composition means, over those with several crystals; NaN for none."""
    sizes = np.bincount(groups)
    centred = errors - (np.bincount(groups, weights=errors) / np.maximum(sizes, 1))[groups]
    several = sizes[groups] > 1
    return float(np.abs(centred[several]).mean()) if several.any() else float("nan")
