"""Searchers by name, and how each uses the energies it receives."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from tiny import caesium_chloride, rock_salt

from lcoms.baselines.battery import packing_energy_relaxed
from lcoms.baselines.bayesian import OptunaSearcher
from lcoms.baselines.evolution import EvolutionConfig, EvolutionSearcher
from lcoms.baselines.methods import METHODS, make_searcher
from lcoms.baselines.random_search import PyxtalCrystals, RandomVectors
from lcoms.baselines.searcher import run_search
from lcoms.baselines.swarm import SwarmConfig, SwarmSearcher
from lcoms.baselines.symmetric_space import SpaceConfig, SymmetricSpace
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.errors import ConfigError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import evaluate_all
from lcoms.structure.crystal import Composition, Crystal

SALT = Composition.from_formula("NaCl")
SPACE = SpaceConfig(lengths=(3.0, 7.0), angles=(60.0, 120.0))


@pytest.mark.parametrize("name", METHODS)
def test_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = make_searcher(name, SALT, 2, seed=5)
    assert searcher.name == name
    assert searcher.settings["seed"] == 5
    assert searcher.settings["composition"] == "Na2Cl2"
    trials = searcher.ask(3)
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert {trial.crystal.composition.formula for trial in trials if trial.crystal} <= {"Na2Cl2"}
    assert all((trial.crystal is None) == bool(trial.reason) for trial in trials)
    if name in ("random", "cells", "pso"):  # they need nothing more than what is always there
        return
    monkeypatch.setitem(sys.modules, "optuna", None)
    for module in ("evolution", "random_search"):
        monkeypatch.setattr(f"lcoms.baselines.{module}.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"not installed; type: pip install \"lcoms\[baselines\]\""):
        make_searcher(name, SALT, seed=0)


def test_unknown_names_and_wrong_numbers() -> None:
    with pytest.raises(ConfigError, match="no search method 'bo'; choose random, tpe, pso"):
        make_searcher("bo", SALT, seed=0)
    for wrong in ({"population": 0}, {"fresh": 1.5}, {"strain": 0.0}, {"rattle_size": (0.5, 0.1)}):
        with pytest.raises(ConfigError):
            EvolutionConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        SwarmConfig(size=0)


def test_a_swarm_moves_by_its_equation() -> None:
    """Of two particles without inertia, the better one stays, and the other moves towards it, never beyond."""
    space = SymmetricSpace(SALT, SPACE)
    swarm = SwarmSearcher(space, SwarmConfig(size=2, inertia=0.0, own=0.5, common=0.5), seed=1)
    first, second = swarm.ask(5)
    assert swarm.ask() == []  # it waits
    crystal = rock_salt()
    told = [Trial(t.number, crystal, "", t.genes) for t in (first, second)]
    swarm.tell([TrialOutcome(told[0], -1.0, crystal), TrialOutcome(told[1], -2.0, crystal)])
    third, fourth = swarm.ask(5)
    x1, x2, y1, y2 = (np.array(t.genes["vector"]) for t in (first, second, third, fourth))
    np.testing.assert_array_equal(y2, x2)
    share = (y1 - x1) / (x2 - x1)
    assert (share >= 0).all()
    assert (share <= 0.5).all()
    assert share.std() > 0.05  # each direction has its own random number


def test_places_stay_in_the_space() -> None:
    space = SymmetricSpace(SALT, SPACE)
    swarm = SwarmSearcher(space, SwarmConfig(size=4, inertia=1.5), seed=0)

    def energy(crystals: Sequence[Crystal]) -> list[float]:
        found = evaluate_all(AnalyticOracle(), crystals)
        return [one.energy / crystal.n_atoms for one, crystal in zip(found, crystals, strict=True)]

    run_search(swarm, energy, budget=10)
    vectors = np.array([outcome.trial.genes["vector"] for outcome in swarm.outcomes])
    assert vectors.min() == 0.0
    assert vectors.max() == 1.0


def test_an_estimator_goes_where_energies_are_low() -> None:
    """If long cells have low energies, it proposes longer cells than at random; failures are used as well."""
    pytest.importorskip("optuna")
    axis = SymmetricSpace(SALT, SPACE).names.index("a")
    lengths = {}
    space = SymmetricSpace(SALT, SPACE)
    for method, searcher in (("tpe", OptunaSearcher(space, n_start=20)), ("random", RandomVectors(space))):
        for _ in range(50):
            trial = searcher.ask()[0]
            x = trial.genes["vector"][axis]
            searcher.tell([TrialOutcome(trial, -x if x > 0.3 else float("nan"), rock_salt())])
        lengths[method] = np.mean([outcome.trial.genes["vector"][axis] for outcome in searcher.outcomes[30:]])
    assert lengths["tpe"] > lengths["random"] + 0.15


def test_the_population_holds_the_best_once() -> None:
    pytest.importorskip("ase_ga")
    searcher = EvolutionSearcher(SALT, EvolutionConfig(population=2, n_start=5, feasibility=SPACE.feasibility))
    crystals = [rock_salt(), rock_salt(5.645), caesium_chloride(3.4, (11, 17)), rock_salt(6.5)]
    for trial, crystal, energy in zip(searcher.ask(4), crystals, (-3.0, -3.0005, -2.5, -2.0), strict=True):
        searcher.tell([TrialOutcome(trial, energy, crystal)])
    assert [parent.energy for parent in searcher._population] == [-3.0005, -2.5]


def test_offspring_come_from_all_operators() -> None:
    pytest.importorskip("ase_ga")
    searcher = make_searcher("evolution", SALT, 2, seed=0, evolution=EvolutionConfig(n_start=10, fresh=0.05))
    run_search(searcher, packing_energy_relaxed, budget=60)
    origins = [outcome.trial.genes["origin"] for outcome in searcher.outcomes]
    assert origins[:10] == ["random"] * 10
    assert set(origins) == {"random", "splice", "strain", "permutation", "rattle"}
    assert all(o.crystal.composition.formula == "Na2Cl2" for o in searcher.outcomes if o.crystal)


def test_pyxtal_gives_primitive_cells() -> None:
    pytest.importorskip("pyxtal")
    trials = PyxtalCrystals(SALT.scaled(2), seed=1).ask(4)
    found = [trial.crystal for trial in trials if trial.crystal]
    assert found
    assert {crystal.composition.formula for crystal in found} == {"Na2Cl2"}
