"""Structures that no training crystal has: families removed from the training data, then predicted from formulas.

    python benchmarks/families.py remove STORE --out kept.parquet
    lcoms data ingest kept.parquet --out kept && lcoms train cdvae kept --out family && \
        lcoms train surrogate kept --cdvae family/cdvae.safetensors --out family
    python benchmarks/families.py predict STORE --weights family [-n 40] [--effort normal] [--out rows.json]

The families are cubic perovskites, rock salts, fluorites and full Heusler compounds (and their anti-structures),
identified by space group and Wyckoff positions. `remove` writes the crystals of a store that belong to none of them.
`predict` takes compositions whose ground state belongs to one, from the formula alone, and prints the fraction that is
correct: space group and strict match. Template methods find none of them, as no crystal has the structure.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lcoms.data.store import Store
from lcoms.evaluate.formulas import evaluate_formulas
from lcoms.evaluate.references import Reference
from lcoms.evaluate.statistics import Share
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.structure.crystal import Crystal
from lcoms.structure.wyckoff import n_primitive_atoms, wyckoff_orbits

FAMILIES = {  # counts of a formula unit, space group, atoms of the primitive cell
    "rock salt": ((1, 1), 225, 2),
    "fluorite": ((1, 2), 225, 3),
    "perovskite": ((1, 1, 3), 221, 5),
    "Heusler": ((1, 1, 2), 225, 4),
}
SYMPRECS = (0.01, 0.1)  # angstrom; a slightly distorted member of a family would be a template of it as well
COLUMNS = ("material_id", "formation_energy_per_atom", "e_above_hull", "split", "source")


def family_of(crystal: Crystal) -> str:
    """Return the name of the family; empty for none."""
    counts = tuple(sorted(crystal.composition.reduced.counts))
    names = [name for name, (wanted, _, _) in FAMILIES.items() if wanted == counts]
    if not names:
        return ""
    for symprec in SYMPRECS:
        found = wyckoff_orbits(crystal, symprec=symprec)
        kind = None if found is None else (found[0], n_primitive_atoms(*found))
        for name in names:
            if FAMILIES[name][1:] == kind:
                return name
    return ""


def remove(options: argparse.Namespace) -> None:
    """Write the crystals that belong to no family."""
    store = Store.open(options.store)
    columns = store.columns(*COLUMNS)
    kept, removed = [], dict.fromkeys(FAMILIES, 0)
    for row in range(len(store)):
        name = family_of(store[row])
        if name in options.families:
            removed[name] += 1
        else:
            kept.append(row)
    crystals = [store[row] for row in kept]
    table = {name: pa.array(np.asarray(columns[name])[kept].tolist(), from_pandas=True) for name in COLUMNS} | {
        "numbers": [c.atomic_numbers.tolist() for c in crystals],
        "frac_coords": [c.frac_coords.ravel().tolist() for c in crystals],
        "lattice": [c.lattice.ravel().tolist() for c in crystals],
    }
    pq.write_table(pa.table(table), options.out)
    print(f"{len(kept)} of {len(store)} crystals kept; removed: {removed}")


def references_of(store: Store, n: int, seed: int) -> dict[str, list[Reference]]:
    """Return compositions of each family whose lowest crystal belongs to it and is on the hull."""
    columns = store.columns("material_id", "formula", "formation_energy_per_atom", "e_above_hull")
    best: dict[str, int] = {}
    for row in np.argsort(columns["formation_energy_per_atom"], kind="stable"):
        best.setdefault(str(columns["formula"][row]), int(row))
    found: dict[str, list[Reference]] = {name: [] for name in FAMILIES}
    for row in np.random.default_rng(seed).permutation(sorted(best.values())):
        if columns["e_above_hull"][row] <= 0.001 and (name := family_of(store[int(row)])) and len(found[name]) < n:
            crystal = store[int(row)]
            found[name].append(Reference(str(columns["material_id"][row]), crystal.composition.reduced, crystal))
        if all(len(some) == n for some in found.values()):
            break
    return found


def predict(options: argparse.Namespace) -> int:
    """Predict and print."""
    asked = Options(effort=options.effort, exclude_same=True, n_candidates=20, relax=True)
    predictor = Predictor.load(options.weights, spec=spec_for(asked))
    library = predictor.bundle.library
    rows = []
    print(f"{'family':<12} {'n':>4}  {'in library':>10}  first, 95 % interval        among 20   s")
    for name, references in references_of(Store.open(options.store), options.n, options.seed).items():
        if name not in options.families:
            continue
        counts, group, n_atoms = FAMILIES[name]
        same = [
            i
            for i in np.flatnonzero(library.space_groups == group)
            if tuple(sorted(library.composition(int(i)).counts)) == counts and sum(counts) == n_atoms
        ]
        clock = time.perf_counter()
        found = evaluate_formulas(references, predictor, processes=options.processes)
        first = sum(one.ranks.both == 1 for one in found)
        among = sum(one.ranks.both is not None and one.ranks.both <= 20 for one in found)
        seconds = (time.perf_counter() - clock) / len(found)
        print(
            f"{name:<12} {len(found):>4}  {len(same):>10}  {Share(first, len(found))!s:<26}  "
            f"{among / len(found):.3f}     {seconds:.1f}",
            flush=True,
        )
        rows += [{"family": name} | asdict(one) for one in found]
    if options.out is not None:
        options.out.write_text(json.dumps(rows) + "\n")
    return 0


def main() -> int:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("remove", "predict"))
    parser.add_argument("store", type=Path)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("-n", type=int, default=40, help="compositions of each family")
    parser.add_argument("--effort", default="normal")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "remove":
        remove(options)
        return 0
    return predict(options)


if __name__ == "__main__":
    sys.exit(main())
