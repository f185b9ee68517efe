"""How much does a powder pattern help? Whole predictions of validation compositions with a pattern.

    python benchmarks/pattern_predictions.py STORE -n 200 --out rows.jsonl
    python benchmarks/pattern_predictions.py --tell rows.jsonl --cases cases.json

Patterns are simulated for ground states with the disturbances of `patterns.py`. Crystals of the composition itself are
excluded from the templates. Two questions are answered: is the known structure first, and would the prediction have
reported that no candidate explains the pattern if everything that matches the known structure had been withheld? As in
a prediction, templates chosen by the pattern are then relaxed, too.
Predictions already in OUT are not repeated.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from patterns import RADIATIONS, measurement
from validation_rows import add_arguments, measure_all, read_rows

from lcoms.core.errors import LcomsError
from lcoms.diffraction.fit import PatternFit, PatternFitter
from lcoms.diffraction.posterior import explained_probability, features, log_likelihood
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import measured_pattern
from lcoms.diffraction.weights import load_pattern_weights
from lcoms.evaluate.references import Reference
from lcoms.evaluate.statistics import Share
from lcoms.prediction.by_pattern import pattern_sentence
from lcoms.prediction.decode import nothing_decoded
from lcoms.prediction.found import Found
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.result import Prediction, Task
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import same_space_group, space_group_number

AS_GOOD = 1.05  # times the Rwp of the known crystal, up to which another fits its pattern equally well


def simulated(reference: Reference, others: Sequence[Reference], random: np.random.Generator) -> tuple[Any, ...]:
    """Return a fitter of a simulated pattern of the reference, and the disturbances of the pattern."""
    radiation = read_radiation(RADIATIONS[random.integers(len(RADIATIONS))])
    how = measurement(random, radiation.mean, impure=bool(random.random() < 0.5))
    impurity = others[random.integers(len(others))].crystal
    pattern = measured_pattern(reference.crystal, radiation, how, random, impurity=impurity)
    return PatternFitter(pattern), {"radiation": radiation.name, "impurity": how.impurity, "texture": how.texture}


def row_of(fit: PatternFit, crystal: Crystal, reference: Reference) -> dict[str, Any]:
    """Return the data of a fit that the verdict uses, and whether the crystal is the known one."""
    return {
        "features": [round(value, 5) for value in features(fit)],
        "log_likelihood": round(log_likelihood(fit), 4),
        "explained": round(explained_probability(fit), 4),
        "rwp": round(fit.rwp, 4),
        "n_cell": fit.n_cell,
        "strict": matches(crystal, reference.crystal, STRICT),
    }


def measure(
    reference: Reference, others: Sequence[Reference], predictor: Predictor, seed: int
) -> dict[str, Any] | None:
    """Return the row of one composition; None if an element has no tabulated scattering factors."""
    random = np.random.default_rng([seed, *reference.name.encode()])
    clock, group = time.perf_counter(), space_group_number(reference.crystal)
    try:
        fitter, how = simulated(reference, others, random)
        prediction = predictor.predict(reference.composition, pattern=fitter)
    except LcomsError as error:
        print(f"{reference.composition.formula}: {error}")
        return None
    seconds = time.perf_counter() - clock
    others_alone = withheld(prediction, reference, predictor, fitter)
    return {
        "name": reference.name,
        "formula": reference.composition.reduced_formula,
        "n_atoms": reference.crystal.n_atoms,
        "space_group": group,
        **how,
        "seconds": round(seconds, 2),
        "itself": row_of(fitter.fit(reference.crystal), reference.crystal, reference),
        "rows": rows_of(prediction, reference, group),
        "verdict": pattern_sentence(prediction.candidates),
        "withheld": pattern_sentence(others_alone.candidates),
        "withheld_rows": rows_of(others_alone, reference, group),
    }


def rows_of(prediction: Prediction, reference: Reference, group: int) -> list[dict[str, Any]]:
    """Return the rows of all candidates that were fitted."""
    return [
        {
            "score": round(c.score, 5),
            "space_group": c.space_group,
            "probability": round(c.pattern.probability, 5),
            **row_of(c.pattern.fit, c.crystal, reference),
            "both": matches(c.crystal, reference.crystal, STRICT) and same_space_group(c.space_group, group),
        }
        for c in prediction.candidates
        if c.pattern is not None
    ]


def withheld(prediction: Prediction, reference: Reference, predictor: Predictor, fitter: PatternFitter) -> Prediction:
    """Return the prediction if no candidate, distortion or template had matched the known structure."""

    def other(crystal: Crystal) -> bool:
        return not matches(crystal, reference.crystal, STRICT)

    usable = tuple(c.relaxed for c in prediction.candidates if c.relaxed and c.has_energy and other(c.crystal))
    found = Found(nothing_decoded(prediction.composition), RelaxedSet((), usable))
    made = predictor.finish(found.decoded, found.relaxed, pattern=fitter)
    task = Task(prediction.composition, pattern=fitter)
    return predictor.search_by_pattern(found, made, task, allowed=other)[1]


def place(row: dict[str, Any], criterion: str) -> int | None:
    """Return the rank of the first candidate that is the known structure, from 1; None if none is."""
    return next((rank for rank, one in enumerate(row["rows"], 1) if one[criterion]), None)


def tell(rows: list[dict[str, Any]]) -> None:
    """Print the shares."""
    print(f"{len(rows)} compositions, median {np.median([row['seconds'] for row in rows]):.1f} s")
    for name, chosen in (
        ("all", rows),
        ("pure", [row for row in rows if not row["impurity"]]),
        ("10 % impurity", [row for row in rows if row["impurity"]]),
    ):
        both, strict = ([place(row, criterion) for row in chosen] for criterion in ("both", "strict"))
        first = Share(sum(rank == 1 for rank in both), len(chosen))
        print(f"  {name:14} first {first}, strict match alone {sum(rank == 1 for rank in strict)}, ", end="")
        print(f"among five {sum(rank is not None and rank <= 5 for rank in both)}")
    there, least = [row for row in rows if place(row, "strict") == 1], load_pattern_weights().least
    told = sum(row["rows"][0]["explained"] >= least for row in there)
    print(f"  known structure first: called explained {Share(told, len(there))}")
    said = Counter(kind(row["withheld"]) for row in rows)
    print(f"  known structure withheld: none explains the pattern {Share(said['none'], len(rows))}")
    print(f"    or at least not rank 1: {Share(said['none'] + said['not rank 1'], len(rows))}")
    fair = [row for row in rows if not as_good(row)]
    told = sum(kind(row["withheld"]) == "none" for row in fair)
    print(f"    none explains it, if no other fits within 5 % of the known one: {Share(told, len(fair))}", flush=True)


def as_good(row: dict[str, Any]) -> bool:
    """Return whether a crystal that does not match the known one has nearly its Rwp."""
    return any(one["rwp"] <= AS_GOOD * row["itself"]["rwp"] for one in row["withheld_rows"])


def case(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a composition, flat."""
    return {
        "case": row["formula"],
        "setting": "10 % impurity" if row["impurity"] else "pure",
        "first": place(row, "both") == 1,
        "first, strict match": place(row, "strict") == 1,
        "withheld: none explains": kind(row["withheld"]) == "none",
        "withheld: another fits as well": as_good(row),
        "explained probability": row["rows"][0]["explained"] if row["rows"] else None,
        "withheld: explained probability": max((one["explained"] for one in row["withheld_rows"]), default=None),
        "verdict": kind(row["verdict"]),
        "verdict if withheld": kind(row["withheld"]),
        "atoms": row["n_atoms"],
        "radiation": row["radiation"],
        "seconds": row["seconds"],
    }


NONE = ("No crystal explains", "No probable crystal explains", "There is no crystal")


def kind(verdict: str) -> str:
    """Return what a verdict says about rank 1 and the other candidates."""
    if verdict.startswith("Rank 1 does not explain"):
        return "not rank 1"
    return "none" if verdict.startswith(NONE) else "explained"


def main() -> None:
    """Predict, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "pattern_predictions.jsonl")
    parser.add_argument("--cases", type=Path, help="write flat cases for `lcoms benchmark keep` to this file")
    asked = parser.parse_args()
    if asked.tell:
        for path in asked.tell:
            tell(read_rows(path))
        if asked.cases is not None:
            asked.cases.write_text(json.dumps([case(row) for path in asked.tell for row in read_rows(path)]))
        return
    if asked.store is None:
        parser.error("name a store, or files of rows with --tell")
    measure_all(asked, lambda *what: measure(*what, asked.seed), tell)


if __name__ == "__main__":
    main()
