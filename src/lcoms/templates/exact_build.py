"""Packing of known crystals into the columns of `lcoms.templates.exact`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import DataError
from lcoms.structure.crystal import Composition
from lcoms.structure.exact_sites import ExactSites
from lcoms.structure.wyckoff import Orbits, n_primitive_atoms, wyckoff_positions
from lcoms.templates.exact import ExactTemplates, Template
from lcoms.templates.exact_codes import (
    CELL_LEVELS,
    COORD_LEVELS,
    ENERGY_LEVELS,
    LONGEST,
    SHORTEST,
    UNKNOWN,
    encoded_cell,
)
from lcoms.templates.stoichiometry import elements_in_order

Prototype = tuple[tuple[int, ...], int, tuple[tuple[str, int], ...]]
"""Stoichiometry, space group, and for each orbit the letter and the place of its element."""


class KnownCrystal(NamedTuple):
    """The packed properties of a crystal.

    Attributes:
        sites: from `exact_sites`, with elements in the order of their places.
        structure: `structure_id` of the crystal.
        e_above_hull, formation_energy: eV/atom, NaN where unknown.
    """

    id: str
    sites: ExactSites
    structure: int
    e_above_hull: float
    formation_energy: float


def build_templates(
    crystals: Iterable[KnownCrystal],
    element_volumes: NDArray[np.floating],
    *,
    metadata: Mapping[str, Any] | None = None,
) -> ExactTemplates:
    """Pack crystals.

    Args:
        element_volumes: (104,) cubic angstrom by atomic number.

    Raises:
        DataError: there is nothing to pack, an id has a line feed, or a cell length is out of range.
    """
    known = [(_composition(one.sites), one) for one in crystals]
    if not known:
        raise DataError("a library of templates needs at least one crystal.")
    keyed = [(_prototype(composition, one.sites), composition, one) for composition, one in known]
    keyed.sort(key=lambda row: (len(row[0][0]), row[0], elements_in_order(row[1]), row[2].id))
    for _, _, one in keyed:
        _require_packable(one)
    prototypes: dict[Prototype, int] = {}
    for prototype, _, _ in keyed:
        prototypes[prototype] = prototypes.get(prototype, 0) + 1
    stoichiometries: dict[tuple[int, ...], int] = {}
    for stoichiometry, _, _ in prototypes:
        stoichiometries[stoichiometry] = stoichiometries.get(stoichiometry, 0) + 1
    entries = [one for *_, one in keyed]
    lines = "".join(" ".join(map(str, stoichiometry)) + "\n" for stoichiometry in stoichiometries)
    return ExactTemplates(
        {
            "stoichiometries": _text(lines),
            "n_prototypes": np.array(list(stoichiometries.values()), dtype=np.int32),
            **_prototype_columns(prototypes),
            "elements": np.array([z for _, cell, _ in keyed for z in elements_in_order(cell)], dtype=np.uint8),
            "structures": np.array([one.structure for one in entries], dtype=np.int32),
            "hull": _energies([one.e_above_hull for one in entries]),
            "energies": _energies([one.formation_energy for one in entries]),
            **_planes("coords", [np.round(one.sites.coords * COORD_LEVELS) % COORD_LEVELS for one in entries]),
            **_planes("cells", [encoded_cell(s.space_group, s.lengths, s.angles) for s in (e.sites for e in entries)]),
            "id_bytes": _text("".join(one.id + "\n" for one in entries)),
            "element_volumes": np.asarray(element_volumes, dtype=np.float32),
        },
        dict(metadata or {}),
    )


def structure_id(composition: Composition, number: int, orbits: Orbits) -> int:
    """Return a 31-bit number for a structure, from stoichiometry, space group and orbits but not the elements."""
    places = {z: place for place, z in enumerate(elements_in_order(composition))}
    words = " ".join(f"{letter}{place}" for letter, place in sorted((letter, places[z]) for letter, z in orbits))
    text = f"{composition.stoichiometry} {number} {words}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def as_known(template: Template) -> KnownCrystal:
    """Return an entry of a library in the form in which it can be packed again."""
    return KnownCrystal(
        template.id, template.sites, template.structure, template.e_above_hull, template.formation_energy
    )


def _prototype_columns(prototypes: Mapping[Prototype, int]) -> dict[str, NDArray[Any]]:
    orbits = [orbits for _, _, orbits in prototypes]
    n_free = [sum(wyckoff_positions(number)[letter].n_free for letter, _ in some) for _, number, some in prototypes]
    return {
        "groups": np.array([number for _, number, _ in prototypes], dtype=np.uint8),
        "n_orbits": np.array([len(some) for some in orbits], dtype=np.int16),
        "n_free": np.array(n_free, dtype=np.int16),
        "n_atoms": np.array([n_primitive_atoms(number, some) for _, number, some in prototypes], dtype=np.int16),
        "n_entries": np.array(list(prototypes.values()), dtype=np.int32),
        "letters": _text("".join(letter for some in orbits for letter, _ in some)),
        "places": np.array([place for some in orbits for _, place in some], dtype=np.uint8),
    }


def can_be_packed(sites: ExactSites) -> bool:
    """Return whether the lengths of the conventional cell are in the range that has codes."""
    return bool(SHORTEST <= sites.lengths.min() <= sites.lengths.max() <= LONGEST)


def _require_packable(one: KnownCrystal) -> None:
    if "\n" in one.id:
        raise DataError("ids of a library must not hold line feeds.")
    if not can_be_packed(one.sites):
        raise DataError(f"{one.id}: lengths of a cell must lie between {SHORTEST:g} and {LONGEST:g} angstrom.")


def _composition(sites: ExactSites) -> Composition:
    """Return the composition of the primitive cell."""
    counts: dict[int, int] = {}
    for orbit in sites.orbits:
        counts[orbit[1]] = counts.get(orbit[1], 0) + n_primitive_atoms(sites.space_group, (orbit,))
    return Composition.from_counts(counts)


def _prototype(composition: Composition, sites: ExactSites) -> Prototype:
    places = {z: place for place, z in enumerate(elements_in_order(composition))}
    orbits = tuple((letter, places[z]) for letter, z in sites.orbits)
    return composition.stoichiometry, sites.space_group, orbits


def _energies(values: list[float]) -> NDArray[np.int32]:
    energies = np.array(values, dtype=np.float64)
    known = np.isfinite(energies)
    codes = np.round(np.where(known, energies, 0.0) * ENERGY_LEVELS)
    return np.where(known, codes, UNKNOWN).astype(np.int32)


def _planes(name: str, codes: list[NDArray[Any]]) -> dict[str, NDArray[np.uint8]]:
    """Return high and low bytes separately: high bytes are similar and deflate well."""
    whole = np.concatenate(codes).astype(np.int64) if codes else np.zeros(0, dtype=np.int64)
    if len(whole) and not 0 <= whole.min() <= whole.max() < CELL_LEVELS:
        raise DataError("codes of templates must fit into two bytes.")
    return {f"{name}_high": (whole // 256).astype(np.uint8), f"{name}_low": (whole % 256).astype(np.uint8)}


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()
