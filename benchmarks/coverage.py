"""How often do proposals have the correct structure? Known ground states, by space group, Wyckoff positions and cell.

    lcoms data ingest FILES --keep-split --out STORE
    python benchmarks/coverage.py STORE

Nothing is decoded: the benchmark counts how many of the known crystals have a library entry with the same structure,
and how many have one among the proposals. Entries of the composition itself are excluded.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
from pathlib import Path

import torch

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.propose import find_proposals
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.prediction.stages import Proposal
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.structure.wyckoff import Orbits, n_primitive_atoms
from lcoms.templates.wyckoff_statistics import described

Structure = tuple[int, Orbits]
"""Space group, and Wyckoff positions with their elements."""


def structure_of(reference: Reference) -> Structure | None:
    """Return the structure of the known crystal; None if no symmetry is found."""
    found = described(reference.crystal, symprec=STANDARD_SYMPREC)
    return None if found is None else (found.space_group, found.orbits)


def in_library(reference: Reference, structure: Structure, weights: WeightBundle) -> bool:
    """Return whether an entry of another composition has the structure."""
    library, (number, orbits) = weights.library, structure
    unit = reference.composition.reduced
    cell = unit.scaled(n_primitive_atoms(number, orbits) // unit.n_atoms)
    place = weights.wyckoff.place(cell, number, orbits)
    near = library.nearest(unit, len(library), exclude=[unit])
    same = (library.space_groups[near.indices] == number) & (library.wyckoff_sequences[near.indices] == place)
    return place >= 0 and bool((same & near.same_counts & (near.n_formula_units == cell.n_formula_units)).any())


def structure_from(proposal: Proposal, reference: Reference, weights: WeightBundle) -> Structure | None:
    """Return the structure in which a proposal is decoded."""
    if proposal.orbits:
        return proposal.space_group, proposal.orbits
    cell = reference.composition.reduced.scaled(proposal.n_formula_units)
    known, place = weights.wyckoff.orbits(proposal.space_group, cell), proposal.wyckoff_sequence
    return (proposal.space_group, known[place][0]) if 0 <= place < len(known) else None


def place_among_proposals(reference: Reference, structure: Structure, weights: WeightBundle, n: int) -> int | None:
    """Return the rank of the structure among the distinct ones of n proposals; None if it is not there."""
    spec = PredictionSpec(search=SearchSpec(n_starts=n, exclude_same=True))
    proposals = find_proposals(reference.composition, weights, spec, torch.Generator().manual_seed(0))
    distinct = list(dict.fromkeys(structure_from(proposal, reference, weights) for proposal in proposals))
    return distinct.index(structure) + 1 if structure in distinct else None


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--starts", type=int, nargs="+", default=[30, 60, 120])
    asked = parser.parse_args()
    store, weights = Store.open(asked.store), WeightBundle.load()
    for low, high in ((2, weights.max_atoms), (weights.max_atoms + 1, weights.largest_cell)):
        references = ground_states(store, min_atoms=low, max_atoms=high)
        known = [(one, structure) for one in references if (structure := structure_of(one)) is not None]
        print(f"{low} to {high} atoms: {len(references)} ground states of validation compositions")
        print(f"  structure in the library: {sum(in_library(*one, weights) for one in known)}")
        for n in asked.starts:
            places = [place_among_proposals(*one, weights, n) for one in known]
            found = [place for place in places if place is not None]
            first, five = (sum(place <= k for place in found) for k in (1, 5))
            print(f"  among {n} starts: {len(found)}, in the first five structures {five}, first {first}")


if __name__ == "__main__":
    main()
