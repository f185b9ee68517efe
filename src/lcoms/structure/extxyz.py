"""Extended XYZ text to crystals, frame by frame, by ASE."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, cast

import numpy as np

from lcoms.core.errors import CrystalError
from lcoms.core.numerals import without_fortran
from lcoms.structure.cif_expand import MAX_ATOMS
from lcoms.structure.cif_sites import FULL
from lcoms.structure.crystal import Crystal
from lcoms.structure.distances import FARTHEST, closest_pair, distance_remarks, require_cell
from lcoms.structure.elements import number_of
from lcoms.structure.reading import Reading, RefusedError, Remark, Topic
from lcoms.structure.site_elements import ISOTOPES

if TYPE_CHECKING:
    from ase import Atoms

_OCCUPANCIES = re.compile(r"(?:\w+_)?(?:occ|occupanc\w*|occupations?)", re.IGNORECASE)  # columns
_MOMENTS = re.compile(r"magmom|magnetic_?moment|^spins?$", re.IGNORECASE)  # columns
_DECIMAL_COMMA = re.compile(r"[0-9],[0-9]+(?=\s|$)")
NUMBERS = ("z", "numbers", "atomic_numbers")  # columns of atomic numbers
_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_KEY = re.compile(r"\b(lattice|properties|pbc)(?=\s*=)", re.IGNORECASE)
_PROPERTIES = re.compile(r"\bProperties\s*=\s*\"?([^\s\"]+)")
_CELL = re.compile(r"\blattice\s*=\s*([\"{'\[]?)([^\"}'\]]*)", re.IGNORECASE)
_UNIT = re.compile(
    r"(?<!/)\b(bohrs?|nanomet(?:er|re)s?|picomet(?:er|re)s?)\b"
    r"|\b(?!\w*(?:energy|force|stress|dipole|charge))\w*(?:unit|length)\w*\s*[=:]\s*[\"']?(a0|au|a\.u\.|atomic|nm|pm)(?!\w)",
    re.IGNORECASE,
)
_QUOTED_LATTICE = re.compile(r"lattice\s*=\s*[\"{'\[][^\"}'\]]*", re.IGNORECASE)
_LATTICE = re.compile(r"\blattice\s*=", re.IGNORECASE)


def read_extxyz(text: str) -> list[Reading]:
    """Return a reading for every frame; text that cannot be split into frames gives one refused reading."""
    readings: list[Reading] = []
    lines, at = text.split("\n"), 0
    while True:
        while at < len(lines) and not lines[at].strip():
            at += 1
        if at >= len(lines):
            break
        name = str(len(readings) + 1)
        try:
            size = _frame_size(lines, at, name)
        except RefusedError as error:
            readings.append(Reading.refused(name, error))
            break
        readings.append(read_frame("\n".join(lines[at : at + size]) + "\n", name))
        at += size
    if not readings:
        return [Reading.refused("", RefusedError(Topic.UNREADABLE, "not an extxyz file that can be read: it is empty"))]
    return readings


def _frame_size(lines: list[str], at: int, name: str) -> int:
    """Return the number of lines of a frame: its count, comment and atoms."""
    first = lines[at].strip()
    if not re.fullmatch("[0-9]{1,9}", first):
        text = f"frame {name} should begin with its number of atoms, not {first[:40]!r}"
        raise RefusedError(Topic.UNREADABLE, f"not an extxyz file that can be read: {text}.")
    n_atoms = int(first)
    end = at + n_atoms + 2
    if end > len(lines) or (n_atoms and not any(line.strip() for line in lines[end - 1 :])):
        text = f"a frame of {n_atoms} atoms is cut short"
        raise RefusedError(Topic.UNREADABLE, f"not an extxyz file that can be read: {text}.")
    while end < len(lines) and lines[end].lstrip().startswith("VEC"):
        end += 1
    if n_atoms and end < len(lines) and len(lines[end].split()) == len(lines[end - 1].split()) >= 4:
        text = f"more lines of atoms follow than the {n_atoms} that frame {name} announces"
        raise RefusedError(Topic.UNREADABLE, f"not an extxyz file that can be read: {text}.")
    return end - at


def read_frame(text: str, name: str = "") -> Reading:
    """Return the crystal of one frame, or the reason for its refusal."""
    try:
        atoms, remarks = frame_atoms(text)
        crystal, more = crystal_of(atoms)
    except RefusedError as error:
        return Reading.refused(name, error)
    return Reading(name, crystal, (*remarks, *more))


def frame_atoms(text: str) -> tuple[Atoms, list[Remark]]:
    """Return ASE's atoms of one frame, with the data of its comment line, and remarks.

    Raises:
        RefusedError: the text is not a frame, or has no lattice.
    """
    from ase.io import read

    remarks: list[Remark] = []
    lines = text.split("\n")
    comment = _KEY.sub(lambda match: _KEYS[match[0].lower()], lines[1]) if len(lines) > 1 else ""
    if not _LATTICE.search(comment) and "VEC1" not in text:
        raise RefusedError(
            Topic.CELL, 'not periodic: the second line gives no cell; write Lattice="ax ay az bx by bz cx cy cz" there.'
        )
    _require_angstrom(comment)
    body = [without_fortran(line) for line in lines[2:]]
    n_atoms = int(lines[0]) if lines[0].strip().isdecimal() else 0
    if blank := next((i for i, line in enumerate(body[:n_atoms], 1) if not line.strip()), 0):
        raise RefusedError(Topic.COORDINATES, f"not an extxyz file that can be read: atom {blank} is a blank line.")
    place = _columns(comment).get("species", 0 if not _PROPERTIES.search(comment) else None)
    if place is not None:
        body, more = _plain_symbols(body, n_atoms, place)
        remarks += more
    if comma := next((line for line in body[:n_atoms] if _DECIMAL_COMMA.search(line)), ""):
        text = f"an atom has decimal commas, {comma.strip()[:40]!r}; write points."
        raise RefusedError(Topic.COORDINATES, f"not an extxyz file that can be read: {text}")
    _require_one_element(comment, body)
    if (found := _PROPERTIES.search(comment)) and "pos" not in found[1].split(":")[::3]:
        raise RefusedError(Topic.COORDINATES, "the Properties have no positions; name their columns pos:R:3.")
    header = _QUOTED_LATTICE.sub(lambda match: without_fortran(match[0]), comment)
    try:
        atoms = cast("Atoms", read(StringIO("\n".join([lines[0], header, *body])), format="extxyz"))
    except Exception as error:  # ASE raises exceptions of many types for malformed text
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, KeyError):
            text = f"{message.strip(chr(39))} is not an element symbol"
            raise RefusedError(Topic.UNKNOWN_ELEMENT, f"not an extxyz file that can be read: {text}.") from error
        raise RefusedError(Topic.UNREADABLE, f"not an extxyz file that can be read: {message}") from error
    return atoms, remarks


def _require_angstrom(comment: str) -> None:
    """Raise RefusedError if a comment line gives two cells, a cell of other than nine numbers, or another unit."""
    cells = {" ".join(match[2].replace(",", " ").split()) for match in _CELL.finditer(comment)}
    if len(cells) > 1:
        raise RefusedError(Topic.CELL, "the second line gives two cells; take one out.")
    if any(len(cell.split()) != 9 for cell in cells):
        text = 'the cell needs nine numbers: Lattice="ax ay az bx by bz cx cy cz".'
        raise RefusedError(Topic.CELL, text)
    if unit := _UNIT.search(comment):
        name = unit[1] or unit[2]
        text = f"the second line says that lengths are in {name}; extended XYZ is in angstrom, so convert them."
        raise RefusedError(Topic.CELL, text)


def _plain_symbols(body: list[str], n_atoms: int, place: int) -> tuple[list[str], list[Remark]]:
    """Return the lines of the atoms with isotopes and odd capitals as element symbols, and a remark on each kind.

    Args:
        place: number of the column of symbols, from 0.
    """
    plain = list(body)
    said: dict[str, None] = {}
    for i, line in enumerate(body[:n_atoms]):
        word = next(iter(line.split()[place:]), "")
        symbol = "H" if word in ISOTOPES else word if number_of(word) else word.capitalize()
        if symbol != word and number_of(symbol):
            plain[i] = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", symbol, line, count=1)
            said[f"{word} is read as {symbol}."] = None
    return plain, [Remark(Topic.ELEMENT, text) for text in said]


def _columns(comment: str) -> dict[str, int]:
    """Return the number of the first column of each property, from 0, and under an empty name that of all columns."""
    found = _PROPERTIES.search(comment)
    words = found[1].split(":") if found else []
    if not words or len(words) % 3 or not all(word.isdecimal() for word in words[2::3]):
        return {}
    at, columns = 0, {}
    for name, width in zip(words[::3], map(int, words[2::3]), strict=True):
        columns[name.lower()] = at
        at += width
    return {**columns, "": at}


def _require_one_element(comment: str, body: list[str]) -> None:
    """Raise RefusedError if a frame gives symbols and atomic numbers that disagree."""
    columns = _columns(comment)
    at = columns.pop("", 0)
    symbols, numbers = columns.get("species"), next((columns[n] for n in NUMBERS if n in columns), None)
    if symbols is None or numbers is None:
        return
    for i, row in enumerate((line.split() for line in body if line.strip()), 1):
        if len(row) == at and row[numbers].isdecimal() and number_of(row[symbols]) != int(row[numbers]):
            text = f"atom {i} is {row[symbols]} by its symbol and {row[numbers]} by its number; take one column out."
            raise RefusedError(Topic.ELEMENT, text)


def crystal_of(atoms: Atoms) -> tuple[Crystal, list[Remark]]:
    """Return the crystal of ASE's atoms, and remarks on it.

    Raises:
        RefusedError: it is not periodic, or has unknown elements or coinciding atoms.
    """
    if not len(atoms) or len(atoms) > MAX_ATOMS:
        raise RefusedError(Topic.TOO_LARGE, f"a frame of {len(atoms)} atoms; from 1 to {MAX_ATOMS} can be handled.")
    if not np.all(atoms.pbc):
        raise RefusedError(Topic.CELL, "the structure is not periodic in all three directions.")
    if int(atoms.numbers.min()) < 1:
        raise RefusedError(Topic.NO_SYMBOLS, "atoms without element symbols (X); write the symbol of each atom.")
    lattice = np.array(atoms.cell)
    if not (np.abs(atoms.positions) < FARTHEST).all():
        raise RefusedError(Topic.COORDINATES, "a position is not a number, or too large.")
    require_cell(lattice)
    try:
        crystal = Crystal(lattice, atoms.get_scaled_positions(wrap=True), atoms.numbers)
    except CrystalError as error:
        raise RefusedError(Topic.UNREADABLE, str(error)) from error
    pair = closest_pair(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    remarks = distance_remarks(crystal, pair, [])
    _require_full(atoms)
    results = atoms.calc.results if atoms.calc is not None else {}
    if any(_MOMENTS.search(name) for name in (*atoms.arrays, *results)):
        remarks.append(Remark(Topic.LEFT_OUT, "magnetic moments are not kept."))
    if charge := _charge(atoms):
        remarks.append(Remark(Topic.LEFT_OUT, f"the charge of the cell, {charge:g}, is not kept."))
    if atoms.constraints:
        remarks.append(Remark(Topic.LEFT_OUT, "constraints on atoms are not kept: all atoms may move."))
    return crystal, remarks


def _charge(atoms: Atoms) -> float:
    """Return the charge that a comment line states, 0 if it states none."""
    value = next((value for key, value in atoms.info.items() if key.lower() in ("charge", "total_charge")), 0)
    return float(value) if isinstance(value, int | float | np.number) else 0.0


def _require_full(atoms: Atoms) -> None:
    if is_partly_occupied(atoms):
        raise RefusedError(Topic.PARTLY_OCCUPIED, "partly occupied sites cannot be handled; give an ordered model.")


def is_partly_occupied(atoms: Atoms) -> bool:
    """Return whether a column or ASE's dictionary of occupancies has a site that is not fully occupied."""
    columns = [np.asarray(values) for name, values in atoms.arrays.items() if _OCCUPANCIES.fullmatch(name)]
    kinds = atoms.info.get("occupancy")
    shares = [list(kind.values()) for kind in kinds.values()] if isinstance(kinds, dict) else []
    partial = any(len(kind) != 1 or abs(float(kind[0]) - 1) > FULL for kind in shares)
    return partial or any(bool((np.abs(column - 1) > FULL).any()) for column in columns)
