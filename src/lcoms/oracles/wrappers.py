"""Oracles around oracles: one counts the calls, one remembers the results, one caches them on disk."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from lcoms import __version__
from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation, evaluate_all
from lcoms.oracles.registry import identity_of
from lcoms.structure.crystal import Composition, Crystal

CACHE_FORMAT = 1
_TABLE = "evaluations (key BLOB PRIMARY KEY, record BLOB, digest BLOB) WITHOUT ROWID"
_PAUSE = 0.02  # seconds between attempts to open a file that another process is creating
_WAIT = 60.0  # seconds to wait for another process that is writing


class CountedOracle(EnergyOracle):
    """Passes calls on to an oracle and counts them.

    Attributes:
        n_calls: number of calls of `evaluate`.
        n_crystals: number of crystals in these calls.
        n_failed: number of crystals whose status was not "ok".
        seconds: time spent in these calls.
    """

    def __init__(self, oracle: EnergyOracle) -> None:
        self.name, self.batch_size, self.provenance = oracle.name, oracle.batch_size, oracle.provenance
        self._oracle, self.cutoff = oracle, oracle.cutoff
        self.n_calls = self.n_crystals = self.n_failed = 0
        self.seconds = 0.0

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        started = time.perf_counter()
        results = self._oracle.evaluate(crystals)
        self.seconds += time.perf_counter() - started
        self.n_calls += 1
        self.n_crystals += len(crystals)
        self.n_failed += sum(not result.ok for result in results)
        return results

    def check(self, compositions: Iterable[Composition]) -> None:
        self._oracle.check(compositions)


class RememberingOracle(EnergyOracle):
    """Evaluates each crystal object once while it lives; failures are evaluated again."""

    def __init__(self, oracle: EnergyOracle) -> None:
        self.name, self.batch_size, self.provenance = oracle.name, oracle.batch_size, oracle.provenance
        self.quick, self.cutoff, self._oracle = oracle.quick, oracle.cutoff, oracle
        self._known: WeakKeyDictionary[Crystal, Evaluation] = WeakKeyDictionary()

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        missing = [crystal for crystal in crystals if crystal not in self._known]
        new = dict(zip(missing, evaluate_all(self._oracle, missing), strict=True))
        self._known.update({crystal: result for crystal, result in new.items() if result.ok})
        return [new[crystal] if crystal in new else self._known[crystal] for crystal in crystals]

    def energies(self, crystals: Sequence[Crystal]) -> list[float]:
        missing = [crystal for crystal in crystals if crystal not in self._known]
        new = dict(zip(missing, self._oracle.energies(missing), strict=True))
        return [new[crystal] if crystal in new else self._known[crystal].energy for crystal in crystals]

    def check(self, compositions: Iterable[Composition]) -> None:
        self._oracle.check(compositions)


class CachedOracle(EnergyOracle):
    """Returns previous results from a file: the same numbers, bit for bit.

    A crystal is identified by the oracle's identity (`identity_of`) and provenance, the version of lcoms, and the exact
    bits of its lattice, coordinates and elements. Failures are not stored. Many processes may share the file (SQLite
    with a write-ahead log, so on a local disk), and many threads the cache; a process killed at any moment leaves the
    file intact, without the results not yet written.

    Raises:
        OracleError: the file cannot be opened or is damaged.
    """

    _connection: sqlite3.Connection | None = None

    def __init__(self, oracle: EnergyOracle, path: Path) -> None:
        self.name, self.batch_size, self.provenance = oracle.name, oracle.batch_size, oracle.provenance
        self.n_hits = self.n_misses = 0
        self._oracle, self._path, self.cutoff = oracle, Path(path), oracle.cutoff
        self._process, self._lock = -1, threading.RLock()
        with self._opened():
            pass

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Call the oracle once for each distinct crystal that is not in the file."""
        keys = [cache_key(self._oracle, crystal) for crystal in crystals]
        known = self._read(dict(zip(keys, (crystal.n_atoms for crystal in crystals), strict=True)))
        missing = {key: crystal for key, crystal in zip(keys, crystals, strict=True) if key not in known}
        self.n_hits += sum(key in known for key in keys)
        self.n_misses += len(missing)
        if missing:
            new = dict(zip(missing, self._oracle.evaluate(list(missing.values())), strict=True))
            self._write({key: result for key, result in new.items() if result.ok})
            known |= new
        return [known[key] for key in keys]

    def check(self, compositions: Iterable[Composition]) -> None:
        self._oracle.check(compositions)

    def _read(self, sizes: dict[bytes, int]) -> dict[bytes, Evaluation]:
        """Return the intact records of these keys, which are given with their numbers of atoms."""
        found = {}
        with self._opened() as database:
            for key, n_atoms in sizes.items():
                row = database.execute("SELECT record, digest FROM evaluations WHERE key = ?", (key,)).fetchone()
                if row is not None and _digest(row[0]) == row[1] and len(row[0]) == 8 * (10 + 3 * n_atoms):
                    found[key] = _unpack(row[0])
        return found

    def _write(self, results: dict[bytes, Evaluation]) -> None:
        rows = [(key, record, _digest(record)) for key, record in ((k, _pack(r)) for k, r in results.items())]
        with self._opened() as database, database:  # the second context is the transaction
            database.executemany("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", rows)

    def _opened(self) -> _Guard:
        """Return the connection of this process, as a context whose errors name the file."""
        return _Guard(self)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():  # a connection must not cross a fork
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_WAIT, check_same_thread=False)  # see `_Guard`
            try:
                self._prepare_in_time(database)
            except BaseException:
                database.close()
                raise
            self._connection, self._process = database, os.getpid()
        return self._connection

    def _prepare_in_time(self, database: sqlite3.Connection) -> None:
        """Retry while two processes create the file, as SQLite's own waiting does not cover the change of its mode."""
        end = time.monotonic() + _WAIT
        while True:
            try:
                return self._prepare(database)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE)

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, CACHE_FORMAT):
            raise OracleError(f"{self._path} is a cache of another version of lcoms; delete it or name another.")
        with database:
            database.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE}")
            database.execute(f"PRAGMA user_version = {CACHE_FORMAT}")

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._connection is not None and self._process == os.getpid():
            with self._lock:
                self._connection.close()
        self._connection = None


class _Guard:
    """Opens the database of a cache for one thread at a time, and turns its errors into one sentence each."""

    def __init__(self, cache: CachedOracle) -> None:
        self._cache = cache

    def __enter__(self) -> sqlite3.Connection:
        self._cache._lock.acquire()
        try:
            return self._cache._connect()
        except BaseException as error:
            self._cache._lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise self._sentence(error) from error
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._cache._lock.release()
        if isinstance(error, sqlite3.Error):
            raise self._sentence(error) from error

    def _sentence(self, error: Exception) -> OracleError:
        path = self._cache._path
        if isinstance(error, OSError | sqlite3.OperationalError):
            return OracleError(f"the cache {path} cannot be used ({error}); give another path.")
        return OracleError(
            f"the cache {path} is damaged or no cache ({error}); give another path, or delete it if it is a cache."
        )


def cache_key(oracle: EnergyOracle, crystal: Crystal) -> bytes:
    """Return the SHA-256 of all that a result depends on: the oracle, lcoms, and the numbers of a crystal as bytes."""
    said = json.dumps(["lcoms evaluation", __version__, identity_of(oracle.name), *oracle.provenance, crystal.n_atoms])
    parts = (
        said.encode(),
        (crystal.lattice + 0.0).astype("<f8").tobytes(),  # adding zero turns -0 into 0
        (crystal.frac_coords + 0.0).astype("<f8").tobytes(),
        crystal.atomic_numbers.astype("<i8").tobytes(),
    )
    return hashlib.sha256(b"".join(parts)).digest()


def _pack(result: Evaluation) -> bytes:
    """Return energy, stress and forces as little-endian doubles."""
    return np.concatenate([[result.energy], result.stress.ravel(), result.forces.ravel()]).astype("<f8").tobytes()


def _unpack(record: bytes) -> Evaluation:
    values = np.frombuffer(record, dtype="<f8").astype(np.float64)
    return Evaluation(float(values[0]), values[10:].reshape(-1, 3), values[1:10].reshape(3, 3))


def _digest(record: bytes) -> bytes:
    return hashlib.sha256(record).digest()[:8]
