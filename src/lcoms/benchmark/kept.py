"""Stored measurements: one file of JSON lines each, from which the tables of the results page are made.

The first line of NAME.jsonl.gz states what was measured and how; every further line is one row of one of two kinds:

- "predictions": one prediction of `lcoms evaluate` against its known structure;
- "cases": one case in one setting, flat. Booleans are reported as proportions and numbers as medians; texts are for
  readers only. Columns and settings are in the order of their first occurrence.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lcoms.core.config import from_dict, parse_json, to_dict
from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError, DataError

SUFFIX = ".jsonl.gz"
DIGITS = 4
Kind = Literal["predictions", "cases"]


@dataclass(frozen=True)
class Header:
    """Description of a measurement.

    Attributes:
        measurement: its name, which is that of the file.
        title: name of the rows in tables.
        command: command that made them.
        weights: digest of the weights; empty if none were used.
        date: such as 2026-11-28.
        machine: on which it was made, if times are relevant.
        note: a sentence below the table.
        headline: whether it has a line in the headline table.
        columns: of the table of cases; empty: all booleans and numbers.
    """

    measurement: str
    kind: Kind
    title: str
    command: str
    weights: str = ""
    date: str = ""
    machine: str = ""
    note: str = ""
    headline: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Rank of the known structure among the candidates; None if it is not there.

    Attributes:
        loose: by the usual, loose match.
        filtered: the same, with a candidate that passes the usual validity filter.
        strict: at pymatgen's default tolerances.
        both: strict, with the same space group.
    """

    loose: int | None = None
    filtered: int | None = None
    strict: int | None = None
    both: int | None = None


@dataclass(frozen=True)
class PredictionRow:
    """One prediction.

    Attributes:
        n_atoms: number of atoms in the known primitive cell; 0 if unknown.
        space_group, first_space_group: of the known structure, and of the first candidate.
        final: ranks in the final order.
        decoded: ranks in the order before any relaxation.
        probability: that the first candidate is correct; None if none was stated.
        energy, known_energy: formation energies of the first candidate and of the known structure, relaxed, eV/atom.
        subset: a part of the set with a separate line, such as "on the hull".
    """

    name: str
    formula: str
    seed: int
    seconds: float
    n_atoms: int = 0
    space_group: int | None = None
    first_space_group: int | None = None
    final: Found = field(default_factory=Found)
    decoded: Found = field(default_factory=Found)
    probability: float | None = None
    energy: float | None = None
    known_energy: float | None = None
    subset: str = ""


@dataclass(frozen=True)
class Measurement:
    """A stored measurement with `predictions` or `cases`, depending on its kind."""

    header: Header
    predictions: tuple[PredictionRow, ...] = ()
    cases: tuple[Mapping[str, Any], ...] = ()


def read_measurement(path: Path) -> Measurement:
    """Return the measurement in a file.

    Raises:
        DataError: the file is missing or contains something else.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).splitlines()
        header = from_dict(Header, parse_json(lines[0]))
        rows = [parse_json(line) for line in lines[1:]]
        if header.kind == "cases":
            return Measurement(header, cases=tuple(map(_case, rows)))
        return Measurement(header, predictions=tuple(from_dict(PredictionRow, row) for row in rows))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError, ConfigError) as error:
        raise DataError(f"{path} is not a kept measurement ({error}); lcoms benchmark keep writes them.") from error


def is_measurement(path: Path) -> bool:
    """Return whether a file begins with a header."""
    try:
        with gzip.open(path) as file:
            return "measurement" in parse_json(file.readline())
    except (OSError, EOFError, zlib.error, ValueError, TypeError):
        return False


def read_measurements(folder: Path) -> dict[str, Measurement]:
    """Return all measurements in a folder by name, in alphabetical order.

    Raises:
        DataError: a file is damaged, its name is not that in its header, or there is none.
    """
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if not is_measurement(path):
            continue
        one = read_measurement(path)
        if one.header.measurement != path.name.removesuffix(SUFFIX):
            raise DataError(f"{path} holds {one.header.measurement!r}; name the file {one.header.measurement}{SUFFIX}.")
        found[one.header.measurement] = one
    if not found:
        raise DataError(f"{folder} holds no kept measurement; lcoms benchmark keep writes them.")
    return found


def write_measurement(folder: Path, measurement: Measurement, *, overwrite: bool = False) -> Path:
    """Write NAME.jsonl.gz; equal rows give equal bytes.

    Args:
        overwrite: replace another measurement of this name.

    Raises:
        ConfigError: the file holds something else, which would be replaced.
        OSError: it cannot be written.
    """
    rows = [*map(to_dict, measurement.predictions), *map(dict, measurement.cases)]
    text = "\n".join(json.dumps(_rounded(one)) for one in [to_dict(measurement.header), *rows]) + "\n"
    path = folder / f"{measurement.header.measurement}{SUFFIX}"
    content = gzip.compress(text.encode(), mtime=0)
    if not overwrite and path.exists() and path.read_bytes() != content:
        raise ConfigError(
            f"{path} holds another measurement already; give another --name, or --overwrite to replace it."
        )
    write_whole(path, content)
    return path


def read_content(path: Path) -> list[Mapping[str, Any]]:
    """Return rows as written by commands: a JSON list or JSON lines, compressed if the name ends in .gz.

    Raises:
        DataError: the file is missing or contains something else.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        rows = parse_json(content) if content.lstrip()[:1] == b"[" else [parse_json(x) for x in content.splitlines()]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} cannot be read; give rows as JSON or JSON lines.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{path} holds no rows; give a JSON list of objects, or one object per line.")
    return rows


def measurement_of(header: Header, rows: Sequence[Mapping[str, Any]]) -> Measurement:
    """Return a measurement from rows as written by commands: outcomes of `lcoms evaluate`, or flat cases.

    A case may give its compound and method, and contain mappings, whose keys are appended to the name:
    {"found": {"5": true}} is the column "found 5".

    Raises:
        DataError: the rows are of another kind than the header states.
    """
    try:
        if header.kind == "predictions":
            return Measurement(header, predictions=tuple(map(_prediction, rows)))
        return Measurement(header, cases=tuple(map(_case, rows)))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"these rows are no {header.kind}: {error} is missing.") from error


def _prediction(row: Mapping[str, Any]) -> PredictionRow:
    return PredictionRow(
        name=row["name"],
        formula=row["formula"],
        seed=row["seed"],
        seconds=row["seconds"],
        n_atoms=row.get("n_atoms", 0),
        space_group=row["space_group"],
        first_space_group=row["first_space_group"],
        final=from_dict(Found, row["ranks"]),
        decoded=from_dict(Found, row["decoded"]),
        probability=row["probability"],
        energy=row["energy"],
        known_energy=row["known_energy"],
        subset=row.get("subset", ""),
    )


def _case(row: Mapping[str, Any]) -> Mapping[str, Any]:
    flat: dict[str, Any] = {
        "case": row["case"] if "case" in row else row["compound"],
        "setting": row["setting"] if "setting" in row else row["method"],
    }
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{key} {inner}": one for inner, one in value.items()}
        elif key not in ("case", "compound", "setting", "method"):
            flat[key] = value
    return flat


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    return {key: _rounded(one) for key, one in value.items()} if isinstance(value, Mapping) else value
