"""Every searcher passes the battery, and the battery detects faulty searchers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import count

import numpy as np
import pytest
from tiny import FACE_CENTRED, caesium_chloride

from lcoms.baselines import battery
from lcoms.baselines.battery import SearchBatteryConfig, packing_energy, packing_energy_relaxed, run_search_battery
from lcoms.baselines.evolution import EvolutionConfig
from lcoms.baselines.methods import METHODS, make_searcher
from lcoms.baselines.random_search import RandomCells
from lcoms.baselines.searcher import Searcher
from lcoms.baselines.swarm import SwarmConfig
from lcoms.baselines.symmetric_space import SpaceConfig
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import atomic_volume

NEEDS = {"tpe": "optuna", "evolution": "ase_ga", "pyxtal": "pyxtal"}
SPACE = SpaceConfig(lengths=(2.0, 7.0), angles=(60.0, 120.0))
COPPER = Composition.from_formula("Cu")


def make(name: str) -> Callable[[int], Searcher]:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    return lambda seed: make_searcher(
        name, COPPER, 2, seed=seed, space=SPACE, n_start=30,
        swarm=SwarmConfig(size=10), evolution=EvolutionConfig(n_start=20, population=10),
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in METHODS if name != "pyxtal"])
def test_every_searcher_passes(name: str) -> None:
    config = SearchBatteryConfig(budget=100, n_short=12)
    report = run_search_battery(make(name), config)
    assert [check for check in report if not check.passed] == []
    assert [check.name for check in report] == list(battery.CHECKS)


class Bad(Searcher):
    """Searcher of random cells with one fault."""

    name = "bad"
    batch_size = 4
    calls = count()

    def __init__(self, seed: int, fault: str) -> None:
        super().__init__({"seed": seed, "fault": fault})
        self._fault = fault
        self._inner = RandomCells(COPPER.scaled(2), seed=0 if fault == "seed" else seed)

    def propose(self, number: int) -> Trial:
        if self._fault == "contents":
            other = Composition.from_formula("CuO" if number % 2 else "Cu")
            return Trial(number, RandomCells(other, seed=self.settings["seed"]).propose(number).crystal)
        if self._fault == "raises":
            raise RuntimeError("no idea")
        return self._inner.propose(number)

    def learn(self, outcome: TrialOutcome) -> None:
        if self._fault == "nan" and not outcome.ok:
            raise ValueError("not a number")


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("none", set()),
        ("seed", {"same seed, same result"}),
        ("contents", {"contents of the cell"}),
        ("nan", {"failed energies"}),
        ("raises", set(battery.CHECKS)),
    ],
)
def test_faults_are_found(fault: str, failed: set[str]) -> None:
    config = SearchBatteryConfig(budget=8, target=10.0, n_short=8)
    report = run_search_battery(lambda seed: Bad(seed, fault), config)
    assert {check.name for check in report if not check.passed} == failed


class Clocked(Bad):
    """Searcher whose proposals depend on events before its creation."""

    def propose(self, number: int) -> Trial:
        return Trial(number, self._inner.propose(next(self.calls)).crystal)


def test_hidden_state_is_found() -> None:
    report = run_search_battery(lambda seed: Clocked(seed, "none"), SearchBatteryConfig(8, 10.0, 8))
    failed = {check.name for check in report if not check.passed}
    assert failed == {"same seed, same result", "kill and resume", "state as JSON"}


def test_an_optimum_that_is_not_reached_is_told() -> None:
    report = run_search_battery(lambda seed: Bad(seed, "none"), SearchBatteryConfig(4, 1e-6, 4))
    assert [check.name for check in report if not check.passed] == ["known optimum"]
    assert "after 4 evaluations" in report[0].note
    with pytest.raises(ConfigError, match="at least 4"):
        SearchBatteryConfig(budget=2)


def test_the_lowest_energy_is_that_of_close_packings() -> None:
    volume = atomic_volume(29)
    fcc = Crystal(np.cbrt(4 * volume) * FACE_CENTRED, np.zeros((1, 3)), np.array([29]))
    bcc = caesium_chloride(float(np.cbrt(2 * volume)), (29, 29))
    cube = Crystal(np.cbrt(volume) * np.eye(3), np.zeros((1, 3)), np.array([29]))
    assert packing_energy([fcc, bcc, cube]) == pytest.approx(
        [0.0, 2 ** (5 / 6) / 3**0.5 - 1, 2 ** (1 / 6) - 1], abs=1e-9
    )
    wide = Crystal(2 * fcc.lattice, fcc.frac_coords, fcc.atomic_numbers)
    assert packing_energy([wide]) == pytest.approx([49.0])
    answer = packing_energy_relaxed([wide])[0]
    assert answer.energy_per_atom == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(answer.crystal.lattice, fcc.lattice)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyxtal") is None, reason="pyxtal is not installed")
def test_pyxtal_passes() -> None:
    report = run_search_battery(make("pyxtal"), SearchBatteryConfig(budget=12, target=0.5, n_short=4))
    assert [check for check in report if not check.passed] == []
