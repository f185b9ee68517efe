"""The counter counts; the cache returns identical bits, also with concurrent writers and after kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import rock_salt, shaken, zinc_blende

from lcoms.core.errors import OracleError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.registry import make_oracle
from lcoms.oracles.wrappers import CachedOracle, CountedOracle, RememberingOracle, cache_key
from lcoms.structure.crystal import Composition, Crystal

CRYSTALS = [shaken(rock_salt(), 0.2, seed) for seed in range(5)]

# Writes to the cache without end, two crystals at a time, and says so.
WRITER = """
import sys
import numpy as np
from lcoms.structure.crystal import Crystal
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.registry import make_oracle
from lcoms.oracles.wrappers import CachedOracle

class Counting(EnergyOracle):
    name = "counting"
    def evaluate(self, crystals):
        return [Evaluation(c.lattice[0, 0], np.full((1, 3), c.lattice[0, 0] / 3), np.eye(3)) for c in crystals]
    def check(self, compositions): ...

cache = CachedOracle(Counting(), sys.argv[1])
start, stop = int(sys.argv[2]), int(sys.argv[3])
for i in range(start, stop, 2):
    cache.evaluate([Crystal(np.eye(3) * (2 + j / 7), np.zeros((1, 3)), np.array([3])) for j in (i, i + 1)])
    print(i, flush=True)
"""


class Failing(EnergyOracle):
    """Oracle that fails for zinc blende."""

    name = "failing"

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        good = AnalyticOracle().evaluate(crystals)
        return [
            Evaluation.failed("no", c.n_atoms) if 30 in c.atomic_numbers else r
            for c, r in zip(crystals, good, strict=True)
        ]

    def check(self, compositions: Iterable[Composition]) -> None:
        raise OracleError(f"asked for {list(compositions)}")


def same(first: Evaluation, second: Evaluation) -> bool:
    arrays = np.array_equal(first.forces, second.forces) and np.array_equal(first.stress, second.stress)
    return first.energy == second.energy and arrays and first.status == second.status


def test_a_remembered_crystal_is_evaluated_once_and_a_failure_again() -> None:
    counted = CountedOracle(Failing())
    remembering = RememberingOracle(counted)
    first = remembering.evaluate([*CRYSTALS, zinc_blende()])
    again = remembering.evaluate([*reversed(CRYSTALS), shaken(rock_salt(), 0.2, 0)])
    assert counted.n_crystals == len(CRYSTALS) + 2
    assert all(map(same, again, [*reversed(first[:-1]), first[0]]))
    failing = zinc_blende()
    assert [result.ok for result in remembering.evaluate([failing, CRYSTALS[0], failing])] == [False, True, False]
    assert not remembering.evaluate([failing])[0].ok
    assert counted.n_failed == 4
    calls = counted.n_crystals
    energies = remembering.energies([CRYSTALS[1], failing, shaken(rock_salt(), 0.2, 7)])
    assert energies[0] == first[1].energy
    assert np.isnan(energies[1])
    assert np.isfinite(energies[2])
    assert counted.n_crystals == calls + 2
    with pytest.raises(OracleError, match="asked for"):
        remembering.check([])


def test_what_an_answer_depends_on_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tested are another checkpoint with the same name, other parameters, another user module, and another version."""
    monkeypatch.syspath_prepend(tmp_path)
    module, checkpoint = tmp_path / "own_model.py", tmp_path / "model.bin"
    code = (
        "import os\nfrom ase.calculators.lj import LennardJones\n\n"
        "def make(path):\n    {}\n    return LennardJones(epsilon=float(os.environ['EPSILON']), rc=10.0)\n"
    )

    def key(epsilon: float = 1.0, version: str = "1", content: bytes = b"weights", comment: str = "pass") -> bytes:
        module.write_text(code.format(comment))
        checkpoint.write_bytes(content)
        monkeypatch.delitem(sys.modules, "own_model", raising=False)
        monkeypatch.setattr("lcoms.oracles.wrappers.__version__", version)
        monkeypatch.setenv("EPSILON", str(epsilon))
        oracle = make_oracle(f"own_model:make?path={checkpoint}")
        return cache_key(CountedOracle(oracle), CRYSTALS[0])

    assert key() == key()
    assert len({key(), key(epsilon=2.0), key(version="2"), key(content=b"others."), key(comment="path += ''")}) == 5


def test_each_packaged_model_says_what_its_answers_depend_on() -> None:
    pytest.importorskip("chgnet")
    package, weights = make_oracle("chgnet:r2scan").provenance
    assert package.startswith("chgnet 0.")
    assert weights != make_oracle("chgnet:0.3.0").provenance[1]


def test_the_counter_counts_and_passes_on() -> None:
    oracle = CountedOracle(Failing())
    results = oracle.evaluate([*CRYSTALS, zinc_blende()])
    oracle.evaluate(CRYSTALS[:2])
    assert (oracle.n_calls, oracle.n_crystals, oracle.n_failed) == (2, 8, 1)
    assert oracle.seconds > 0
    assert oracle.name == "failing"
    assert same(results[0], AnalyticOracle().evaluate(CRYSTALS[:1])[0])
    with pytest.raises(OracleError, match="asked"):
        oracle.check([])


def test_hits_are_bit_equal_and_cost_no_call(tmp_path: Path) -> None:
    direct = AnalyticOracle().evaluate(CRYSTALS)
    counted = CountedOracle(AnalyticOracle())
    for _ in range(2):
        cache = CachedOracle(counted, tmp_path / "deep" / "cache.sqlite")
        results = cache.evaluate([*CRYSTALS, CRYSTALS[0]])
        assert all(same(a, b) for a, b in zip(results, [*direct, direct[0]], strict=True))
    assert counted.n_crystals == 5
    assert (cache.n_hits, cache.n_misses) == (6, 0)
    assert cache.evaluate([]) == []


def test_keys_tell_crystals_and_oracles_apart() -> None:
    base = rock_salt()
    moved = Crystal(base.lattice, base.frac_coords + np.array([[1e-15, 0, 0], [0, 0, 0]]), base.atomic_numbers)
    negative_zero = Crystal(
        base.lattice * np.where(base.lattice == 0, -1.0, 1.0), base.frac_coords, base.atomic_numbers
    )
    others = [rock_salt(numbers=(17, 11)), rock_salt(5.640000000000001), moved]
    oracle, other = AnalyticOracle(), Failing()
    keys = {cache_key(oracle, crystal) for crystal in [base, *others]}
    assert len(keys | {cache_key(other, base)}) == 5
    assert cache_key(oracle, negative_zero) == cache_key(oracle, base)


def test_a_cache_may_be_used_by_several_threads(tmp_path: Path) -> None:
    counted = CountedOracle(AnalyticOracle())
    cache = CachedOracle(counted, tmp_path / "cache.sqlite")
    first = cache.evaluate(CRYSTALS)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: cache.evaluate(CRYSTALS[n % 5 :]), range(20)))
    assert all(same(*pair) for n, results in enumerate(found) for pair in zip(first[n % 5 :], results, strict=True))
    assert counted.n_crystals == len(CRYSTALS)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cache.close).result()


def test_failures_are_asked_again(tmp_path: Path) -> None:
    counted = CountedOracle(Failing())
    cache = CachedOracle(counted, tmp_path / "cache")
    for _ in range(2):
        assert [r.ok for r in cache.evaluate([rock_salt(), zinc_blende()])] == [True, False]
    assert counted.n_crystals == 3


def test_a_record_with_a_wrong_bit_is_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = CachedOracle(AnalyticOracle(), path)
    truth = cache.evaluate(CRYSTALS)
    with sqlite3.connect(path) as database:
        (record,) = database.execute("SELECT record FROM evaluations LIMIT 1").fetchone()
        database.execute("UPDATE evaluations SET record = ?", (record[:-1] + bytes([record[-1] ^ 1]),))
    database.close()
    again = CachedOracle(AnalyticOracle(), path)
    assert all(same(a, b) for a, b in zip(again.evaluate(CRYSTALS), truth, strict=True))
    assert again.n_misses == 5
    again.evaluate(CRYSTALS)
    assert again.n_misses == 5
    for one in (cache, again):
        one.close()


def test_damaged_files_are_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_bytes(b"this is a text and no database, and it is long enough to show it" * 30)
    with pytest.raises(OracleError, match=r"damaged or no cache .* delete it"):
        CachedOracle(AnalyticOracle(), path)
    path.unlink()
    CachedOracle(AnalyticOracle(), path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OracleError, match="another version"):
        CachedOracle(AnalyticOracle(), path)
    with pytest.raises(OracleError, match="cannot be used"):
        CachedOracle(AnalyticOracle(), tmp_path)


def test_no_connection_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*given: Any, **named: Any) -> sqlite3.Connection:
        made.append(connect(*given, **named))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    cache = CachedOracle(AnalyticOracle(), tmp_path / "cache")
    made[0].execute("PRAGMA user_version = 99")
    with pytest.raises(OracleError, match="another version"):
        CachedOracle(AnalyticOracle(), tmp_path / "cache")
    assert len(made) == 2
    del cache
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def start_writer(path: Path, start: int, stop: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def rows(path: Path) -> int:
    """Return the number of records in the file, after SQLite's integrity check."""
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (n,) = database.execute("SELECT count(*) FROM evaluations").fetchone()
    database.close()
    return int(n)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    writers = [start_writer(path, 0, 200), start_writer(path, 100, 300)]  # they share a hundred crystals
    assert [len(writer.communicate()[0].split()) for writer in writers] == [100, 100]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert rows(path) == 300


def test_killed_in_the_middle_nothing_that_was_said_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    writer = start_writer(path, 0, 10**6)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(20)]
    time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    said += writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    assert rows(path) >= 2 * len([line for line in said if line.strip()])
    survivor = start_writer(path, 0, 40)  # the file is as good as before
    assert survivor.communicate()[0].split()[-1] == "38"
    assert survivor.returncode == 0
