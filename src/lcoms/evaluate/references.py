"""Known structures to compare with: the 26 compounds of the paper, or a table given by the user."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from lcoms.core.errors import ConfigError, DataError
from lcoms.data.dataset import plausible_volume
from lcoms.data.formats import open_reader
from lcoms.data.records import RowError
from lcoms.data.store import Store
from lcoms.prediction.known import known_of
from lcoms.prediction.scoring import ON_HULL
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.templates.exact import ExactTemplates


@dataclass(frozen=True, eq=False)
class Reference:
    """One known structure.

    Attributes:
        name: formula or material id.
    """

    name: str
    composition: Composition
    crystal: Crystal


def paper_compounds() -> list[Reference]:
    """Return the experimental ground states of the 26 compounds, in primitive cells."""
    return list(_paper_compounds())


@cache
def _paper_compounds() -> tuple[Reference, ...]:
    """Return the compounds; each space group is created only once, which takes most of the time."""
    from pymatgen.core import Lattice, Structure
    from pymatgen.symmetry.groups import SpaceGroup

    table = json.loads(files("lcoms.evaluate").joinpath("compounds.json").read_text())
    groups = {name: SpaceGroup(name) for name in {row["space_group"]: None for row in table["compounds"]}}
    references = []
    for row in table["compounds"]:
        lattice = Lattice.from_parameters(*row["lengths"], *row["angles"])
        orbits = [(element, groups[row["space_group"]].get_orbit(position)) for element, _, position in row["sites"]]
        species = [element for element, orbit in orbits for _ in orbit]
        structure = Structure(lattice, species, [position for _, orbit in orbits for position in orbit])
        crystal = from_pymatgen(structure.get_primitive_structure())
        references.append(Reference(row["formula"], crystal.composition.reduced, crystal))
    return tuple(references)


def references_from_file(path: Path, *, max_atoms: int) -> tuple[list[Reference], int]:
    """Return the structures in a data file with at most this number of atoms, and the number of rows left out.

    If an id occurs again, a number is appended: "mp-1 (2)".

    Raises:
        DataError: no structure is left.
    """
    reader = open_reader(path)
    references, left_out = [], 0
    seen: Counter[str] = Counter()
    for row in reader.rows():
        try:
            record = reader.parse(row)
        except RowError:
            left_out += 1
            continue
        if record.crystal.n_atoms > max_atoms:
            left_out += 1
            continue
        seen[record.material_id] += 1
        name = (
            record.material_id
            if seen[record.material_id] == 1
            else f"{record.material_id} ({seen[record.material_id]})"
        )
        references.append(Reference(name, record.crystal.composition.reduced, record.crystal))
    if not references:
        raise DataError(f"{path} holds no structure of up to {max_atoms} atoms.")
    return references, left_out


def ground_states(
    store: Store, *, max_atoms: int, min_atoms: int = 2, max_hull: float = 0.001, split: str = "val"
) -> list[Reference]:
    """Return the lowest crystal of each composition of a split, if it is on the hull of its data and of allowed size.

    Raises:
        DataError: there is none.
    """
    columns = store.columns("material_id", "formula", "formation_energy_per_atom", "e_above_hull")
    rows = store.select(split=split)
    rows = rows[plausible_volume(store.arrays(rows))]
    best: dict[str, int] = {}
    for row in rows[np.argsort(columns["formation_energy_per_atom"][rows], kind="stable")]:
        best.setdefault(str(columns["formula"][row]), int(row))
    chosen = [
        row
        for row in sorted(best.values())
        if columns["e_above_hull"][row] <= max_hull and min_atoms <= store.n_atoms[row] <= max_atoms
    ]
    if not chosen:
        raise DataError(f"the store has no ground states of split {split!r} with up to {max_atoms} atoms.")
    crystals = [store[row] for row in chosen]
    names = [str(columns["material_id"][row]) for row in chosen]
    return [Reference(name, c.composition.reduced, c) for name, c in zip(names, crystals, strict=True)]


def known_ground_states(templates: ExactTemplates, *, max_atoms: int) -> list[Reference]:
    """Return the lowest known crystal of each composition of the templates, if on its source's hull and small enough.

    Raises:
        DataError: there is none.
    """
    compositions = {templates[row].composition.reduced for row in templates.on_hull()}
    found = []
    for composition in sorted(compositions, key=lambda composition: composition.reduced_formula):
        first, height = known_of(composition, templates)[0]
        if height <= ON_HULL and first.crystal.n_atoms <= max_atoms:
            found.append(Reference(first.id, composition, first.crystal))
    if not found:
        raise DataError(f"the templates hold no ground states of up to {max_atoms} atoms.")
    return found


def among_ids(references: Sequence[Reference], path: Path) -> list[Reference]:
    """Return the references whose names are in a text file, one per line; lines that start with # are comments.

    Raises:
        DataError: the file cannot be read, or names none of them.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    ids = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    found = [one for one in references if one.name in ids]
    if not found:
        raise DataError(f"none of the {len(ids)} IDs of {path} is among the {len(references)} ground states.")
    return found


def named(references: Sequence[Reference], names: Collection[str], group: str) -> list[Reference]:
    """Return the references with these names, in the order given.

    Args:
        group: name of all of them, for the message.

    Raises:
        ConfigError: there is none of a name.
    """
    held = [one.name for one in references]
    if missing := [name for name in names if name not in held]:
        raise ConfigError(f"{group} hold no {missing[0]}; choose from {', '.join(held[:30])}.")
    return [one for one in references if one.name in names]


def sample(references: Sequence[Reference], n: int | None, seed: int) -> list[Reference]:
    """Return a random selection of n references, or all of them, in the order given."""
    if n is None or n >= len(references):
        return list(references)
    chosen = np.sort(np.random.default_rng(seed).choice(len(references), n, replace=False))
    return [references[i] for i in chosen]
