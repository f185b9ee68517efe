"""How much does knowing the space group or the cell help? Ground states of validation compositions.

    python benchmarks/constraints.py STORE --given group -n 200 --out group.jsonl
    python benchmarks/constraints.py STORE --given cell -n 200 --out cell.jsonl
    python benchmarks/constraints.py --tell group.jsonl.gz cell.jsonl.gz

`group` gives the true space group; `cell` gives the true conventional cell, with each length changed by up to 2 % and
each angle that is not fixed by symmetry by up to 1 degree. Templates of the composition itself are excluded.
Compositions that are already in OUT are not predicted again.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import time
from typing import Any

import numpy as np
from validation_rows import add_arguments, measure_all, read_rows

from lcoms.core.errors import LcomsError
from lcoms.evaluate.references import Reference
from lcoms.evaluate.statistics import Share
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.stages import Candidate
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.matching import LOOSE, STRICT, matches
from lcoms.structure.symmetry import conventional, same_space_group, space_group_number

ERROR = 0.02  # relative, of lengths
ANGLE_ERROR = 1.0  # degrees
GIVEN = ("nothing", "group", "cell")
CRITERIA = ("loose", "strict", "both")


def known(reference: Reference, given: str, random: np.random.Generator) -> dict[str, Any]:
    """Return what the user would enter, as fields of the constraints."""
    if given == "group":
        return {"space_groups": [space_group_number(reference.crystal)]}
    if given == "cell":
        return {"cell": erring_cell(reference, random)}
    return {}


def erring_cell(reference: Reference, random: np.random.Generator) -> list[float]:
    """Return lengths and angles of the conventional cell, with errors that its symmetry allows."""
    lengths, angles = parameters_from_lattice(conventional(reference.crystal).lattice)
    equal = np.abs(lengths[:, None] / lengths - 1) < 1e-3
    errors = random.uniform(-ERROR, ERROR, 3)[np.argmax(equal, axis=1)]
    fixed = (np.abs(angles - 90) < 0.05) | (np.abs(angles - 120) < 0.05)
    turns = np.where(fixed, 0.0, random.uniform(-ANGLE_ERROR, ANGLE_ERROR, 3))
    return [*(lengths * (1 + errors)).round(4).tolist(), *(angles + turns).round(3).tolist()]


def ranks(reference: Reference, candidates: tuple[Candidate, ...]) -> dict[str, int | None]:
    """Return the rank of the first candidate that is the reference, by each criterion."""
    group = space_group_number(reference.crystal)
    found: dict[str, int | None] = dict.fromkeys(CRITERIA)
    for rank, candidate in enumerate(candidates, 1):
        strict = matches(candidate.crystal, reference.crystal, STRICT)
        hits = {
            "loose": matches(candidate.crystal, reference.crystal, LOOSE),
            "strict": strict,
            "both": strict and same_space_group(candidate.space_group, group),
        }
        for name, hit in hits.items():
            if hit and found[name] is None:
                found[name] = rank
    return found


def measure(reference: Reference, given: str, predictor: Predictor, seed: int) -> dict[str, Any]:
    """Return the row of one composition."""
    constraints = known(reference, given, np.random.default_rng([seed, *reference.name.encode()]))
    clock, note = time.perf_counter(), ""
    candidates: tuple[Candidate, ...] = ()
    left_out: tuple[str, ...] = ()
    try:
        prediction = predictor.with_options({"constraints": constraints}).predict(reference.composition)
        candidates, left_out = prediction.candidates, prediction.left_out
    except LcomsError as error:
        note = str(error)
    return {
        "name": reference.name,
        "formula": reference.composition.reduced_formula,
        "n_atoms": reference.crystal.n_atoms,
        "space_group": space_group_number(reference.crystal),
        "given": given,
        "constraints": constraints,
        "ranks": ranks(reference, candidates),
        "n_candidates": len(candidates),
        "left_out": left_out,
        "seconds": round(time.perf_counter() - clock, 2),
        "note": note,
    }


def tell(rows: list[dict[str, Any]]) -> None:
    """Print the shares that are first, and among the first ten."""
    if not rows:
        return
    print(f"given {rows[0]['given']}: {len(rows)} compositions", flush=True)
    for criterion in CRITERIA:
        found = [row["ranks"][criterion] for row in rows]
        first = Share(sum(rank == 1 for rank in found), len(rows))
        print(f"  {criterion:7} first {first}   among ten {Share(sum(rank is not None for rank in found), len(rows))}")
    print(f"  without a candidate {sum(not row['n_candidates'] for row in rows)}", end="; ")
    print(f"median {np.median([row['seconds'] for row in rows]):.1f} s", flush=True)


def main() -> None:
    """Predict, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "constraints.jsonl")
    parser.add_argument("--given", choices=GIVEN, default="group")
    asked = parser.parse_args()
    if asked.tell:
        for path in asked.tell:
            tell(read_rows(path))
        return
    if asked.store is None:
        parser.error("name a store, or files of rows with --tell")
    measure_all(asked, lambda one, _, predictor: measure(one, asked.given, predictor, asked.seed), tell)


if __name__ == "__main__":
    main()
