"""Random searches: vectors of the symmetric space, cells with random positions, or crystals from pyxtal."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from lcoms.baselines.feasibility import FeasibilityConfig, infeasibility
from lcoms.baselines.searcher import Searcher
from lcoms.baselines.symmetric_space import SymmetricSpace
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError
from lcoms.core.unique import unique
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import from_pymatgen
from lcoms.structure.lattice import wrap
from lcoms.structure.random_crystal import random_crystal
from lcoms.structure.wyckoff import primitive_basis

BATCH = 32  # proposals evaluated together
VECTOR_BATCH = 64  # few of them are feasible
GROUPS_TRIED = 50  # random space groups tried for one crystal
NO_GROUP = "no crystal of these groups"


class RandomVectors(Searcher):
    """Uniform random vectors of the symmetric space.

    Source: random search of GN-OA (Cheng, Gong & Yin, Nat. Commun. 13, 1492, 2022).
    """

    name = "random"
    batch_size = VECTOR_BATCH

    def __init__(self, space: SymmetricSpace, *, seed: int = 0) -> None:
        super().__init__({"composition": space.composition.formula, "space": to_dict(space.config), "seed": seed})
        self._space, self._seed = space, seed

    def propose(self, number: int) -> Trial:
        """Return the trial of the random vector with this number."""
        return self._space.trial(number, np.random.default_rng([self._seed, number]).random(self._space.dimension))

    def learn(self, outcome: TrialOutcome) -> None:
        """Do nothing: random searches do not learn."""


class RandomCells(Searcher):
    """Random cells of typical volume with random positions, from `random_crystal`."""

    name = "cells"
    batch_size = BATCH

    def __init__(self, composition: Composition, *, seed: int = 0) -> None:
        super().__init__({"composition": composition.formula, "seed": seed})
        self._composition, self._seed = composition, seed

    def propose(self, number: int) -> Trial:
        """Return the random crystal with this number."""
        return Trial(number, random_crystal(self._composition, np.random.default_rng([self._seed, number])))

    def learn(self, outcome: TrialOutcome) -> None:
        """Do nothing: random searches do not learn."""


class PyxtalCrystals(Searcher):
    """Crystals of random space groups from pyxtal, in their primitive cells.

    Args:
        composition: contents of the primitive cell.
        feasibility: bounds within which crystals are evaluated.
        seed: seed of all random numbers.

    Raises:
        ConfigError: pyxtal is not installed.
    """

    name = "pyxtal"
    batch_size = BATCH

    def __init__(
        self, composition: Composition, feasibility: FeasibilityConfig | None = None, *, seed: int = 0
    ) -> None:
        if find_spec("pyxtal") is None:
            raise ConfigError('pyxtal is not installed; type: pip install "lcoms[baselines]"')
        self._feasibility = feasibility or FeasibilityConfig()
        super().__init__({"composition": composition.formula, "feasibility": to_dict(self._feasibility), "seed": seed})
        self._composition, self._seed = composition, seed

    def propose(self, number: int) -> Trial:
        """Return a crystal of the first random space group that can hold the composition."""
        random = np.random.default_rng([self._seed, number])
        for group in random.integers(1, 231, GROUPS_TRIED).tolist():
            crystal = _pyxtal_crystal(self._composition, group, random)
            if crystal is not None:
                reason = infeasibility(crystal, self._feasibility)
                return Trial(number, None if reason else crystal, reason)
        return Trial(number, None, NO_GROUP)

    def learn(self, outcome: TrialOutcome) -> None:
        """Do nothing: random searches do not learn."""


def _pyxtal_crystal(composition: Composition, group: int, random: np.random.Generator) -> Crystal | None:
    """Return a crystal of a space group in its primitive cell; None where pyxtal finds none."""
    from pyxtal import pyxtal

    basis = primitive_basis(group)
    per_cell = round(1 / abs(float(np.linalg.det(basis))))
    symbols = [SYMBOLS[z] for z in composition.atomic_numbers]
    counts = [n * per_cell for n in composition.counts]
    attempt = pyxtal()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            attempt.from_random(3, group, symbols, counts, random_state=random, max_count=1)
            if not attempt.valid:
                return None
            whole = from_pymatgen(attempt.to_pymatgen())
        except Exception:  # pyxtal raises various errors where a group does not suit a composition
            return None
    coords = wrap(whole.frac_coords @ np.linalg.inv(basis))
    first = unique(range(len(coords)), lambda i, j: _same(coords[i], coords[j]))
    crystal = Crystal(basis @ whole.lattice, coords[first], whole.atomic_numbers[first])
    return crystal if crystal.composition == composition else None


def _same(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    difference = first - second
    return bool(np.abs(difference - np.round(difference)).max() < 1e-4)
