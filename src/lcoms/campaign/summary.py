"""Table of a whole campaign, as Parquet and CSV."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from lcoms.campaign.folder import PART, FormulaStatus, Line, formula_folder, read_journal, require_formula
from lcoms.core.config import parse_json
from lcoms.core.errors import ConfigError
from lcoms.prediction.output import RESULTS, cannot_write
from lcoms.structure.folder_names import folder_name

DONE, NOT_RUN, DAMAGED = FormulaStatus.DONE.value, "not run", "damaged"
PARQUET, CSV = "summary.parquet", "summary.csv"
SCHEMA = pa.schema(
    {
        "formula": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "space_group": pa.int16(),
        "space_group_symbol": pa.string(),
        "energy_per_atom": pa.float64(),
        "surrogate_energy": pa.float64(),
        "total_energy_per_atom": pa.float64(),
        "formation_energy_per_atom": pa.float64(),
        "probability": pa.float64(),
        "n_candidates": pa.int32(),
        "seconds": pa.float64(),
        "path": pa.string(),
    }
)
"""Columns for the first candidate; energies in eV/atom. surrogate_energy, also under its older name energy_per_atom, is
a formation energy by the surrogate, before relaxation; the others are by the model that relaxed.
The path is that of its CIF file, relative to the folder of the campaign."""


def summarise(folder: Path, formulas: Mapping[str, str]) -> pa.Table:
    """Return a table with one row per formula, in the order given.

    Args:
        folder: of the campaign.
        formulas: each with a sentence why it cannot be read; empty if it can.
    """
    journal = read_journal(folder)
    rows = [
        {"formula": text, "status": FormulaStatus.FAILED.value, "reason": reason}
        if reason
        else _row(folder, text, journal.get(text))
        for text, reason in formulas.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_summary(table: pa.Table, folder: Path) -> None:
    """Write summary.parquet and summary.csv, each atomically.

    Raises:
        LcomsError: they cannot be written.
    """
    for name, write in ((PARQUET, pyarrow.parquet.write_table), (CSV, pyarrow.csv.write_csv)):
        part = folder / f"{PART}{name}-{uuid.uuid4().hex}"
        try:
            write(table, part)
            os.replace(part, folder / name)
        except OSError as error:
            raise cannot_write(folder, error) from error
        finally:
            part.unlink(missing_ok=True)


def _row(folder: Path, formula: str, line: Line | None) -> dict[str, Any]:
    """Return the row of a formula from its files, or from the journal if there are none."""
    done = line is not None and line.status is FormulaStatus.DONE
    path = formula_folder(folder, formula) / RESULTS
    try:
        require_formula(path, formula)
        found = parse_json(path.read_text(encoding="utf-8"))
        return _done_row(formula, found) | {"seconds": line.seconds if line is not None and done else None}
    except FileNotFoundError:
        pass
    except ConfigError as error:
        return {"formula": formula, "status": DAMAGED, "reason": str(error)}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        name = path.parent.name
        reason = f"{name}/{RESULTS} is damaged; delete the folder {name} and run the campaign again."
        return {"formula": formula, "status": DAMAGED, "reason": reason}
    if line is None or done:
        return {"formula": formula, "status": NOT_RUN, "reason": ""}
    return {"formula": formula, "status": line.status.value, "reason": line.reason, "seconds": line.seconds}


def _done_row(formula: str, found: dict[str, Any]) -> dict[str, Any]:
    first = found["candidates"][0]
    relaxation = first["relaxation"] or {}
    return {
        "formula": formula,
        "status": DONE,
        "reason": "",
        "space_group": first["space_group"],
        "space_group_symbol": first["space_group_symbol"],
        "energy_per_atom": first["energy_per_atom"],
        "surrogate_energy": first["energy_per_atom"],
        "total_energy_per_atom": relaxation.get("total_energy_per_atom"),
        "formation_energy_per_atom": relaxation.get("formation_energy_per_atom"),
        "probability": found["probability"],
        "n_candidates": len(found["candidates"]),
        "path": f"{folder_name(formula)}/{first['cif']}",
    }
