"""How many relaxations are needed? The known structure first against the number of crystals relaxed, by their order.

    python relaxations.py STORE -n 100 --out relaxations.jsonl
    python relaxations.py --tell relaxations.jsonl --cases cases.json    # for lcoms benchmark keep

For each validation composition, the ten best crystals on exact template sites (by their score before relaxation) and
the ten best decoded ones (in the surrogate's order) are relaxed. Then only the first few in one of these orders count:

- energy model: the score before relaxation, from one energy evaluation of each crystal and its prototype probability
- surrogate: the surrogate's energy, latent distance, number of descents and prototype probability
- prototype: the prototype probability alone
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from validation_rows import Row, add_arguments, measure_all, read_rows

from lcoms.evaluate.references import Reference
from lcoms.evaluate.statistics import Share
from lcoms.prediction.choice import scores_unrelaxed
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.stages import Candidate, Decoded, Relaxed
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import same_space_group, space_group_number

COUNTS = (1, 2, 3, 5, 8, 10, 20)
OF_EACH = 10


def is_known(one: Relaxed | Candidate, reference: Reference) -> bool:
    """Return whether a crystal is the known one, as defined in `lcoms evaluate`."""
    own = space_group_number(reference.crystal)
    return same_space_group(one.space_group, own) and matches(one.crystal, reference.crystal, STRICT)


def measure(reference: Reference, _others: Sequence[Reference], predictor: Predictor) -> Row | None:
    """Return, for each order and count, whether the known structure ranks first."""
    spec = predictor.spec.relaxation
    assert spec is not None
    assert predictor.energy_models is not None
    decoded = predictor.decode(reference.composition)
    weights = predictor.bundle.ranking.unrelaxed
    found, _ = scores_unrelaxed(decoded.crystals, predictor.energy_models.first, weights, spec)
    score = {id(one): s for one, s in zip(decoded.crystals, found, strict=True)}
    exact = sorted((one for one in decoded.crystals if one.is_exact), key=lambda one: score[id(one)])[:OF_EACH]
    crystals = [*exact, *[one for one in decoded.crystals if not one.is_exact][:OF_EACH]]
    if not crystals:
        return None
    every = predictor.with_options({"relaxation": {"n_relax": 2 * OF_EACH, "n_least": 2 * OF_EACH}})
    (relaxed,) = every.relax([replace(decoded, crystals=tuple(crystals), direct=(), random_symmetric=())])

    def firsts(order: Sequence[Decoded]) -> list[bool]:
        ranked = [
            predictor.rank([one for one in relaxed.usable if any(one.decoded is d for d in order[:n])]) for n in COUNTS
        ]
        return [bool(some) and is_known(some[0], reference) for some in ranked]

    orders = {
        "energy model": sorted(crystals, key=lambda one: score[id(one)]),
        "surrogate": sorted(crystals, key=lambda one: one.score),
        "prototype": sorted(crystals, key=lambda one: -one.prototype_probability),
    }
    among = [one for one in relaxed.usable if is_known(one, reference)]
    return {
        "name": reference.name,
        "formula": reference.composition.reduced_formula,
        "n_atoms": reference.crystal.n_atoms,
        "n_relaxed": len(relaxed.usable),
        "found": bool(among),
        "found_on_exact_sites": any(one.decoded.is_exact for one in among),
        "first": {name: firsts(order) for name, order in orders.items()},
    }


def tell(rows: list[Row]) -> None:
    """Print the table."""
    n = len(rows)
    found, exact = (sum(row[key] for row in rows) for key in ("found", "found_on_exact_sites"))
    print(f"{n} compositions: known structure among the relaxed in {found}, of these {exact} from exact template sites")
    print("known structure first, for 1 to 20 relaxations:", *COUNTS)
    for name in rows[0]["first"] if rows else ():
        counts = [sum(row["first"][name][at] for row in rows) for at in range(len(COUNTS))]
        print(f"  {name:14}", *counts, f" all: {Share(counts[-1], n)}")


def cases(rows: list[Row]) -> list[Row]:
    """Return one row for each composition and order."""
    return [
        {
            "case": row["formula"],
            "setting": f"order by {name}",
            **{f"first of {n}": f for n, f in zip(COUNTS, first, strict=True)},
        }
        for row in rows
        for name, first in row["first"].items()
    ]


def main() -> None:
    """Measure, or tell what rows show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "relaxations.jsonl")
    parser.add_argument("--cases", type=Path, help="with --tell: write the rows for lcoms benchmark keep")
    asked = parser.parse_args()
    if asked.tell:
        rows = [row for path in asked.tell for row in read_rows(path)]
        tell(rows)
        if asked.cases:
            asked.cases.write_text(json.dumps(cases(rows)))
        return
    if asked.store is None:
        parser.error("name a store, or files of rows with --tell")
    measure_all(asked, measure, tell)


if __name__ == "__main__":
    main()
