"""Energies of the elements by each oracle, the zero of its formation energies.

`references.json` next to this module has, for each oracle, the lowest relaxed form of each element and its provenance.
`lcoms oracle references NAME --out FILE` computes such a table, also for a custom oracle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from lcoms.core.config import parse_json
from lcoms.core.errors import OracleError
from lcoms.oracles.registry import identity_of
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import number_of

FORMAT = 1
FormationEnergy = Callable[[Composition, float], float | None]
"""Function from a composition and a total energy to the formation energy, both in eV/atom; None without references."""


@dataclass(frozen=True)
class References:
    """Energies of elements by one oracle.

    Attributes:
        oracle: its name.
        energies: eV/atom by atomic number.
    """

    oracle: str
    energies: dict[int, float]

    def formation_energy(self, composition: Composition, energy_per_atom: float) -> float | None:
        """Return the energy in eV/atom of a compound relative to its elements; None if an element has no reference.

        Args:
            composition: of the compound.
            energy_per_atom: total energy by the same oracle, eV/atom.
        """
        if any(z not in self.energies for z in composition.atomic_numbers):
            return None
        elements = sum(
            n * self.energies[z] for z, n in zip(composition.atomic_numbers, composition.counts, strict=True)
        )
        return energy_per_atom - elements / composition.n_atoms


def load_references(oracle: str, file: Path | None = None) -> References | None:
    """Return the references of an oracle, by default those in the package; None if there are none.

    Raises:
        OracleError: the file is not a table of references, has none for this oracle, or names an unknown element.
    """
    if file is None:
        resource = files("lcoms.oracles").joinpath("references.json")
        tables = _tables(resource.read_text(encoding="utf-8"), "references.json")
    else:
        tables = read_tables(file)
        if identity_of(oracle) not in map(identity_of, tables):
            raise OracleError(f"{file}: holds no references for {oracle}, only for {', '.join(tables) or 'nothing'}.")
    table = next((table for name, table in tables.items() if identity_of(name) == identity_of(oracle)), None)
    return None if table is None else References(oracle, _energies(table, oracle))


def read_tables(file: Path) -> dict[str, dict[str, Any]]:
    """Return the tables of a file, by oracle.

    Raises:
        OracleError: the file cannot be read as a table of references.
    """
    try:
        return _tables(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise OracleError(f"{file}: cannot be read as a table of references.") from error


def to_json(tables: dict[str, dict[str, Any]]) -> str:
    """Return the text of a table file: by oracle, its provenance and, under `elements`, one line per element."""
    parts = []
    for oracle, table in tables.items():
        rows = ",\n".join(f"    {json.dumps(symbol)}: {json.dumps(row)}" for symbol, row in table["elements"].items())
        fields = [f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items() if key != "elements"]
        fields.append(f'   "elements": {{\n{rows}\n   }}')
        parts.append(f"  {json.dumps(oracle)}: {{\n" + ",\n".join(fields) + "\n  }")
    return f'{{\n "format": {FORMAT},\n "oracles": {{\n' + ",\n".join(parts) + "\n }\n}\n"


def _tables(text: str, where: str) -> dict[str, dict[str, Any]]:
    try:
        content = parse_json(text)
        if content["format"] != FORMAT:
            raise OracleError(f"{where}: references of format {content['format']}; this version reads {FORMAT}.")
        return dict(content["oracles"])
    except (ValueError, KeyError, TypeError) as error:
        raise OracleError(f"{where}: is not a table of references; lcoms oracle references makes one.") from error


def _energies(table: dict[str, Any], oracle: str) -> dict[int, float]:
    try:
        energies = {symbol: float(row["energy_per_atom"]) for symbol, row in table["elements"].items()}
        if not all(map(isfinite, energies.values())):
            raise ValueError("an energy that is not finite")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OracleError(f"the references of {oracle} are damaged; compute them again.") from error
    found = {}
    for symbol, energy in energies.items():
        if (number := number_of(symbol)) is None:
            raise OracleError(f"the references of {oracle}: {symbol} is not an element; correct the symbol.")
        found[number] = energy
    return found
