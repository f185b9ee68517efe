"""Layouts of the structure in a row of JSON: pymatgen, JARVIS, OQMD, OPTIMADE, ASE, CIF text and plain arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.data.records import Reason, RowError, crystal_from_cif, make_crystal
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import number_of
from lcoms.structure.io import ReadCrystal
from lcoms.structure.lattice import lattice_from_parameters
from lcoms.structure.reading import Remark, Topic
from lcoms.structure.site_elements import ISOTOPES

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_SITE = re.compile(rf"([A-Z][a-z]?)[\d+-]*\s*@\s*{NUMBER}[\s,]+{NUMBER}[\s,]+{NUMBER}")
_KEYS = ("structure", "atoms", "unit_cell", "cif", "numbers")
_MOMENTS = Remark(Topic.LEFT_OUT, "magnetic moments are not kept.")
_CHARGE = Remark(Topic.LEFT_OUT, "the charge of the cell is not kept.")
_CONSTRAINTS = Remark(Topic.LEFT_OUT, "constraints on atoms are not kept: all atoms may move.")
_CONTRADICTION = Remark(
    Topic.CELL, "lengths or Cartesian coordinates contradict the matrix and the fractional coordinates, which are read."
)
APART = 0.05  # angstrom
_ISOTOPE = Remark(Topic.ELEMENT, "D is read as H.")
_TRUE = ("true", "1", "1.0", "yes", "t")
Said = dict[Remark, None]


def is_row(item: Mapping[str, Any]) -> bool:
    """Return whether an object holds a structure in one of the layouts."""
    return any(key in item for key in _KEYS) or "attributes" in item or {"lattice", "sites"} <= set(item)


def is_ase(row: Mapping[str, Any]) -> bool:
    """Return whether a row is one of an ASE database, whose energy is that of the cell."""
    return not any(row.get(key) for key in (*_KEYS[:-1], "attributes", "sites")) and {"positions", "cell"} <= set(row)


def crystal_of_row(row: Mapping[str, Any]) -> ReadCrystal:
    """Return the crystal of a row, and remarks on it.

    Raises:
        RowError: it is refused, with the reason.
        KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError: it has none of the layouts.
    """
    if row.get("cif") and not any(row.get(key) for key in ("structure", "atoms", "unit_cell")):
        return crystal_from_cif(row["cif"])
    said: Said = {}
    for holds, read in _LAYOUTS:
        if holds(row):
            return ReadCrystal(read(row, said), tuple(said))
    return ReadCrystal(make_crystal(row["lattice"], row["frac_coords"], row["numbers"]), ())


def _from_structure(structure: Any, said: Said) -> Crystal:
    """Return the crystal of a pymatgen dict, read here because building the object takes many times as long."""
    numbers, frac_coords = [], []
    _require_periodic(structure["lattice"].get("pbc", True))
    for site in structure["sites"]:
        species = site["species"]
        if len(species) != 1 or abs(species[0].get("occu", 1) - 1) > 1e-3:
            raise RowError(Reason.PARTLY_OCCUPIED)
        numbers.append(_atomic_number(species[0]["element"], said))
        frac_coords.append(site["abc"])
        moments = {**(site.get("properties") or {}), **(species[0].get("properties") or {}), **species[0]}
        if any(moments.get(name) for name in ("magmom", "final_magmom", "spin")):
            said[_MOMENTS] = None
    if structure.get("charge"):
        said[_CHARGE] = None
    if _contradicts(structure, np.asarray(frac_coords, dtype=float)):
        said[_CONTRADICTION] = None
    return make_crystal(structure["lattice"]["matrix"], frac_coords, numbers)


def _contradicts(structure: Mapping[str, Any], frac_coords: NDArray[np.float64]) -> bool:
    """Return whether the lengths or the Cartesian coordinates contradict the matrix and the fractional coordinates."""
    lattice, sites = structure["lattice"], structure["sites"]
    matrix = np.asarray(lattice["matrix"], dtype=float).reshape(3, 3)
    lengths = [lattice.get(name) for name in "abc"]
    if None not in lengths and np.abs(np.linalg.norm(matrix, axis=1) - np.array(lengths, dtype=float)).max() > APART:
        return True
    places = [site.get("xyz") for site in sites]
    if None in places:
        return False
    return bool(np.abs(frac_coords @ matrix - np.array(places, dtype=float)).max(initial=0.0) > APART)


def _from_jarvis(atoms: Mapping[str, Any], said: Said) -> Crystal:
    lattice, coords = np.asarray(atoms["lattice_mat"], dtype=float), np.asarray(atoms["coords"], dtype=float)
    if str(atoms.get("cartesian", False)).lower() in _TRUE:
        coords = coords @ np.linalg.inv(lattice)
    return make_crystal(lattice, coords, [_atomic_number(symbol, said) for symbol in atoms["elements"]])


def _from_oqmd(unit_cell: Any, sites: Any, said: Said) -> Crystal:
    """Return the crystal of a cell of nine or six numbers (lists or text) and sites `El @ x y z` (list or text)."""
    cell = np.array([float(number) for number in re.findall(NUMBER, str(unit_cell))])
    lattice = lattice_from_parameters(cell[:3], cell[3:]) if len(cell) == 6 else cell.reshape(3, 3)
    listed = sites if isinstance(sites, str) else "\n".join(str(site) for site in sites)
    found = _SITE.findall(listed)
    if len(found) != listed.count("@"):
        raise RowError(Reason.UNREADABLE)
    frac_coords = [[float(number) for number in site[1:]] for site in found]
    return make_crystal(lattice, frac_coords, [_atomic_number(site[0], said) for site in found])


def _from_optimade(entry: Mapping[str, Any], said: Said) -> Crystal:
    """Return the crystal of the attributes of an OPTIMADE structure."""
    _require_periodic(entry.get("dimension_types") or True)
    _require_periodic(entry.get("nperiodic_dimensions") in (None, 3))
    if "implicit_atoms" in (features := entry.get("structure_features") or ()):
        raise RowError(Reason.COORDINATES)
    if "assemblies" in features or entry.get("assemblies"):
        raise RowError(Reason.PARTLY_OCCUPIED)
    species = {kind["name"]: kind for kind in entry["species"]}
    symbols = []
    for name in entry["species_at_sites"]:
        kind = species[name]
        if len(kind["chemical_symbols"]) != 1 or abs(kind.get("concentration", [1.0])[0] - 1) > 1e-3:
            raise RowError(Reason.PARTLY_OCCUPIED)
        if any(kind.get("nattached") or kind.get("attached") or ()):
            raise RowError(Reason.COORDINATES)
        symbols.append(kind["chemical_symbols"][0])
    lattice = np.asarray(entry["lattice_vectors"], dtype=float)
    coords = np.asarray(entry["cartesian_site_positions"], dtype=float) @ np.linalg.inv(lattice)
    return make_crystal(lattice, coords, [_atomic_number(symbol, said) for symbol in symbols])


def _from_ase(row: Mapping[str, Any], said: Said) -> Crystal:
    """Return the crystal of a row of an ASE database as JSON."""
    _require_periodic(_array(row.get("pbc", True)).tolist())
    cell = row["cell"]
    lattice = _array(cell["array"] if isinstance(cell, dict) and "array" in cell else cell).astype(float)
    if any(np.any(_array(row[name])) for name in ("initial_magmoms", "magmoms") if row.get(name) is not None):
        said[_MOMENTS] = None
    if row.get("constraints"):
        said[_CONSTRAINTS] = None
    coords = _array(row["positions"]).astype(float) @ np.linalg.inv(lattice)
    return make_crystal(lattice, coords, _array(row["numbers"]))


def _array(value: Any) -> NDArray[Any]:
    """Return an array, also from ASE's `__ndarray__` objects of shape, type and values."""
    if isinstance(value, dict):
        shape, kind, values = value["__ndarray__"]
        return np.array(values, dtype=kind).reshape(shape)
    return np.asarray(value)


def _require_periodic(periodic: bool | Sequence[Any]) -> None:
    if not np.all(periodic):
        raise RowError(Reason.CELL)


def _atomic_number(symbol: str, said: Said) -> int:
    """Return the atomic number of a symbol, with or without oxidation state; deuterium and tritium are hydrogen."""
    letters = re.match(r"[A-Za-z]*", symbol.strip())
    name = letters.group() if letters else ""
    if name in ISOTOPES:
        said[_ISOTOPE] = None
        return ISOTOPES[name]
    number = number_of(name)
    if number is None:
        raise RowError(Reason.UNKNOWN_ELEMENT)
    return number


Layout = tuple[Callable[[Mapping[str, Any]], Any], Callable[[Mapping[str, Any], Said], Crystal]]
_LAYOUTS: tuple[Layout, ...] = (
    (lambda row: row.get("structure"), lambda row, said: _from_structure(row["structure"], said)),
    (lambda row: row.get("atoms"), lambda row, said: _from_jarvis(row["atoms"], said)),
    (lambda row: row.get("unit_cell"), lambda row, said: _from_oqmd(row["unit_cell"], row["sites"], said)),
    (lambda row: row.get("attributes"), lambda row, said: _from_optimade(row["attributes"], said)),
    (lambda row: row.get("sites"), _from_structure),
    (is_ase, _from_ase),
)
