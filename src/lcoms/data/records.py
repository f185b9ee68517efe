"""Output of a reader: raw rows that are cheap to move between processes, and the records made from them.

Sources use different names for the same quantities; `ALIASES` lists the names that are understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FormulaError
from lcoms.core.numerals import real
from lcoms.structure import io as door
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import N_ELEMENTS
from lcoms.structure.formula import parse_formula
from lcoms.structure.io import ReadCrystal
from lcoms.structure.lattice import is_valid_lattice
from lcoms.structure.reading import RefusedError, Remark, Topic

NAN = float("nan")
ALIASES = {
    "material_id": ("material_id", "mp_id", "entry_id", "_oqmd_entry_id", "jid", "mat_id", "id"),
    "formation_energy_per_atom": (
        "formation_energy_per_atom",
        "e_form",
        "delta_e",
        "_oqmd_delta_e",
        "formation_energy_peratom",
        "e_form_per_atom",
        "formation",
    ),
    "energy_per_atom": ("energy_per_atom",),
    "cohesive_energy_per_atom": ("cohesive_energy_per_atom", "e_coh"),
    "e_above_hull": ("e_above_hull", "energy_above_hull", "ehull", "stability", "_oqmd_stability"),
}


FORMULAS = ("formula_pretty", "pretty_formula", "chemical_formula_reduced", "reduced_formula", "composition", "formula")
SITES = ("nsites", "natoms", "_oqmd_natoms")
MISSING = ("", "nan", "none", "null", "na", "n/a", "-", "--")  # words for a missing number
NO_NUMBER = "energy that is not a number left out"
OTHER_NAME = "formation energy under a name that is not read"
OTHER_UNIT = "energy in a unit other than eV/atom left out"
OTHER_HULL = "energy above the hull under a name that is not read"
OTHER_TOTAL = "total energy under a name that is not read"
NO_RANK = "rank that is not a whole number from 1 on"
TWO_VALUES = "two energies of one kind differ; the first is read"
ENERGY_REMARKS = (NO_NUMBER, OTHER_NAME, OTHER_UNIT, OTHER_HULL, OTHER_TOTAL, TWO_VALUES)


_PLAIN = re.compile("[a-z_0-9]*")
_FORMATION = re.compile(
    "form(?:ation)?_?(?:en|enthalpy)|formation_e|e_?form(?:ation)?(?:_|$)|delta_?[eh](?:_|$)|enthalpy|^(?:d|δ|∆)_?h_?f"
)
_OTHERS = (
    ("formation_energy_per_atom", _FORMATION, OTHER_NAME),
    ("e_above_hull", re.compile("hull"), OTHER_HULL),
    ("energy_per_atom", re.compile("^(?:.*_)?(?:total|final)_energy|^energy(?:$|_per_atom)"), OTHER_TOTAL),
)
_BRACKETS = re.compile(r"[\[(].*")
_OTHER_UNIT = re.compile(
    r"\bmev\b|\bkev\b|\bk?j\b|\bk?cal\b|hartree|\bha\b|\bry\b|rydberg|\ba\.?u\b|cm-1|\bf\.?u\b|formula|cell|mol"
)


class Reason(StrEnum):
    """Reason for dropping a row; tables show its value."""

    UNREADABLE = "structure cannot be read"
    PARTLY_OCCUPIED = "partly occupied sites"
    UNKNOWN_ELEMENT = "unknown element"
    NOT_FINITE = "numbers not finite"
    NO_VOLUME = "cell without volume"
    TOO_MANY_ATOMS = "too many atoms"
    EXCLUDED = "excluded composition"
    ENERGY = "formation energy out of range"
    VOLUME = "volume per atom out of range"
    TOO_CLOSE = "atoms too close"
    NO_SYMBOLS = "no element symbols"
    CELL = "cell missing or unusable"
    COORDINATES = "coordinates missing or unusable"
    SYMMETRY = "symmetry unclear or contradictory"
    SEVERAL = "several structures where one is expected"
    NO_REDUCTION = "cell cannot be reduced"
    SPLIT = "split of an unknown name"


class RowError(Exception):
    """A row is dropped; counted by its reason, never shown as an error."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Record:
    """One row of a source after reading; energies in eV/atom. Missing energies are NaN, missing texts empty.

    Attributes:
        rank: of a prediction, 0 if the source gives none.
        formula: as given in the source, which may differ from that of the crystal.
        remarks: topics of what was corrected, assumed or left out when reading.
    """

    material_id: str
    crystal: Crystal
    formation_energy_per_atom: float = NAN
    energy_per_atom: float = NAN
    e_above_hull: float = NAN
    source: str = ""
    split: str = ""
    cohesive_energy_per_atom: float = NAN
    rank: int = 0
    formula: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reader of one file or folder.

    Attributes:
        path: the file or folder.
        rows: function that yields raw rows in a fixed order, parsing as little as possible.
        parse: makes a `Record` from a raw row, or raises `RowError`; a module's function, so that workers can call it.
        n_rows: number of rows, None if unknown before reading.
    """

    path: Path
    rows: Callable[[], Iterator[Any]]
    parse: Callable[[Any], Record]
    n_rows: int | None = None


def make_crystal(lattice: Any, frac_coords: Any, atomic_numbers: Any) -> Crystal:
    """Return a crystal from array-likes: lattice rows (3, 3), frac_coords (n, 3) or flattened, atomic numbers (n,).

    Raises:
        RowError: with the reason why these are not a crystal.
    """
    try:
        lattice = np.asarray(lattice, dtype=float).reshape(3, 3)
        frac_coords = np.asarray(frac_coords, dtype=float).reshape(-1, 3)
        atomic_numbers = _integers(atomic_numbers)
    except (TypeError, ValueError, OverflowError):
        raise RowError(Reason.UNREADABLE) from None
    if atomic_numbers.ndim != 1 or len(atomic_numbers) != len(frac_coords) or not len(atomic_numbers):
        raise RowError(Reason.UNREADABLE)
    if atomic_numbers.min() < 1 or atomic_numbers.max() > N_ELEMENTS:
        raise RowError(Reason.UNKNOWN_ELEMENT)
    if not (np.isfinite(lattice).all() and np.isfinite(frac_coords).all()):
        raise RowError(Reason.NOT_FINITE)
    if not is_valid_lattice(lattice):
        raise RowError(Reason.NO_VOLUME)
    return Crystal(lattice, frac_coords, atomic_numbers)


def _integers(values: Any) -> NDArray[np.int64]:
    """Return whole numbers as integers; raises ValueError if they are not whole."""
    numbers = np.asarray(values, dtype=float)
    if not (np.abs(numbers) < 1e6).all() or not (np.abs(numbers - np.round(numbers)) < 1e-6).all():
        raise ValueError("numbers that are not whole")
    return np.round(numbers).astype(np.int64)


def make_record(
    row: Mapping[str, Any], crystal: Crystal, material_id: str, source: str, remarks: Iterable[Remark] = ()
) -> Record:
    """Return a record of a crystal and the named values of its row; `material_id` and `source` replace missing ones."""
    others = [name for name in row if _has_other_unit(name)]
    row = {**_renamed(row), **row}
    values = {name: _first(row, names) for name, names in ALIASES.items()}
    found_id = values.pop("material_id")
    topics = {remark.topic.value for remark in remarks}
    if any(_is_lost(value) for value in values.values()):
        topics.add(NO_NUMBER)
    if any(not np.isnan(_number(row[name])) for name in others):
        topics.add(OTHER_UNIT)
    rest = {name: value for name, value in row.items() if name not in others}
    for field, names, topic in _OTHERS:
        if values[field] is None and any(_is_named(names, name, value) for name, value in rest.items()):
            topics.add(topic)
    if not _is_missing(row.get("rank")) and row.get("rank") is not None and not rank_of(row):
        topics.add(NO_RANK)
    if any(_differ(row, names) for name, names in ALIASES.items() if name in values):
        topics.add(TWO_VALUES)
    if _is_another(row, crystal):
        topics.add(Topic.FORMULA.value)
    return Record(
        material_id if found_id in (None, "") or found_id != found_id else str(found_id),
        crystal,
        source=str(row.get("source") or source),
        split=str(row.get("split") or ""),
        rank=rank_of(row),
        formula=str(row.get("formula") or ""),
        remarks=tuple(sorted(topics)),
        **{name: _number(value) for name, value in values.items()},
    )


def is_read(name: str) -> bool:
    """Return whether a value of this name may be read, or is said not to be."""
    plain = plain_name(name)
    return any(plain in names for names in ALIASES.values()) or any(names.search(plain) for _, names, _ in _OTHERS)


def plain_name(name: str) -> str:
    """Return a name in lower case without what it has in brackets: e_form of E form (eV/atom)."""
    return re.sub(r"[\s-]+", "_", _BRACKETS.sub("", name).strip()).lower()


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values whose names are not in lower case, as Formation Energy (eV/atom), by plain names."""
    names = [name for name in row if isinstance(name, str) and not _PLAIN.fullmatch(name)]
    return {plain_name(name): row[name] for name in names if not _has_other_unit(name)}


def _has_other_unit(name: Any) -> bool:
    """Return whether the name of an energy has a unit other than eV/atom in brackets."""
    found = _BRACKETS.search(name) if isinstance(name, str) and is_read(name) else None
    return found is not None and _OTHER_UNIT.search(found[0].lower()) is not None


def _is_named(names: re.Pattern[str], name: Any, value: Any) -> bool:
    """Return whether a value is a number, and its name matches."""
    return isinstance(name, str) and names.search(plain_name(name)) is not None and not np.isnan(_number(value))


def _is_another(row: Mapping[str, Any], crystal: Crystal) -> bool:
    """Return whether a formula or a number of atoms of a row is not that of its crystal."""
    if any(
        _number(row.get(name)) not in (crystal.n_atoms, 0.0) for name in SITES if not np.isnan(_number(row.get(name)))
    ):
        return True
    return any(_is_other_formula(row[name], crystal) for name in FORMULAS if isinstance(row.get(name), str))


def _is_other_formula(text: str, crystal: Crystal) -> bool:
    """Return whether a text is a formula other than that of a crystal; a text that is none may mean anything."""
    try:
        counts = parse_formula("".join(text.split()), ordered=True).counts
    except FormulaError:
        return False
    return Composition.from_counts(counts).reduced != crystal.composition.reduced


def _is_lost(value: Any) -> bool:
    """Return whether a value is given, is not a number, and is not a word for a missing one."""
    return value is not None and not _is_missing(value) and bool(np.isnan(_number(value)))


def _differ(row: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Return whether a row gives two different values of one quantity."""
    values = [number for name in names if not np.isnan(number := _number(row.get(name)))]
    return bool(values) and max(values) - min(values) > 1e-3


def rank_of(row: Mapping[str, Any]) -> int:
    """Return the rank given by a row, counted from 1; 0 if it gives none."""
    rank = _number(row.get("rank"))
    return int(rank) if 1 <= rank < float("inf") and rank == int(rank) else 0


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return the first value given under these names, preferably one that is not missing; None if there is none."""
    given = [row[name] for name in names if row.get(name) is not None]
    return next((value for value in given if not _is_missing(value)), given[0] if given else None)


def _is_missing(value: Any) -> bool:
    """Return whether a value is NaN or a word for a missing one."""
    return bool(value != value) or (isinstance(value, str) and value.strip().lower() in MISSING)


def _number(value: Any) -> float:
    """Return a number; NaN if it is missing or not a number."""
    if isinstance(value, bool):
        return NAN
    try:
        return real(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return NAN


def crystal_from_cif(text: str) -> ReadCrystal:
    """Return the only crystal of a CIF text and the remarks on it; raises RowError with a reason."""
    try:
        return door.only(door.read_cif(text))
    except RefusedError as error:
        raise row_error(error) from None


def row_error(error: RefusedError) -> RowError:
    """Return the refusal of a structure as that of a row; topics and reasons have the same values."""
    return RowError(Reason(error.topic.value))
