"""How often do starts have the right structure? Validation ground states, by space group, Wyckoff positions and cell.

    lcoms data ingest FILES --keep-split --out STORE
    python benchmarks/coverage.py STORE

Nothing is decoded: what is counted is how many of the known crystals have a library entry with the same structure, and
how many an entry among the starts, whose composition itself is left out.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
from pathlib import Path

import torch

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states
from lcoms.models.weights import Weights, load_weights
from lcoms.prediction.propose import PredictConfig, Start, find_starts, largest_cell, load_library
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.structure.wyckoff import Orbits, n_primitive_atoms
from lcoms.templates.wyckoff_statistics import described, load_orbits

Structure = tuple[int, Orbits]
"""Space group, and which element sits on which Wyckoff position."""


def structure_of(reference: Reference) -> Structure | None:
    """That of the known crystal; None where no symmetry is found."""
    found = described(reference.crystal, symprec=STANDARD_SYMPREC)
    return None if found is None else (found.space_group, found.orbits)


def in_library(reference: Reference, structure: Structure, weights: Weights) -> bool:
    """Whether an entry of another composition has the structure."""
    library, (number, orbits) = load_library(weights.folder), structure
    unit = reference.composition.reduced
    cell = unit.scaled(n_primitive_atoms(number, orbits) // unit.n_atoms)
    place = load_orbits(weights.folder).place(cell, number, orbits)
    near = library.nearest(unit, len(library), exclude=[unit])
    same = (library.space_groups[near.indices] == number) & (library.patterns[near.indices] == place)
    return place >= 0 and bool((same & near.same_counts & (near.n_formula_units == cell.n_formula_units)).any())


def structure_from(start: Start, reference: Reference, weights: Weights) -> Structure | None:
    """That in which a start is decoded."""
    if start.orbits:
        return start.space_group, start.orbits
    cell = reference.composition.reduced.scaled(start.n_formula_units)
    known = load_orbits(weights.folder).orbits(start.space_group, cell)
    return (start.space_group, known[start.pattern][0]) if 0 <= start.pattern < len(known) else None


def place_among_starts(reference: Reference, structure: Structure, weights: Weights, n: int) -> int | None:
    """Place of the structure among the distinct ones of so many starts; None where it is not there."""
    config = PredictConfig(n_starts=n, exclude_same=True)
    starts = find_starts(reference.composition, weights, config, torch.Generator().manual_seed(0))
    distinct = list(dict.fromkeys(structure_from(start, reference, weights) for start in starts))
    return distinct.index(structure) + 1 if structure in distinct else None


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--starts", type=int, nargs="+", default=[30, 60, 120])
    asked = parser.parse_args()
    store, weights = Store.open(asked.store), load_weights()
    for low, high in ((2, weights.max_atoms), (weights.max_atoms + 1, largest_cell(weights))):
        references = ground_states(store, min_atoms=low, max_atoms=high)
        known = [(one, structure) for one in references if (structure := structure_of(one)) is not None]
        print(f"{low} to {high} atoms: {len(references)} ground states of validation compositions")
        print(f"  structure in the library: {sum(in_library(*one, weights) for one in known)}")
        for n in asked.starts:
            places = [place_among_starts(*one, weights, n) for one in known]
            found = [place for place in places if place is not None]
            first, five = (sum(place <= k for place in found) for k in (1, 5))
            print(f"  among {n} starts: {len(found)}, in the first five structures {five}, first {first}")


if __name__ == "__main__":
    main()
