"""Where is the known crystal lost? The first stage without it, for each composition for which it is missed.

    lcoms evaluate validation STORE -n 200 --relax --out rows.json
    python benchmarks/lost.py STORE rows.json [--max-atoms 80] [--all]

Stages, in order: the energy model (the known crystal becomes another one when relaxed), the library (no crystal of
another composition has its structure), pairing (one has it, but with elements of equal counts exchanged), choice (none
of those with the structure is used), decoding, and relaxation.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import torch

from lcoms.data.store import Store
from lcoms.evaluate.fitting import read_outcomes
from lcoms.evaluate.references import Reference, ground_states
from lcoms.oracles.registry import DEFAULT_ORACLE
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.exact_templates import on_exact_sites
from lcoms.prediction.known import direct_crystals
from lcoms.prediction.propose import cell_sizes, find_proposals
from lcoms.prediction.spec import PredictionSpec
from lcoms.relax.result import RelaxConfig
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import NEAR_LADDER, same_space_group, space_group_number, symmetrise
from lcoms.templates.exact import Template
from lcoms.templates.placing import substitute

MOST_COMPARED = 200  # entries with the composition's stoichiometry, space group and cell size


@dataclass(frozen=True)
class Traces:
    """Stages that contain the known crystal.

    Attributes:
        kept: whether it remains the same crystal when relaxed with the energy model.
        entries: ids of library entries with its structure.
        exchanged: ids of those that have it with elements of equal counts exchanged.
        chosen: ids of the entries from which descents start, or that are used without decoding.
    """

    kept: bool
    entries: tuple[str, ...]
    exchanged: tuple[str, ...]
    chosen: tuple[str, ...]


def same(crystal: Crystal, group: int, reference: Reference, own: int) -> bool:
    """Return whether a crystal is the known one, as defined in `lcoms evaluate`."""
    return same_space_group(group, own) and matches(crystal, reference.crystal, STRICT)


def pairings(composition: Composition) -> Iterator[dict[int, int]]:
    """Yield all ways to exchange elements of equal counts, the identity first."""
    elements, counts = composition.reduced.atomic_numbers, composition.reduced.counts
    alike = [[z for z, n in zip(elements, counts, strict=True) if n == count] for count in sorted(set(counts))]
    for orders in product(*(permutations(some) for some in alike)):
        yield {z: to for some, order in zip(alike, orders, strict=True) for z, to in zip(some, order, strict=True)}


def entries_with(reference: Reference, bundle: WeightBundle) -> tuple[list[Template], list[Template]]:
    """Return library entries of other compositions with the known structure, and those with other pairings."""
    templates = bundle.templates
    assert templates is not None
    unit = reference.composition.reduced
    own, n = space_group_number(reference.crystal), symmetrise(reference.crystal, ladder=NEAR_LADDER).crystal.n_atoms
    rows = templates.rows(unit.stoichiometry)
    fitting = [rows[at] for at in range(len(rows)) if templates.n_atoms(rows)[at] == n]
    alike = [
        one
        for one in map(templates.__getitem__, fitting)
        if same_space_group(one.sites.space_group, own) and one.composition.reduced != unit
    ][:MOST_COMPARED]
    found: tuple[list[Template], list[Template]] = ([], [])
    for one in alike:
        crystal = substitute(unit, one, templates.element_volumes)
        for at, to in enumerate(pairings(unit)):
            numbers = [to[int(z)] for z in crystal.atomic_numbers]
            paired = Crystal(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers * 0 + numbers)
            if matches(paired, reference.crystal, STRICT):
                found[min(at, 1)].append(one)
                break
    return found


def chosen_ids(reference: Reference, bundle: WeightBundle, spec: PredictionSpec) -> set[str]:
    """Return the ids of all entries that are used in a prediction."""
    sizes = cell_sizes(reference.composition, bundle, spec.search)
    largest = max(sizes.high, sizes.low - 1) * reference.composition.reduced.n_atoms
    proposals = find_proposals(reference.composition, bundle, spec, torch.Generator().manual_seed(0))
    direct = direct_crystals(reference.composition, bundle, spec, largest)
    exact = on_exact_sites(reference.composition, direct.likely, bundle, spec.search.direct)
    taken = {one.proposal.source for one in (*exact, *direct.crystals)}
    return taken | {one.source for one in proposals}


def traces_of(reference: Reference, bundle: WeightBundle, spec: PredictionSpec) -> Traces:
    """Return the stages that contain the known crystal."""
    own = space_group_number(reference.crystal)
    [result] = relax_crystals([reference.crystal], DEFAULT_ORACLE, RelaxConfig(), processes=1)
    after = symmetrise(result.crystal, ladder=NEAR_LADDER)
    entries, exchanged = entries_with(reference, bundle)
    chosen = chosen_ids(reference, bundle, spec)
    return Traces(
        same(after.crystal, after.space_group, reference, own),
        tuple(one.id for one in entries),
        tuple(one.id for one in exchanged),
        tuple(one.id for one in entries if one.id in chosen),
    )


def lost_at(row: dict, traces: Traces) -> str:
    """Return the first stage without the known crystal."""
    if row["decoded"]["both"]:
        return "relaxation" if traces.kept else "energy model"
    if not traces.kept:
        return "energy model"
    if not traces.entries:
        return "pairing" if traces.exchanged else "library"
    return "decoding" if traces.chosen else "choice"


def line(row: dict, traces: Traces) -> str:
    """Return a line on one miss."""
    first = (*traces.chosen, *traces.entries, *traces.exchanged, "-")[0]
    kept, decoded = "yes" if traces.kept else "no", row["decoded"]["both"] or "-"
    n = f"{len(traces.entries):8d} {len(traces.exchanged):10d} {len(traces.chosen):7d}"
    named = f"{row['formula']:14s} {row['n_atoms']:5d} {row['space_group']:5d}"
    return f"{named}  {kept:4s} {n} {decoded:>8} {first:>15s}  "


def main() -> None:
    """Analyse each miss and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--max-atoms", type=int, default=80)
    parser.add_argument("--all", action="store_true", help="those in the wrong place of the order, too")
    asked = parser.parse_args()
    bundle, spec = WeightBundle.load(), PredictionSpec().with_options({"search": {"exclude_same": True}})
    known = {one.name: one for one in ground_states(Store.open(asked.store), max_atoms=asked.max_atoms)}
    counts: Counter[str] = Counter()
    print("formula        atoms group  kept  entries  exchanged  chosen  decoded  first of these   lost at")
    for row in read_outcomes(asked.rows):
        if row["ranks"]["both"]:
            counts["right" if row["ranks"]["both"] == 1 else "order"] += 1
            if row["ranks"]["both"] == 1 or not asked.all:
                continue
        traces = traces_of(known[row["name"]], bundle, spec)
        stage = "order" if row["ranks"]["both"] else lost_at(row, traces)
        counts[stage] += not row["ranks"]["both"]
        print(line(row, traces), stage, flush=True)
    print(", ".join(f"{stage} {n}" for stage, n in counts.most_common()))


if __name__ == "__main__":
    sys.exit(main())
