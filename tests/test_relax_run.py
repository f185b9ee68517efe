"""Many relaxations: they are independent, failures do not affect others, and kills cost only time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_relax_optimizer import random_crystals
from tiny import rock_salt, shaken
from toy_oracles import CURSED, Deadly, GivesNan, Raises, Springs

from lcoms.core.errors import ConfigError, DataError, OracleError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.relax import RelaxConfig, RelaxResult, Status, relax_crystals
from lcoms.relax.checkpoint import Checkpoint, crystal_key
from lcoms.relax.result import result_from_dict, result_to_dict
from lcoms.structure.crystal import Crystal

CONFIG = RelaxConfig(fmax=0.1, max_steps=100)


def same(one: RelaxResult, other: RelaxResult) -> bool:
    """Return whether two results are identical bit for bit."""
    return json.dumps(result_to_dict(one)) == json.dumps(result_to_dict(other))


def all_same(ones: list[RelaxResult], others: list[RelaxResult]) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


def cursed(n: int, place: int) -> list[Crystal]:
    """Return distorted rock salts, one of them with krypton."""
    return [
        shaken(rock_salt(5.0, (11, CURSED if i == place else 17)), 0.1 if i == place else 0.02 + 0.02 * i, seed=i)
        for i in range(n)
    ]


@pytest.fixture
def toys_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_a_crystal_s_result_is_the_same_alone_and_among_others() -> None:
    crystals = random_crystals("Na2Cl2", 5) + random_crystals("Si3", 3) + random_crystals("Na4Cl4", 3)
    oracle = Raises()  # batches of 4: crystals share them and are followed by others
    together = relax_crystals(crystals, oracle, CONFIG)
    assert len({result.n_steps for result in together}) > 3
    for crystal, result in zip(crystals, together, strict=True):
        assert same(relax_crystals([crystal], oracle, CONFIG)[0], result)
    backwards = relax_crystals(crystals[::-1], oracle, CONFIG)
    assert all_same(backwards[::-1], together)


def test_equal_starts_are_relaxed_once_and_all_are_answered() -> None:
    class Counting(Springs):
        asked = 0

        def evaluate(self, crystals):  # type: ignore[no-untyped-def]
            self.asked += len(crystals)
            return super().evaluate(crystals)

    crystal = shaken(rock_salt(5.0), 0.1)
    one, three = Counting(), Counting()
    [single] = relax_crystals([crystal], one, CONFIG)
    told: list[int] = []
    results = relax_crystals([crystal] * 3, three, CONFIG, progress=lambda number, _: told.append(number))
    assert all_same(results, [single] * 3)
    assert one.asked == three.asked == single.n_steps + 1
    assert sorted(told) == [0, 1, 2]
    assert relax_crystals([], "analytic") == []


@pytest.mark.parametrize("oracle", [Raises(), GivesNan()])
def test_one_crystal_that_the_oracle_fails_on_among_ten(oracle: EnergyOracle) -> None:
    crystals = cursed(10, 6)
    results = relax_crystals(crystals, oracle, CONFIG)
    assert [result.status is Status.ORACLE_FAILED for result in results] == [i == 6 for i in range(10)]
    assert "krypton is not liked" in results[6].reason or "not finite" in results[6].reason
    assert results[6].crystal is crystals[6]
    assert np.isnan(results[6].energy)
    others = relax_crystals([c for i, c in enumerate(crystals) if i != 6], Raises(), CONFIG)
    assert all_same(results[:6] + results[7:], others)


def test_the_key_of_a_relaxation_changes_with_every_number_of_the_crystal(tmp_path: Path) -> None:
    crystal = rock_salt(5.0)
    strained = Crystal(crystal.lattice * 1.001, crystal.frac_coords, crystal.atomic_numbers)
    moved = Crystal(crystal.lattice, crystal.frac_coords * 0.999, crystal.atomic_numbers)
    other = Crystal(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers[::-1].copy())
    assert len({crystal_key(one) for one in (crystal, strained, moved, other)}) == 4
    assert crystal_key(rock_salt(5.0)) == crystal_key(crystal)
    with Checkpoint(tmp_path / "kept.jsonl", "analytic", CONFIG) as store:
        (result,) = relax_crystals([crystal], AnalyticOracle(), CONFIG)
        store.put(crystal, result)
        assert store.get(crystal) is result
        assert store.get(strained) is store.get(moved) is store.get(other) is None


def test_elements_that_the_oracle_does_not_know_are_named_and_the_rest_goes_on() -> None:
    good, bad = shaken(rock_salt(5.0), 0.1), rock_salt(numbers=(11, 103))
    results = relax_crystals([bad, good], Raises(), CONFIG)
    assert [result.status for result in results] == [Status.ORACLE_FAILED, Status.CONVERGED]
    assert results[0].reason == "no lawrencium here."


def test_results_survive_json_to_the_last_bit() -> None:
    config = RelaxConfig(fmax=0.1, trajectory="frames")
    for result in relax_crystals(cursed(2, 1), Raises(), config):
        back = result_from_dict(json.loads(json.dumps(result_to_dict(result), allow_nan=False)))
        assert same(back, result)
        np.testing.assert_array_equal(back.crystal.frac_coords, result.crystal.frac_coords)
        assert back.crystal.lattice.tobytes() == result.crystal.lattice.tobytes()
        assert back.trajectory is not None
        assert result.trajectory is not None
        assert back.trajectory.energies == result.trajectory.energies


@pytest.mark.usefixtures("toys_for_workers")
def test_two_processes_give_what_one_gives() -> None:
    crystals = random_crystals("Na2Cl2", 6)
    here = relax_crystals(crystals, Raises(), CONFIG)
    assert all_same(relax_crystals(crystals, "toy_oracles:Slow", CONFIG, processes=2), here)


@pytest.mark.usefixtures("toys_for_workers")
def test_a_worker_that_is_killed_costs_only_the_crystal_it_died_of(tmp_path: Path) -> None:
    crystals = cursed(7, 2)
    path = tmp_path / "checkpoint.jsonl"
    results = relax_crystals(crystals, "toy_oracles:Deadly", CONFIG, processes=2, checkpoint=path)
    assert [result.status is Status.WORKER_DIED for result in results] == [i == 2 for i in range(7)]
    assert "killed" in results[2].reason
    others = [c for i, c in enumerate(crystals) if i != 2]
    assert all_same(results[:2] + results[3:], relax_crystals(others, Raises(), CONFIG))
    with Checkpoint(path, Deadly.name, CONFIG) as store:
        assert store.get(crystals[2]) is None  # the next run may have more luck
        assert len(store) == 6


@pytest.mark.usefixtures("toys_for_workers")
def test_workers_that_never_start_are_an_error() -> None:
    with pytest.raises(OracleError, match=r"before they are ready \(code 7\)"):
        relax_crystals(cursed(4, 0), "toy_oracles:Leaves", CONFIG, processes=2)


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give its name"):
        relax_crystals([rock_salt()], AnalyticOracle(), processes=2)
    with pytest.raises(ConfigError, match="at least one process"):
        relax_crystals([rock_salt()], "analytic", processes=0)
    with pytest.raises(OracleError):
        relax_crystals([rock_salt()], "no such oracle")
    path = tmp_path / "checkpoint.jsonl"
    relax_crystals([rock_salt()], "analytic", CONFIG, checkpoint=path)
    with pytest.raises(ConfigError, match=r"fmax is 0\.1 there, 0\.2 here"):
        relax_crystals([rock_salt()], "analytic", RelaxConfig(fmax=0.2), checkpoint=path)
    with pytest.raises(ConfigError, match="oracle is analytic there"):
        relax_crystals([rock_salt()], Raises(), CONFIG, checkpoint=path)
    with Checkpoint(path, "analytic", CONFIG), pytest.raises(ConfigError, match="in use"):
        relax_crystals([rock_salt()], "analytic", CONFIG, checkpoint=path)
    path.write_text("what is this\n")
    with pytest.raises(DataError, match="line 1, is not the start of a file of this kind"):
        relax_crystals([rock_salt()], "analytic", CONFIG, checkpoint=path)


def test_a_checkpoint_cut_anywhere_gives_the_identical_result(tmp_path: Path) -> None:
    crystals = cursed(6, 1)
    full = tmp_path / "full.jsonl"
    expected = relax_crystals(crystals, Raises(), CONFIG, checkpoint=full)
    content = full.read_bytes()
    assert content.count(b"\n") == 6  # the first line, and all but the one that has no energy at all
    for length in {*range(0, len(content), 997), len(content) - 1, len(content), 5}:
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(content[:length])
        told: list[int] = []
        results = relax_crystals(
            crystals, Raises(), CONFIG, checkpoint=cut, progress=lambda number, _, told=told: told.append(number)
        )
        assert all_same(results, expected)
        assert sorted(told) == list(range(6))
        assert sorted(cut.read_bytes().splitlines()) == sorted(content.splitlines())


def test_a_changed_digit_of_a_checkpoint_is_noticed_and_its_crystal_relaxed_again(tmp_path: Path) -> None:
    crystals, path = [shaken(rock_salt(5.0), 0.1, seed) for seed in range(3)], tmp_path / "kept.jsonl"
    expected = relax_crystals(crystals, AnalyticOracle(), CONFIG, checkpoint=path)
    lines = path.read_text().splitlines(keepends=True)
    energy = f'"energy": {expected[1].energy!r}'
    (place,) = (i for i, line in enumerate(lines) if energy in line)
    changed = lines[place].replace(energy, f'"energy": {expected[1].energy - 1!r}')
    path.write_text("".join([*lines[:place], changed, *lines[place + 1 :]]))
    sentence = f"line {place + 1}, is no line of a checkpoint as it was written; delete the line"
    with pytest.raises(DataError, match=sentence):
        relax_crystals(crystals, AnalyticOracle(), CONFIG, checkpoint=path)
    path.write_text("".join([*lines[:place], *lines[place + 1 :]]))
    assert all_same(relax_crystals(crystals, AnalyticOracle(), CONFIG, checkpoint=path), expected)


class RunsOutOfMemory(Raises):
    """Oracle that runs out of memory after several evaluations, like a limited process; later there is enough."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 4

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        self.left -= 1
        if self.left < 0:
            raise MemoryError("Unable to allocate 2 GiB")
        return super().evaluate(crystals)


def test_a_want_of_memory_is_no_result_and_is_tried_again(tmp_path: Path) -> None:
    crystals, path = [shaken(rock_salt(5.0), 0.1, seed) for seed in range(3)], tmp_path / "kept.jsonl"
    results = relax_crystals(crystals, RunsOutOfMemory(), CONFIG, checkpoint=path)
    assert {result.status for result in results} == {Status.ORACLE_FAILED}
    assert not any(np.isnan(result.start_energy) for result in results)
    assert all("the machine lacked something: MemoryError" in result.reason for result in results)
    again = relax_crystals(crystals, Raises(), CONFIG, checkpoint=path)
    assert all(result.converged for result in again)


class Lost(AnalyticOracle):
    """Oracle that has no energy of a crystal after several evaluations, for a reason that does not pass."""

    left = 4

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        self.left -= 1
        found = super().evaluate(crystals)
        return found if self.left >= 0 else [Evaluation.failed("no energy there.", one.n_atoms) for one in crystals]


def test_a_failure_on_the_way_is_a_result_and_is_not_tried_again(tmp_path: Path) -> None:
    crystals, path = [shaken(rock_salt(5.0), 0.1, seed) for seed in range(3)], tmp_path / "kept.jsonl"
    results = relax_crystals(crystals, Lost(), CONFIG, checkpoint=path)
    assert {(result.status, result.reason) for result in results} == {(Status.ORACLE_FAILED, "no energy there.")}
    assert all_same(relax_crystals(crystals, AnalyticOracle(), CONFIG, checkpoint=path), results)


SCRIPT = """
import json, sys
sys.path.insert(0, {tests!r})
import numpy as np
from lcoms.structure.crystal import Composition
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.relax.result import result_to_dict
from lcoms.structure.random_crystal import random_crystal
random = np.random.default_rng(0)
crystals = [random_crystal(Composition.from_formula("Na2Cl2"), random) for _ in range(12)]
results = relax_crystals(crystals, "toy_oracles:Slow", RelaxConfig(fmax=0.1, max_steps=100),
                         processes={processes}, checkpoint={path!r})
print(json.dumps([result_to_dict(result) for result in results]))
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_at_any_moment_and_resumed_gives_the_identical_result(processes: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.jsonl"
    tests = str(Path(__file__).parent)
    command = [sys.executable, "-c", SCRIPT.format(tests=tests, processes=processes, path=str(path))]
    killed = 0
    for wanted in (2, 6):  # lines that must be there before the kill
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.read_bytes().count(b"\n") >= wanted:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.005)
        process.communicate()
    assert killed == 2
    done = path.read_bytes().count(b"\n") - 1
    assert 0 < done < 12
    last = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    resumed = [result_from_dict(content) for content in json.loads(last.stdout.splitlines()[-1])]
    assert all_same(resumed, relax_crystals(random_crystals("Na2Cl2", 12), Raises(), CONFIG))
