"""Predictions and known structures, read for scoring.

Predictions are read from

- the output of `lcoms predict`: OUT/NaCl/rank-01.cif ..., or one such folder; or any folder of folders of CIF files
  that are named by formula or id. Ranks are those of results.json, or the order of the file names;
- a folder of CIF files named by the ids of the known structures;
- a file that `lcoms.data.formats` reads (Parquet, CSV, JSON, JSON lines, extxyz) with any of id, formula and rank.

A prediction that cannot be read is kept as an answer without a crystal, at its rank.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

from lcoms.core.config import parse_json
from lcoms.core.errors import DataError, FormulaError, LcomsError
from lcoms.data.formats import open_reader
from lcoms.data.records import ALIASES, ENERGY_REMARKS, NO_RANK, Reader, Record, RowError, rank_of
from lcoms.prediction.output import RESULTS
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import read_crystal

_log = logging.getLogger("lcoms")
FITTED = re.compile(r"rank-\d+-fitted\.cif")
"""Copies of candidates in cells fitted to a powder pattern, which are no further answers."""
ENERGIES = {
    "formation": "formation_energy_per_atom",
    "cohesive": "cohesive_energy_per_atom",
    "total": "energy_per_atom",
}
"""Kinds of energies and the corresponding fields of records."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One predicted structure.

    Attributes:
        name: its source: a file, or a row's id.
        material_id: id given for it; empty if there is none.
        formula: reduced formula given for it, or that of its crystal; empty if there is neither.
        rank: from 1 on; 0 if none is given, which means the order of reading.
        crystal: None if it cannot be read.
        reason: why it cannot be read.
        energies: eV/atom by kind, as given in its file.
    """

    name: str
    material_id: str
    formula: str
    rank: int
    crystal: Crystal | None
    reason: str = ""
    energies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Known:
    """One known structure; `material_id` is empty if its source gives none, `name` is never empty."""

    name: str
    material_id: str
    crystal: Crystal
    energies: Mapping[str, float] = field(default_factory=dict)

    @property
    def formula(self) -> str:
        return self.crystal.composition.reduced_formula


def read_known(path: Path) -> tuple[list[Known], list[str]]:
    """Return the known structures in a file or folder, and a line for each row that cannot be read.

    Raises:
        DataError: the path is missing or of an unknown kind, or no structure can be read.
    """
    known, unreadable = [], []
    for name, material_id, result in _records(open_reader(path)):
        if isinstance(result, Record):
            known.append(Known(name, material_id, result.crystal, _energies(result)))
        else:
            unreadable.append(f"{name}: {result[0]}")
    if not known:
        raise DataError(f"{path} holds no known structure that can be read.")
    return known, unreadable


def read_answers(path: Path) -> list[Answer]:
    """Return the predictions in a file or folder, in the order found.

    Raises:
        DataError: the path is missing, of an unknown kind, or contains nothing that could be a prediction.
    """
    answers = _folder_answers(path) if path.is_dir() else _table_answers(path)
    if not answers:
        raise DataError(f"{path} holds no predictions: CIF files in folders named by formula, or rows of a table.")
    return answers


def _folder_answers(path: Path) -> list[Answer]:
    if _is_one_answer(path):
        return list(_ranked_files(path))
    answers = [answer for folder in sorted(path.iterdir()) if folder.is_dir() for answer in _ranked_files(folder)]
    return answers + [_file_answer(file, file.stem, 0) for file in sorted(path.glob("*.cif"))]


def _is_one_answer(path: Path) -> bool:
    """Return whether the folder is that of one formula: it contains results.json, or only files rank-...."""
    files = [file.name for file in path.glob("*.cif")]
    return (path / RESULTS).exists() or bool(files and all(name.startswith("rank-") for name in files))


def _ranked_files(folder: Path) -> Iterator[Answer]:
    """Yield answers from the CIF files of one formula or id, including missing files that results.json names."""
    ranks = _ranks(folder)
    files = sorted((file for file in folder.glob("*.cif") if not FITTED.fullmatch(file.name)), key=_by_numbers)
    listed = {file.name for file in files}
    last = max(ranks.values(), default=0)
    for file in files:
        rank = ranks.get(file.name)
        if rank is None:
            last += 1
            rank = last
        yield _file_answer(file, folder.resolve().name, rank)
    for name, rank in ranks.items():
        if name not in listed:
            key = folder.resolve().name
            yield Answer(f"{key}/{name}", key, _reduced(key), rank, None, "file is missing")


def _ranks(folder: Path) -> dict[str, int]:
    """Return the ranks by file name from results.json; empty if it is missing or cannot be interpreted."""
    try:
        candidates = parse_json((folder / RESULTS).read_text(encoding="utf-8"))["candidates"]
        return {str(row["cif"]): int(row["rank"]) for row in candidates if row.get("cif")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _file_answer(file: Path, key: str, rank: int) -> Answer:
    name = f"{file.resolve().parent.name}/{file.name}"
    try:
        crystal = read_crystal(file)
    except LcomsError as error:
        return Answer(name, key, _reduced(key), rank, None, str(error).removeprefix(f"{file}: "))
    return Answer(name, key, _reduced(key) or crystal.composition.reduced_formula, rank, crystal)


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """Return a sort key of file names by which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _table_answers(path: Path) -> list[Answer]:
    answers = []
    for name, material_id, result in _records(open_reader(path)):
        if isinstance(result, Record):
            if NO_RANK in result.remarks:
                raise DataError(f"{path}: {name} has a {NO_RANK}; number the candidates from 1, the best.")
            formula = _reduced(result.formula) or result.crystal.composition.reduced_formula
            answers.append(Answer(name, material_id, formula, result.rank, result.crystal, "", _energies(result)))
        else:
            reason, row = result
            formula = _reduced(str(row.get("formula") or ""))
            answers.append(Answer(name, material_id, formula, rank_of(row), None, reason))
    return answers


def _records(reader: Reader) -> Iterator[tuple[str, str, Record | tuple[str, Mapping[str, Any]]]]:
    """Yield name, id (empty if not given) and record of each row, or a reason and the row if it has no record.

    Energies that are not read are logged as warnings.
    """
    remarks: Counter[str] = Counter()
    for number, row in enumerate(reader.rows()):
        made_up = f"{reader.path.name.partition('.')[0]}-{number}"
        try:
            record = reader.parse(row)
        except RowError as error:
            raw = _content(row)
            found = next((raw[key] for key in ALIASES["material_id"] if raw.get(key)), None)
            name = str(found or raw.get("row_name") or made_up)
            yield name, "" if name == made_up else name, (error.reason.value, raw)
            continue
        name = record.material_id
        remarks.update(topic for topic in record.remarks if topic in ENERGY_REMARKS)
        yield name, "" if name == made_up else name, record
    for topic, n in remarks.items():
        _log.warning("%s: %s: %d", reader.path, topic, n)


def _content(row: Any) -> Mapping[str, Any]:
    """Return the fields of a raw row other than its structure, as far as they can be interpreted."""
    if not isinstance(row, Mapping):
        return {}
    try:
        content = parse_json(row["line"]) if "line" in row else {}
    except ValueError:
        content = {}
    return {**(content if isinstance(content, dict) else {}), **row}


def _energies(record: Record) -> dict[str, float]:
    values = {kind: float(getattr(record, name)) for kind, name in ENERGIES.items()}
    return {kind: value for kind, value in values.items() if not isnan(value)}


def _reduced(formula: str) -> str:
    """Return the reduced formula; empty if the text is not a formula."""
    try:
        return Composition.from_formula(formula).reduced_formula
    except FormulaError:
        return ""
