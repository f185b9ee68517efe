"""Energy above the convex hull of reference phases, all energies by the same oracle.

Reference phases come from the user, see `read_entries`:

| what | needed |
| --- | --- |
| JSON | a list of objects, an object whose `entries` is one, or results of `lcoms rank`, `relax` or `predict` |
| CSV | a header and one row per phase |
| extxyz, CIF, POSCAR, or a folder of them | crystals, evaluated without relaxation |

Objects and rows have `formula`, either `energy_per_atom` (the oracle's total energy) or `formation_energy_per_atom`
(both eV/atom), and `oracle`, which may be given once next to the list. Phases of another or an unstated energy model or
functional are refused, because their energies have other zeros. Elements missing among the phases are added from the
oracle's references.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcoms.core.config import parse_json
from lcoms.core.errors import DataError, FileFormatError, FormulaError
from lcoms.core.numerals import real
from lcoms.oracles.mixture import lowest_mixture
from lcoms.oracles.references import References
from lcoms.oracles.registry import identity_of
from lcoms.structure import io as door
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS

WHOLE = ("converged", "step limit")  # how a relaxation ends whose energy counts
MOST_ENERGY = 100.0  # eV/atom; larger values are in another unit
POSSIBLE = (-5.5, 6.0)  # eV/atom; formation energies, of which those of fluorides are lowest, -4.5
POSSIBLE_ELEMENT = (-0.5, 8.0)  # eV/atom; from the reference to free atoms
OFF = 0.01  # eV/atom; total and formation energies that differ by more contradict one another
KNOWN_PHASES = "known phases"
LEAST_SHARE = 1e-8  # of the atoms; smaller ones are rounding errors


@dataclass(frozen=True)
class Phase:
    """One reference phase.

    Attributes:
        energy_per_atom: total energy by the oracle, eV/atom.
        id: identifier in its source; empty if it has none.
    """

    composition: Composition
    energy_per_atom: float
    id: str = ""


@dataclass(frozen=True)
class Part:
    """A phase that a crystal decomposes into, and its share of the atoms."""

    composition: Composition
    share: float
    id: str = ""

    @property
    def formula(self) -> str:
        return self.composition.reduced_formula


@dataclass(frozen=True)
class HullPlace:
    """Position of a crystal relative to the hull.

    Attributes:
        e_above_hull: eV/atom above the hull, negative below it.
        decomposition: the phases of the hull at its composition, the largest share first.
        spread: standard deviation of `e_above_hull` over the energy models, eV/atom; None for a single model.
        phases: the phases of the hull in words.
    """

    e_above_hull: float
    decomposition: tuple[Part, ...]
    spread: float | None = None
    phases: str = KNOWN_PHASES


class Hull:
    """The lower convex hull of energies over compositions.

    At a composition it is the lowest energy of all mixtures of phases (`lowest_mixture`).

    Args:
        references: energies of the elements that are not among the phases.
        name: the phases in words, such as the file that they come from.
    """

    def __init__(self, phases: Iterable[Phase], references: References | None, *, name: str = KNOWN_PHASES) -> None:
        self.name = name
        self._phases = list(phases)
        held = {phase.composition.atomic_numbers for phase in self._phases}
        for z, energy in (references.energies if references else {}).items():
            if (z,) not in held:
                self._phases.append(Phase(Composition((z,), (1,)), energy))
        self._mixtures: dict[Composition, tuple[float, tuple[Part, ...]]] = {}

    def missing(self, composition: Composition) -> list[str]:
        """Return the symbols of the elements of a composition that have no reference phase."""
        held = {phase.composition.atomic_numbers for phase in self._phases}
        return [SYMBOLS[z] for z in composition.atomic_numbers if (z,) not in held]

    def e_above_hull(self, composition: Composition, energy_per_atom: float) -> float | None:
        """Return the energy above the hull in eV/atom, negative below it; None if an element has no reference phase."""
        place = self.place(composition, energy_per_atom)
        return None if place is None else place.e_above_hull

    def place(self, composition: Composition, energy_per_atom: float) -> HullPlace | None:
        """Return energy above the hull and decomposition; None if an element has no reference phase."""
        if self.missing(composition):
            return None
        unit = composition.reduced
        if unit not in self._mixtures:
            self._mixtures[unit] = self._lowest_mixture(unit)
        lowest, parts = self._mixtures[unit]
        return HullPlace(energy_per_atom - lowest, parts, phases=self.name)

    def _lowest_mixture(self, composition: Composition) -> tuple[float, tuple[Part, ...]]:
        """Return the energy (eV/atom) of the lowest mixture of phases with a composition, and its parts."""
        lowest: dict[Composition, Phase] = {}
        for phase in self._phases:
            unit = phase.composition.reduced
            within = set(composition.atomic_numbers).issuperset(unit.atomic_numbers)
            if within and (unit not in lowest or phase.energy_per_atom < lowest[unit].energy_per_atom):
                lowest[unit] = phase
        phases = list(lowest.values())
        energy, shares = lowest_mixture(
            composition, [phase.composition for phase in phases], [phase.energy_per_atom for phase in phases]
        )
        parts = [
            Part(phase.composition, float(share), phase.id)
            for phase, share in zip(phases, shares, strict=True)
            if share > LEAST_SHARE
        ]
        return energy, tuple(sorted(parts, key=lambda part: -part.share))


def phases_in(path: Path) -> str:
    """Return the phases of a file or folder in words."""
    return f"the phases in {path.name or path}"


def read_entries(
    path: Path, evaluate: Callable[[list[Crystal]], list[float]], references: References | None, oracle: str
) -> list[Phase]:
    """Return the reference phases of a file or folder.

    Args:
        path: as in the table of this module.
        evaluate: from crystals to the oracle's energies in eV/atom, NaN where it fails; used only for crystals.
        references: needed only for formation energies.
        oracle: name of the energy model; energies by any other are refused.

    Raises:
        DataError: the file is of unknown kind, a row is incomplete or by another model, or a crystal cannot be
            evaluated.
    """
    name = path.name.lower()
    if name.endswith((".json", ".csv")):
        try:
            text = door.file_text(path)
            rows = _json_rows(text, path) if name.endswith(".json") else _csv_rows(text, path)
        except (FileFormatError, ValueError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read as a file of reference phases.") from error
        if not rows:
            raise DataError(f"{path}: holds no reference phases; give formula, energy_per_atom and oracle of each.")
        phases = [_phase(row, f"{path}, entry {i}", references) for i, row in enumerate(rows, 1)]
        for i, row in enumerate(rows, 1):
            _require_oracle(row.get("oracle"), oracle, f"{path}, entry {i}")
        return phases
    crystals = [crystal for file in structure_files_at(path) for crystal in door.read_crystals(file)]
    phases = []
    for crystal, energy in zip(crystals, evaluate(crystals), strict=True):
        if not math.isfinite(energy):
            formula = crystal.composition.reduced_formula
            raise DataError(f"{path}: the oracle has no energy for the reference phase {formula}; take it out.")
        phases.append(Phase(crystal.composition.reduced, energy))
    return phases


def structure_files_at(path: Path) -> list[Path]:
    """Return the path itself, or the structure files in a folder, sorted by name.

    Raises:
        DataError: the folder contains none.
    """
    if not path.is_dir():
        return [path]
    found = door.structure_files(path)
    if not found:
        raise DataError(f"{path}: {door.no_structure_files(path)}")
    door.say_unread(path)
    return found


def _csv_rows(text: str, path: Path) -> list[Mapping[str, Any]]:
    """Return the rows of a CSV text; raises DataError if a column is missing or twice there, or a row is too long."""
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    header = rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    if "formula" not in header:
        raise DataError(f"{path}: its first line should name the columns: formula,energy_per_atom,oracle.")
    if twice := next((name for name in header if header.count(name) > 1), ""):
        raise DataError(f"{path}: has two columns named {twice}; rename one.")
    found = [row for row in rows if any(row.values())]
    if longer := next((i for i, row in enumerate(found, 1) if None in row), 0):
        raise DataError(
            f"{path}, entry {longer}: more cells than columns; write decimals with points, or quote the cell."
        )
    return [{name: (cell or "").strip() for name, cell in row.items()} for row in found]


def _json_rows(text: str, path: Path) -> list[Mapping[str, Any]]:
    content, said = parse_json(text), {}
    if isinstance(content, dict):
        said = {"oracle": content["oracle"]} if "oracle" in content else {}
        content = _rows_of_results(content, path)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: a JSON file of reference phases is a list of objects with formula and energy.")
    return [row if row.get("oracle") else row | said for row in content]


def _rows_of_results(content: Mapping[str, Any], path: Path) -> Any:
    """Return the rows of a list of phases or of the output of our commands, without crystals that have no energy.

    Raises:
        DataError: none of its crystals has an energy, or they were relaxed under pressure.
    """
    found = next((content[key] for key in ("entries", "ranked") if key in content), None)
    if found is not None:
        return found
    if isinstance(crystals := content.get("crystals"), list):
        _require_no_pressure(content.get("options"), path)
        rows = [row for row in crystals if isinstance(row, dict) and row.get("energy_per_atom") is not None]
        found = [row for row in rows if row.get("status", WHOLE[0]) in WHOLE]
    elif isinstance(candidates := content.get("candidates"), list):
        spec = content.get("spec")
        relaxation = spec.get("relaxation") if isinstance(spec, dict) else None
        oracle = relaxation.get("oracle") if isinstance(relaxation, dict) else None
        _require_no_pressure(relaxation, path)
        relaxed = [row["relaxation"] for row in candidates if isinstance(row, dict) and row.get("relaxation")]
        energies = [one.get("total_energy_per_atom") for one in relaxed if isinstance(one, dict)]
        phase = {"formula": content.get("formula"), "oracle": oracle}
        found = [{**phase, "energy_per_atom": one} for one in energies if one is not None]
    if found == []:
        raise DataError(f"{path}: none of its crystals was relaxed, so it holds no energies; name their CIF files.")
    return found


def _require_no_pressure(options: object, path: Path) -> None:
    """Raise DataError if the options of a relaxation include a pressure."""
    if isinstance(options, dict) and options.get("pressure"):
        raise DataError(f"{path}: its crystals were relaxed under pressure; name their CIF files.")


def _require_oracle(said: object, wanted: str, where: str) -> None:
    """Raise DataError if an energy is not by the required oracle."""
    if isinstance(said, str) and identity_of(said) == identity_of(wanted):
        return
    how = f"is by {said}, not by {wanted}" if said else "does not say by which energy model it is"
    raise DataError(
        f"{where}: {how}; energies of different models and functionals do not mix. Give the crystals themselves, which "
        f"are then evaluated, or say oracle {wanted} where the energy is by that one."
    )


def _phase(row: Mapping[str, Any], where: str, references: References | None) -> Phase:
    try:
        composition = Composition.from_formula(str(row.get("formula") or "")).reduced
    except FormulaError as error:
        raise DataError(f"{where}: {error}") from error
    total, formation = (_energy(row, key, where) for key in ("energy_per_atom", "formation_energy_per_atom"))
    if total is not None and formation is not None and references is not None:
        zero = references.formation_energy(composition, 0.0)
        if zero is not None and abs(total + zero - formation) > OFF:
            raise DataError(
                f"{where}: its formation energy should be {total + zero:.3f} eV/atom by the oracle's references, not "
                f"{formation:g}; take one of the energies out."
            )
    if total is not None:
        if references and (found := references.formation_energy(composition, total)) is not None:
            _require_possible(composition, found, f"energy_per_atom {total:g}", where)
        return Phase(composition, total)
    if formation is not None:
        _require_possible(composition, formation, f"formation_energy_per_atom {formation:g}", where)
        return Phase(composition, _total(composition, formation, references, where))
    raise DataError(f"{where}: needs energy_per_atom or formation_energy_per_atom.")


def _require_possible(composition: Composition, formation: float, what: str, where: str) -> None:
    """Raise DataError if a formation energy is one that no compound or element has."""
    low, high = POSSIBLE if len(composition.atomic_numbers) > 1 else POSSIBLE_ELEMENT
    if low <= formation <= high:
        return
    raise DataError(
        f"{where}: {what} for {composition.reduced_formula} is {formation:+.2f} eV/atom from the elements by the "
        "oracle, which is not possible; give energies in eV per atom, not per formula unit, by this model."
    )


def _energy(row: Mapping[str, Any], key: str, where: str) -> float | None:
    """Return an energy in eV/atom, None if it is missing."""
    if row.get(key) in (None, ""):
        return None
    try:
        energy = real(str(row[key]))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {key} is not a number but {row[key]!r}.") from error
    if not math.isfinite(energy):
        raise DataError(f"{where}: {key} is not finite.")
    if abs(energy) > MOST_ENERGY:
        raise DataError(f"{where}: {key} is {energy:g}, which is not an energy in eV/atom; convert it.")
    return energy


def _total(composition: Composition, formation_energy: float, references: References | None, where: str) -> float:
    zero = references.formation_energy(composition, 0.0) if references else None
    if zero is None:
        raise DataError(
            f"{where}: a formation energy needs the oracle's references for all elements of "
            f"{composition.reduced_formula}; give energy_per_atom instead."
        )
    return formation_energy - zero
