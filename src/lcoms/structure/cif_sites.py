"""Atoms listed in a CIF, before symmetry is applied: elements, coordinates and occupancies, none dropped silently."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.cif_block import Block, number, uncertain_number
from lcoms.structure.distances import FARTHEST
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.reading import RefusedError, Remark, Topic
from lcoms.structure.site_elements import VACANCY, element_of

FRACT = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
CARTN = tuple(f"_atom_site_cartn_{axis}" for axis in "xyz")
MULTIPLICITY = (
    "_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity", "_atom_site_wyckoff_symbol",
)  # fmt: skip
OCCUPANCY = "_atom_site_occupancy"
ORDER = "_atom_site_site_symmetry_order"
FULL = 0.005  # occupancies closer to one count as one
OVERFULL = 0.1  # refined occupancies may differ from one by up to this, if their uncertainty is as large
ROUNDING = 1e-9
OTHER_PLACE = 0.1  # angstrom
SAME_PLACE = 2e-4  # fraction of a cell edge


@dataclass(frozen=True, eq=False)
class Site:
    """One listed site: fractional coordinates (3,), and the multiplicity and order of its symmetry, 0 if not stated."""

    label: str
    atomic_number: int
    frac_coords: NDArray[np.float64]
    occupancy: float = 1.0
    multiplicity: int = 0
    order: int = 0


def read_sites(
    block: Block, lattice: NDArray[np.float64], expected: Collection[int]
) -> tuple[list[Site], list[Remark]]:
    """Return the fully occupied sites, and remarks on what was corrected or left out.

    Args:
        lattice: (3, 3) in angstrom, for Cartesian coordinates.
        expected: elements of the formula sum.

    Raises:
        RefusedError: a site lacks an element or coordinates, or is partly occupied.
    """
    coordinates, remarks = _coordinates(block, lattice)
    n_sites = len(coordinates)
    _require_one_model(_texts(block, n_sites, "_atom_site_pdbx_pdb_model_num"))
    labels = _texts(block, n_sites, "_atom_site_label") or _texts(block, n_sites, "_atom_site_id")
    symbols = _texts(block, n_sites, "_atom_site_type_symbol")
    flags = _texts(block, n_sites, "_atom_site_calc_flag")
    occupancies = _texts(block, n_sites, *_occupancy_names(block))
    alternatives = _alternatives(block, n_sites)
    multiplicities, orders = _whole_numbers(block, n_sites, *MULTIPLICITY), _whole_numbers(block, n_sites, ORDER)
    sites, empty, dummies = [], [], []
    said: dict[str, None] = {}
    ordered: dict[str, tuple[str, str]] = {}
    for i, place in enumerate(coordinates):
        label = (labels[i] if labels else "") or (symbols[i] if symbols else "") or f"number {i + 1}"
        if flags and flags[i].lower() == "dum":
            dummies.append(label)
            continue
        atomic_number, sentence = element_of(symbols[i] if symbols else "", labels[i] if labels else "", expected)
        if sentence:
            said[sentence] = None
        occupancy, uncertainty = _occupancy(occupancies[i] if occupancies else "", label)
        if atomic_number == VACANCY or occupancy == 0:
            empty.append(label)
            continue
        if not (np.abs(place) < FARTHEST).all():
            raise RefusedError(
                Topic.COORDINATES, f"site {label} has no coordinates that can be read; give them, or take the site out."
            )
        if abs(occupancy - 1) <= uncertainty:
            occupancy = _as_full(occupancy, label, said)
            _require_one_alternative(label, *alternatives[i], ordered)
        sites.append(Site(label, atomic_number, place, occupancy, multiplicities[i], orders[i]))
    remarks += [Remark(Topic.OCCUPANCY if "occupancy" in text else Topic.ELEMENT, text) for text in said]
    if empty:
        remarks.append(Remark(Topic.LEFT_OUT, f"empty sites hold no atom and are left out: {_listed(empty)}."))
    if dummies:
        remarks.append(Remark(Topic.LEFT_OUT, f"dummy sites are left out: {_listed(dummies)}."))
    if not sites:
        raise RefusedError(Topic.COORDINATES, "the list of sites holds no atom.")
    return _whole(sites, remarks), remarks


def _whole_numbers(block: Block, n_sites: int, *names: str) -> list[int]:
    """Return the number in each value of the first of these columns that is present, as 4 of the Wyckoff symbol 4a."""
    texts = _texts(block, n_sites, *names) or [""] * n_sites
    found = [re.match(r"[0-9]{1,3}(?=[a-zA-Z]?$)", text) for text in texts]
    return [int(match[0]) if match else 0 for match in found]


def _occupancy_names(block: Block) -> list[str]:
    """Return the names of columns of occupancies, the standard one first; programs also write others."""
    other = re.compile(r"_atom_site_(?:\w*occupan\w*|occ|sof)")
    return [OCCUPANCY, *(name for name in block.columns if name != OCCUPANCY and other.fullmatch(name))]


def _alternatives(block: Block, n_sites: int) -> list[tuple[str, str]]:
    """Return disorder assembly and group of each site, empty if it has none."""
    names = ("_atom_site_disorder_group", "_atom_site_label_alt_id")
    groups = next(filter(None, (_texts(block, n_sites, name) for name in names)), [""] * n_sites)
    assemblies = _texts(block, n_sites, "_atom_site_disorder_assembly") or [""] * n_sites
    return list(zip(assemblies, groups, strict=True))


def _require_one_alternative(label: str, assembly: str, group: str, ordered: dict[str, tuple[str, str]]) -> None:
    """Raise RefusedError if full sites belong to two groups of an assembly, which are alternatives."""
    if not group:
        return
    other, known = ordered.setdefault(assembly, (label, group))
    if known != group:
        raise RefusedError(
            Topic.PARTLY_OCCUPIED,
            f"{other} and {label} are alternatives (disorder groups {known} and {group}); give an ordered model with "
            "one of them.",
        )


def _require_one_model(models: list[str]) -> None:
    """Raise RefusedError if a list of atoms holds several models of one structure, as in the PDB."""
    found = list(dict.fromkeys(models))
    if len(found) > 1:
        text = f"the list of atoms holds {len(found)} models of the structure; give one of them."
        raise RefusedError(Topic.SEVERAL, text)


def _coordinates(block: Block, lattice: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[Remark]]:
    """Return fractional coordinates (n, 3), NaN where a value is not a number."""
    for names in (FRACT, CARTN):
        columns = [block.column(name) for name in names]
        if all(columns) and (any(map(any, columns)) or not all(block.column(name) for name in CARTN)):
            break
    else:
        raise RefusedError(
            Topic.COORDINATES, "holds no atoms: there is no list with _atom_site_fract_x, _y and _z (or Cartn)."
        )
    if len({len(column) for column in columns}) > 1:
        raise RefusedError(Topic.COORDINATES, "the columns of coordinates have different lengths.")
    values = np.array([[_or_nan(text) for text in column] for column in columns], dtype=float).T
    if names is FRACT:
        return values, _two_kinds(block, values, lattice)
    transform, shift = _cartesian_axes(block)
    if transform is not None:
        return (values - shift) @ np.linalg.inv(transform).T, []
    standard = _standard_axes(lattice)
    remarks = []
    if not np.allclose(standard, np.diag(np.diag(standard)), atol=1e-3):
        text = "Cartesian coordinates are read with a along x and b in the xy plane, since the file does not say."
        remarks.append(Remark(Topic.SYMMETRY, text))
    return values @ np.linalg.inv(standard), remarks


def _two_kinds(block: Block, frac_coords: NDArray[np.float64], lattice: NDArray[np.float64]) -> list[Remark]:
    """Return a remark if Cartesian coordinates are given as well and put the sites at other distances."""
    columns = [block.column(name) for name in CARTN]
    if {len(column) for column in columns} != {len(frac_coords)}:
        return []
    cart_coords = np.array([[_or_nan(text) for text in column] for column in columns]).T
    apart = [np.linalg.norm(some - some[0], axis=1) for some in (frac_coords @ lattice, cart_coords)]
    if not (np.abs(apart[0] - apart[1]) > OTHER_PLACE).any():
        return []
    text = "the fractional and the Cartesian coordinates contradict one another; the fractional ones are read."
    return [Remark(Topic.SYMMETRY, text)]


def _or_nan(text: str) -> float:
    value = number(text)
    return float("nan") if value is None else value


def _cartesian_axes(block: Block) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Return the stated matrix from fractional to Cartesian coordinates (None if missing) and the stated shift."""
    for kind in ("cartn", "fract"):
        name = f"_atom_sites_{kind}_tran"
        parts = [(f"{name}_matrix_{i}{j}", f"{name}sf_matrix[{i}][{j}]") for i in "123" for j in "123"]
        matrix = np.array([_or_nan(block.value(*names)) for names in parts]).reshape(3, 3)
        vector = np.array([_or_nan(block.value(f"{name}_vector_{i}", f"{name}sf_vector[{i}]")) for i in "123"])
        vector = np.where(np.isnan(vector), 0.0, vector)
        if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9:
            if kind == "cartn":
                return matrix, vector
            inverse = np.linalg.inv(matrix)
            return inverse, -inverse @ vector
    return None, np.zeros(3)


def _standard_axes(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lattice (rows) rotated so that a is along x and b in the xy plane."""
    return np.asarray(np.linalg.cholesky(lattice @ lattice.T))


def _texts(block: Block, n_sites: int, *names: str) -> list[str]:
    column = block.column(*names)
    if column and len(column) != n_sites:
        raise RefusedError(Topic.UNREADABLE, f"{names[0]} has {len(column)} values for {n_sites} sites.")
    return [text.strip() for text in column]


def _occupancy(text: str, label: str) -> tuple[float, float]:
    if not text:
        return 1.0, FULL
    value, uncertainty = uncertain_number(text)
    if value is None or not 0 <= value <= 1 + OVERFULL + ROUNDING:
        raise RefusedError(
            Topic.PARTLY_OCCUPIED,
            f"the occupancy of site {label} is {text}, which is not possible; give a number from 0 to 1.",
        )
    return value, ROUNDING + max(FULL, OVERFULL if value > 1 else min(uncertainty, OVERFULL))


def _as_full(occupancy: float, label: str, said: dict[str, None]) -> float:
    if abs(occupancy - 1) > 1e-6:
        said[f"occupancy {occupancy:g} of site {label} is taken as 1."] = None
    return 1.0


def _whole(sites: list[Site], remarks: list[Remark]) -> list[Site]:
    """Return the sites with parts of one element merged; raises RefusedError if a site stays partly occupied."""
    if all(site.occupancy == 1 for site in sites):
        return sites
    whole: list[Site] = []
    joined = []
    for site in sites:
        twin = None
        if site.occupancy != 1:
            twin = next((i for i, other in enumerate(whole) if _same_place(site, other) and other.occupancy != 1), None)
        if twin is None:
            whole.append(site)
            continue
        total = whole[twin].occupancy + site.occupancy
        joined.append(site.label)
        whole[twin] = replace(whole[twin], occupancy=1.0 if abs(total - 1) <= 2 * FULL else total)
    partial = [site for site in whole if site.occupancy != 1]
    if partial:
        first = partial[0]
        raise RefusedError(
            Topic.PARTLY_OCCUPIED,
            f"partly occupied sites cannot be handled: {SYMBOLS[first.atomic_number]} at {first.label} has occupancy "
            f"{first.occupancy:g}; give an ordered model of it.",
        )
    if joined:
        text = f"parts of one element at one site are merged to occupancy 1: {_listed(joined)}."
        remarks.append(Remark(Topic.OCCUPANCY, text))
    return whole


def _same_place(first: Site, second: Site) -> bool:
    difference = first.frac_coords - second.frac_coords
    near = bool(np.all(np.abs(difference - np.round(difference)) < SAME_PLACE))
    return near and first.atomic_number == second.atomic_number


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
