"""Searches keep their budget, accept relaxed crystals, and resume from a file truncated anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt

from lcoms.baselines.battery import identical, packing_energy, packing_energy_relaxed
from lcoms.baselines.energies import RelaxedEnergy
from lcoms.baselines.methods import make_searcher
from lcoms.baselines.searcher import Searcher, run_search
from lcoms.baselines.swarm import SwarmConfig
from lcoms.baselines.symmetric_space import SpaceConfig
from lcoms.baselines.trial import Answer, Trial, TrialOutcome
from lcoms.core.errors import ConfigError, DataError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.relax import RelaxConfig
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches

SPACE = SpaceConfig(lengths=(3.0, 7.0), angles=(60.0, 120.0))


class Listed(Searcher):
    """Searcher of rock salts with given lattice constants; None is infeasible."""

    name = "listed"

    def __init__(self, sizes: Sequence[float | None]) -> None:
        super().__init__({"sizes": list(sizes)})
        self._sizes = sizes
        self.learnt: list[TrialOutcome] = []

    def propose(self, number: int) -> Trial | None:
        if number >= len(self._sizes):
            return None
        size = self._sizes[number]
        return Trial(number, None, "too small") if size is None else Trial(number, rock_salt(size))

    def learn(self, outcome: TrialOutcome) -> None:
        self.learnt.append(outcome)


def size(crystals: Sequence[Crystal]) -> list[float]:
    return [float(crystal.lattice[0, 1] * 2) for crystal in crystals]


def test_books_are_kept() -> None:
    seen: list[tuple[int, float]] = []
    searcher = Listed([None, 6.0, 5.0, None, 7.0, 4.0])
    result = run_search(searcher, size, budget=3, progress=lambda n, lowest: seen.append((n, lowest)))
    assert result.energies.tolist() == [6.0, 5.0, 7.0]
    assert result.trials.tolist() == [1, 2, 4]
    assert result.lowest.tolist() == [6.0, 5.0, 5.0]
    assert (result.n_evaluations, result.n_infeasible, result.infeasible) == (3, 2, {"too small": 2})
    assert (np.diff(result.seconds) >= 0).all()
    assert seen == [(0, math.inf), (1, 6.0), (2, 5.0), (2, 5.0), (3, 5.0)]
    assert [outcome.energy_per_atom for outcome in result.best] == [5.0, 6.0, 7.0]
    assert run_search(searcher, size, budget=9).energies.tolist() == [6.0, 5.0, 7.0, 4.0]  # it goes on, to its end
    assert run_search(Listed([None] * 5), size, budget=1, max_infeasible=2).n_infeasible == 2
    assert run_search(Listed([]), size, budget=1).best == ()


def test_alike_crystals_are_kept_once() -> None:
    def near(crystals: Sequence[Crystal]) -> list[float]:
        return [energy / 1000 for energy in size(crystals)]

    sizes = [5.0, 5.1, 5.2]
    assert [o.trial.number for o in run_search(Listed(sizes), near, budget=3).best] == [0]
    assert [o.trial.number for o in run_search(Listed(sizes), size, budget=3).best] == [0, 1, 2]
    assert len(run_search(Listed(sizes), size, budget=3, keep=2).best) == 2


def test_relaxed_crystals_come_back_and_failures_stay_out() -> None:
    def energy(crystals: Sequence[Crystal]) -> list[Answer | float]:
        a = size(crystals)[0]
        return [math.inf] if a > 6 else [Answer(a, rock_salt(a / 2))]

    searcher = Listed([5.0, 7.0])
    result = run_search(searcher, energy, budget=2)
    assert np.isnan(result.energies).tolist() == [False, True]
    assert [o.crystal.volume for o in searcher.learnt if o.ok and o.crystal] == [rock_salt(2.5).volume]
    assert [o.trial.crystal.volume for o in result.best if o.trial.crystal] == [rock_salt(5.0).volume]
    with pytest.raises(ConfigError, match="another composition"):
        run_search(Listed([5.0]), lambda _: [Answer(0.0, rock_salt(numbers=(3, 9)))], budget=1)
    with pytest.raises(ConfigError, match="gave 0 answers to 1 crystals"):
        run_search(Listed([5.0]), lambda _: [], budget=1)
    with pytest.raises(ConfigError, match="at least 1"):
        run_search(Listed([5.0]), size, budget=0)


def test_outcomes_are_told_in_order() -> None:
    searcher = Listed([5.0, 6.0])
    first, second = searcher.ask(5)
    with pytest.raises(ConfigError, match="trial 1 was told where 0 comes next"):
        searcher.tell([TrialOutcome(second, 1.0, second.crystal)])
    searcher.tell([TrialOutcome(first, 1.0, first.crystal)])
    with pytest.raises(ConfigError, match="trial 0 was told where 1 comes next"):
        searcher.tell([TrialOutcome(first, 1.0, first.crystal)])
    assert searcher.ask() == []
    state = json.loads(json.dumps(searcher.state()))
    with pytest.raises(ConfigError, match="has begun"):
        searcher.restore(state)
    with pytest.raises(ConfigError, match="another search"):
        Listed([5.0]).restore(state)
    with pytest.raises(ConfigError, match="damaged"):
        Listed([5.0, 6.0]).restore({**state, "outcomes": [{}]})


@pytest.mark.parametrize("cut", [1, 40, 700, 3000])
def test_a_file_cut_anywhere_gives_the_same_result(tmp_path: Path, cut: int) -> None:
    def make() -> Searcher:
        swarm = SwarmConfig(size=5)
        return make_searcher("pso", Composition.from_formula("Cu2"), seed=3, space=SPACE, swarm=swarm)

    path = tmp_path / "search.jsonl"
    whole = run_search(make(), packing_energy_relaxed, budget=9, checkpoint=path)
    assert identical(whole, run_search(make(), packing_energy_relaxed, budget=9))
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    asked: list[int] = []

    def energy(crystals: Sequence[Crystal]) -> list[Answer]:
        asked.append(len(crystals))
        return packing_energy_relaxed(crystals)

    assert identical(whole, run_search(make(), energy, budget=9, checkpoint=path))
    assert 0 < sum(asked) < 9
    asked.clear()
    again = run_search(make(), energy, budget=9, checkpoint=path)
    assert identical(whole, again)
    assert asked == []
    assert again.seconds.tolist() == sorted(again.seconds.tolist())


def test_a_file_of_another_search_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    run_search(Listed([5.0]), size, budget=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"belongs to another run .*5\.0.* there, .*6\.0.* here"):
        run_search(Listed([6.0]), size, budget=1, checkpoint=path)
    with pytest.raises(ConfigError, match=r"energy is .* there, analytic, relaxed here"):
        run_search(Listed([5.0]), RelaxedEnergy(AnalyticOracle()), budget=1, checkpoint=path)
    begun = Listed([5.0])
    run_search(begun, size, budget=1)
    with pytest.raises(ConfigError, match="so does the searcher"):
        run_search(begun, size, budget=1, checkpoint=path)
    assert path.read_bytes() == before
    path.write_text("{}\n")
    with pytest.raises(DataError, match="line 1, is not the start of a file of this kind"):
        run_search(Listed([5.0]), size, budget=1, checkpoint=path)


def test_relaxations_are_energies() -> None:
    oracle = AnalyticOracle()
    crystals = [rock_salt(5.5), Crystal(np.eye(3) * 5, np.zeros((2, 3)), np.array([11, 17]))]
    plain = oracle.evaluate(crystals[:1])[0].energy / 2
    relaxing = RelaxedEnergy(oracle, RelaxConfig(fmax=0.01))
    answers = relaxing(crystals)
    assert relaxing.name == "analytic, relaxed, fmax=0.01"
    assert answers[0].energy_per_atom < plain
    assert answers[0].energy_per_atom == pytest.approx(oracle.evaluate([answers[0].crystal])[0].energy / 2)
    assert math.isnan(answers[1].energy_per_atom)


def test_rock_salt_is_found_by_relaxing_what_is_proposed() -> None:
    searcher = make_searcher("random", Composition.from_formula("NaCl"), 1, seed=0, space=SPACE)
    result = run_search(searcher, RelaxedEnergy(AnalyticOracle(), RelaxConfig(fmax=0.1)), budget=10, batch_size=128)
    assert result.best[0].crystal is not None
    assert matches(result.best[0].crystal, rock_salt(), STRICT)


@pytest.mark.dft
@pytest.mark.skipif(find_spec("gpaw") is None, reason="GPAW is not installed")
def test_a_swarm_can_be_led_by_gpaw() -> None:
    searcher = make_searcher(
        "pso", Composition.from_formula("NaCl"), 1, seed=0, space=SPACE, swarm=SwarmConfig(size=100)
    )
    relaxed = RelaxedEnergy("gpaw:cutoff=200,kpts=1", RelaxConfig(fmax=0.5, max_steps=2), processes=1)
    result = run_search(searcher, relaxed, budget=2, batch_size=20)
    assert result.n_evaluations == 2
    assert np.isfinite(result.energies).any()


def test_packing_needs_no_feasible_start() -> None:
    """A swarm without a feasible particle searches at random until it has one."""
    searcher = make_searcher("pso", Composition.from_formula("Cu"), seed=0, swarm=SwarmConfig(size=2))
    result = run_search(searcher, packing_energy, budget=2)
    assert result.n_evaluations == 2
    assert result.n_infeasible > 10
