"""The rows of a benchmark: one run of one method each, stored as a line of JSON as soon as it is finished.

A line is on disk before the next run starts. A last line that was truncated because the benchmark was killed is
dropped. Numbers are rounded to six decimal places.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lcoms.core.closing import Closing
from lcoms.core.config import from_dict, to_dict
from lcoms.core.errors import DataError
from lcoms.core.journal import Journal, parse_lines, whole_lines
from lcoms.structure.crystal import Crystal, crystal_from_dict, crystal_to_dict

ROWS_FILE = "rows.jsonl"
ROW = "row of a benchmark"
DIGITS = 6
PARTS = ("start", "encode", "descent", "decode", "search", "relax")
"""Parts into which the time of a run is split."""


class Key(NamedTuple):
    """The identity of a row."""

    track: str
    method: str
    compound: str
    seed: int


@dataclass(frozen=True)
class Judged:
    """A crystal with its evaluation by the judge.

    Attributes:
        crystal: in the form of `crystal_to_dict`.
        energy: total energy, eV/atom; None if there is none.
        formation_energy: eV/atom; None if the judge has no references.
        space_group: number at symprec 0.1.
        rms: to the known structure at the loose tolerances; None if they do not match.
        strict: whether it matches the known structure at pymatgen's default tolerances.
        same_group: whether it has the known structure's space group, or its enantiomorph.
        note: why it counts as a failure regardless of the other fields; empty if it does not.
    """

    crystal: dict[str, Any]
    energy: float | None
    formation_energy: float | None
    space_group: int
    rms: float | None
    strict: bool
    same_group: bool
    note: str = ""

    @property
    def compared(self) -> float | None:
        """The energy used in the energy criterion, eV/atom: formation energy, or total without references."""
        if self.note:
            return None
        return self.energy if self.formation_energy is None else self.formation_energy


@dataclass(frozen=True)
class Known:
    """The known structure, relaxed by the judge.

    Attributes:
        energy, formation_energy: eV/atom, as in `Judged`.
        space_group: number at symprec 0.1, before relaxation.
        same_structure: whether it still matches itself strictly after relaxation.
    """

    energy: float | None
    formation_energy: float | None
    space_group: int
    same_structure: bool

    @property
    def compared(self) -> float | None:
        """As `Judged.compared`."""
        return self.energy if self.formation_energy is None else self.formation_energy


@dataclass(frozen=True)
class Point:
    """An intermediate point of a run.

    Attributes:
        evaluations: number of evaluations of the method's own energy up to this point.
        seconds: time up to this point, without the start.
        predicted: the method's own energy, eV/atom.
        judged: the crystal at this point, not relaxed by the judge; None if there is none.
    """

    evaluations: int
    seconds: float
    predicted: float | None
    judged: Judged | None


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        group: the set of compounds it belongs to.
        known: the known structure; None if the judge could not relax it.
        settings: everything that the answer depends on, other than the key.
        status: `failed` if there is no answer.
        reason: why there is none.
        start: the start, if the method has one.
        answer, relaxed: answer of the method, and the same relaxed by the judge.
        relaxation: status of that relaxation.
        seconds: by part, see `PARTS`.
        n_evaluations: number of evaluations of the method's own energy.
        single_points: number of evaluations by the judge in a search's relaxations.
        descent: formation energies predicted at the start and after each step of a descent, eV/atom.
        progress: intermediate points.
    """

    track: str
    method: str
    compound: str
    seed: int
    group: str
    formula: str
    n_atoms: int
    status: Literal["ok", "failed"]
    reason: str = ""
    known: Known | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    start: Judged | None = None
    answer: Judged | None = None
    relaxed: Judged | None = None
    relaxation: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    n_evaluations: int = 0
    single_points: int = 0
    descent: tuple[float, ...] = ()
    progress: tuple[Point, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.track, self.method, self.compound, self.seed)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values(), 0.0)

    def without_clock(self) -> Row:
        """Return the row without times, in which two runs with equal settings must agree."""
        return replace(self, seconds={}, progress=tuple(replace(point, seconds=0.0) for point in self.progress))


class RowLog(Closing):
    """An open file of rows; use it in a `with` statement.

    Args:
        path: the file; created if it does not exist.

    Attributes:
        rows: by key, those found in the file and those appended since.

    Raises:
        ConfigError: another run uses the file.
        DataError: the file contains something else.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, _encode, _decode, what=ROW)
        self.rows = {row.key: row for row in self._journal.read()}

    def close(self) -> None:
        self._journal.close()

    def append(self, row: Row) -> Row:
        """Store a row, on disk when this returns, and return it as it will be read."""
        kept = _decode(_encode(row))
        self._journal.append(kept)
        self.rows[kept.key] = kept
        return kept


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Return the rows in files, or in folders with such files, ordered by key; of equal keys the last one.

    Args:
        paths: files may be compressed (.gz).

    Raises:
        DataError: a file is missing or contains something else, or there are no rows.
    """
    rows: dict[Key, Row] = {}
    for path in paths:
        file = path / ROWS_FILE if path.is_dir() else path
        try:
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{file} cannot be read; give a folder that lcoms benchmark run has written.") from error
        rows |= {row.key: row for row in parse_lines(whole_lines(content).splitlines(), _decode, file, what=ROW)}
    if not rows:
        raise DataError(f"{', '.join(map(str, paths))}: there are no rows; run lcoms benchmark run first.")
    return [rows[key] for key in sorted(rows)]


def exact_crystal(crystal: Crystal) -> Crystal:
    """Return the crystal as it is read back from a row."""
    return crystal_from_dict(_rounded(crystal_to_dict(crystal)))


def _encode(row: Row) -> Any:
    return _rounded(to_dict(row))


def _decode(content: Any) -> Row:
    return from_dict(Row, content)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
