"""Searchers by name.

| name | method |
| --- | --- |
| random | uniform random vectors of the symmetric space (GN-OA's random search) |
| tpe | tree-structured Parzen estimators in this space (GN-OA's Bayesian optimisation) |
| pso | particle swarm in this space |
| evolution | evolutionary search with ASE's operators, from random cells |
| cells | random cells with random positions |
| pyxtal | crystals of random space groups from pyxtal |
"""

from __future__ import annotations

from lcoms.baselines.bayesian import OptunaSearcher
from lcoms.baselines.evolution import EvolutionConfig, EvolutionSearcher
from lcoms.baselines.random_search import PyxtalCrystals, RandomCells, RandomVectors
from lcoms.baselines.searcher import Searcher
from lcoms.baselines.swarm import SwarmConfig, SwarmSearcher
from lcoms.baselines.symmetric_space import SpaceConfig, SymmetricSpace
from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Composition

METHODS = ("random", "tpe", "pso", "evolution", "cells", "pyxtal")


def make_searcher(
    name: str,
    composition: Composition,
    n_formula_units: int | None = None,
    *,
    seed: int,
    space: SpaceConfig | None = None,
    n_start: int = 200,
    swarm: SwarmConfig | None = None,
    evolution: EvolutionConfig | None = None,
) -> Searcher:
    """Return a searcher for one cell.

    Args:
        name: one of `METHODS`.
        composition: contents of the cell, or of one formula unit where their number is given.
        n_formula_units: number of formula units in the cell; None takes the composition as given.
        seed: seed of all random numbers; equal seeds give equal searches.
        space: search space of random, tpe and pso; its bounds of feasible crystals also apply to pyxtal.
        n_start: number of random proposals of tpe before its first estimate, including infeasible ones.
        swarm: parameters of pso.
        evolution: parameters of evolution.

    Raises:
        ConfigError: there is no such method, or a package that it needs is not installed.
        FormulaError: no space group can hold the contents.
    """
    cell = composition if n_formula_units is None else composition.scaled(n_formula_units)
    if name == "random":
        return RandomVectors(SymmetricSpace(cell, space), seed=seed)
    if name == "tpe":
        return OptunaSearcher(SymmetricSpace(cell, space), n_start=n_start, seed=seed)
    if name == "pso":
        return SwarmSearcher(SymmetricSpace(cell, space), swarm, seed=seed)
    if name == "evolution":
        return EvolutionSearcher(cell, evolution, seed=seed)
    if name == "cells":
        return RandomCells(cell, seed=seed)
    if name == "pyxtal":
        return PyxtalCrystals(cell, (space or SpaceConfig()).feasibility, seed=seed)
    raise ConfigError(f"there is no search method {name!r}; choose {', '.join(METHODS)}.")
