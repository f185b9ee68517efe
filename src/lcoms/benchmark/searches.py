"""Searches as methods of the benchmark: the budget is divided among the cells that the track allows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lcoms.baselines.energies import RelaxedEnergy
from lcoms.baselines.evolution import EvolutionConfig
from lcoms.baselines.methods import make_searcher
from lcoms.baselines.searcher import run_search
from lcoms.baselines.swarm import SwarmConfig
from lcoms.baselines.trial import Answer, EnergyFunction, TrialOutcome
from lcoms.benchmark.protocol import BenchmarkConfig, Task, why_unphysical
from lcoms.core.errors import FormulaError
from lcoms.models.megnet import Megnet, formation_energies
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.references import load_references
from lcoms.oracles.registry import make_oracle
from lcoms.oracles.wrappers import CountedOracle
from lcoms.relax.result import RelaxConfig
from lcoms.structure.crystal import Composition, Crystal

SWARM, POPULATION, N_START = 200, 20, 40  # usual numbers of particles (200 in GN-OA), parents and random crystals
ROUNDS = 10  # minimum number of moves of a swarm, so that small budgets have small swarms


class Found(NamedTuple):
    """Result of a method.

    Attributes:
        crystal: the answer; None if there is none.
        seconds: by part, as in `rows.PARTS`.
        n_evaluations: number of evaluations of the method's own energy.
        reason: why there is no answer.
        descent: predicted formation energies along a descent, eV/atom.
        way: evaluations, seconds, predicted energy and crystal at several intermediate points.
        single_points: number of oracle evaluations in relaxations.
    """

    crystal: Crystal | None
    seconds: Mapping[str, float]
    n_evaluations: int = 0
    reason: str = ""
    descent: tuple[float, ...] = ()
    way: tuple[tuple[int, float, float | None, Crystal | None], ...] = ()
    single_points: int = 0


class MegnetEnergy:
    """Formation energies by a graph network, for searches."""

    name = "megnet"

    def __init__(self, model: Megnet) -> None:
        self._model = model

    def __call__(self, crystals: Sequence[Crystal]) -> list[float]:
        """Return energies in eV/atom; NaN if an atom has no neighbour."""
        return [float(energy) for energy in formation_energies(self._model, crystals)]


class BelievedEnergy:
    """Energies after relaxation, except if the oracle is clearly wrong, as in `lcoms predict`.

    Attributes:
        name: of the energy.
    """

    def __init__(self, oracle: EnergyOracle, config: RelaxConfig) -> None:
        self._relaxed, self._references = RelaxedEnergy(oracle, config), load_references(oracle.name)
        self.name = self._relaxed.name

    def __call__(self, crystals: Sequence[Crystal]) -> list[Answer]:
        """Return energies in eV/atom, NaN if missing or not credible, with the relaxed crystals."""
        answers = self._relaxed(crystals)
        absurd = [bool(why_unphysical(crystal, energy, self._references)) for energy, crystal in answers]
        return [a._replace(energy_per_atom=nan) if bad else a for a, bad in zip(answers, absurd, strict=True)]


def search_with_megnet(name: str, model: Megnet, task: Task, seed: int, config: BenchmarkConfig) -> Found:
    """Search symmetric structures with the graph network's energy."""
    budget = config.tpe_budget if name == "tpe" else config.budget
    return _search(name, MegnetEnergy(model), task, seed, budget, config.max_units)


def search_with_judge(name: str, judge: EnergyOracle, task: Task, seed: int, config: BenchmarkConfig) -> Found:
    """Search with proposals that are relaxed by the judge."""
    counted = CountedOracle(judge)
    energy = BelievedEnergy(counted, config.search_relax)
    found = _search(name, energy, task, seed, config.relaxations, config.max_units)
    return found._replace(single_points=counted.n_crystals)


def search_with_dft(task: Task, seed: int, config: BenchmarkConfig, folder: Path | None = None) -> Found:
    """Run a particle swarm with proposals that are relaxed by density functional theory.

    Args:
        folder: stores the search as it proceeds; an interrupted one is resumed, but its earlier single points are not
            counted.

    Raises:
        OracleError: its program is not installed.
    """
    counted = CountedOracle(make_oracle(config.dft))
    energy = BelievedEnergy(counted, config.search_relax)
    found = _search("pso", energy, task, seed, config.dft_relaxations, config.max_units, folder)
    return found._replace(single_points=counted.n_crystals)


def cells_of(task: Task, max_units: int) -> list[Composition]:
    """Return the cells to search: the known one, or those of one or more formula units."""
    if task.track == "paper":
        return [task.cell]
    return [task.reference.composition.scaled(n) for n in range(1, max_units + 1)]


def _search(
    name: str,
    energy: EnergyFunction,
    task: Task,
    seed: int,
    budget: int,
    max_units: int,
    folder: Path | None = None,
) -> Found:
    """Run one search per cell, each with its share of the budget; the lowest energy per atom wins."""
    clock = time.perf_counter()
    cells = cells_of(task, max_units)[:budget]
    shares = np.diff(np.linspace(0, budget, len(cells) + 1).astype(int)).tolist()
    told: list[TrialOutcome] = []
    infeasible, impossible = 0, ""
    for cell, share in zip(cells, shares, strict=True):
        before = time.perf_counter() - clock
        try:
            log = None if folder is None else folder / f"{name}-{cell.formula}-seed{seed}-{share}.jsonl"
            outcomes = _outcomes(name, cell, energy, seed, share, log)
        except FormulaError as error:
            impossible = str(error)
            continue
        told += [replace(one, seconds=before + one.seconds) for one in outcomes if one.evaluated]
        infeasible += sum(not outcome.evaluated for outcome in outcomes)
    # The time of a resumed search includes its earlier part.
    seconds = {"search": max([time.perf_counter() - clock, *(outcome.seconds for outcome in told[-1:])])}
    way, best = _way(told)
    if best is None:
        reason = impossible or f"no energy: {len(told)} evaluations failed and {infeasible} proposals were infeasible"
        return Found(None, seconds, len(told), reason)
    return Found(best.crystal, seconds, len(told), way=tuple(way))


def _outcomes(
    name: str, cell: Composition, energy: EnergyFunction, seed: int, budget: int, log: Path | None
) -> Sequence[TrialOutcome]:
    """Return all outcomes of one search; small budgets have smaller swarms, populations and first rounds."""
    share = max(1, budget // ROUNDS)
    searcher = make_searcher(
        name,
        cell,
        seed=seed,
        n_start=min(SWARM, max(10, budget // 5)),
        swarm=SwarmConfig(size=min(SWARM, max(5, share))),
        evolution=EvolutionConfig(
            n_start=min(N_START, max(4, budget // 3)), population=min(POPULATION, max(3, budget // 5))
        ),
    )
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    # A stored search writes a line for each evaluation.
    run_search(searcher, energy, budget=budget, batch_size=None if log is None else 1, keep=1, checkpoint=log)
    return searcher.outcomes


def _way(
    told: Sequence[TrialOutcome],
) -> tuple[list[tuple[int, float, float | None, Crystal | None]], TrialOutcome | None]:
    """Return the lowest crystal after 1, 2, 5, 10, 20, 50, ... evaluations, if it changed, and the lowest of all."""
    way: list[tuple[int, float, float | None, Crystal | None]] = []
    best = noted = None
    for n, outcome in enumerate(told, 1):
        if outcome.ok and (best is None or outcome.energy_per_atom < best.energy_per_atom):
            best = outcome
        last = n == len(told)
        if best is not None and best is not noted and (last or is_milestone(n)):
            way.append((n, outcome.seconds, best.energy_per_atom, best.crystal))
            noted = best
    return way, best


def is_milestone(n: int) -> bool:
    """Return whether a number is 1, 2 or 5 times a power of ten."""
    while n % 10 == 0:
        n //= 10
    return n in (1, 2, 5)
