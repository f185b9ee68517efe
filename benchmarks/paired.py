"""Do methods of `lcoms benchmark run` reach lower energies than others? Paired differences over compounds and seeds.

    lcoms benchmark run --track paper --table VALIDATION.parquet -n 200 --seeds 1 --methods start,cdvae,lcoms --out runs
    python benchmarks/paired.py runs/rows.jsonl --against start cdvae
    python benchmarks/paired.py runs/rows.jsonl --against start cdvae --cases cases.json  # for lcoms benchmark keep

For each method and each method of --against: the number of runs in which both have a relaxed crystal, in how many the
first is more than 1 meV/atom lower and higher, the mean and median difference of the relaxed energies (eV/atom), and
the p-value of Wilcoxon's signed-rank test.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

EQUAL = 1e-3  # eV/atom
Energies = dict[tuple[str, int], float]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--against", nargs="+", required=True, help="methods to compare with")
    parser.add_argument("--cases", type=Path, help="write one row for each run, for lcoms benchmark keep")
    asked = parser.parse_args()
    rows = [json.loads(line) for line in asked.rows.read_text().splitlines()]
    methods = {row["method"]: relaxed_energies(rows, row["method"]) for row in rows}
    for name in asked.against:
        if name not in methods:
            parser.error(f"there is no method {name!r}; the rows have {', '.join(methods)}")
    for name, energies in methods.items():
        for other in (one for one in asked.against if one != name):
            print(compared(name, energies, other, methods[other]))
    if asked.cases:
        asked.cases.write_text(json.dumps([case(row) for row in rows]))


def relaxed_energies(rows: list[dict[str, Any]], method: str) -> Energies:
    """Return the energies (eV/atom) of a method's relaxed answers, by compound and seed."""
    done = [row for row in rows if row["method"] == method and row["relaxed"]]
    done = [row for row in done if row["relaxed"]["energy"] is not None]  # None: the relaxation failed
    return {(row["compound"], row["seed"]): row["relaxed"]["energy"] for row in done}


def compared(name: str, energies: Energies, other: str, others: Energies) -> str:
    """Return a line on the differences of two methods."""
    both = sorted(energies.keys() & others.keys())
    if not both:
        return f"{name:22} - {other:22} no run in common"
    differences = np.array([energies[key] - others[key] for key in both])
    lower, higher = int((differences < -EQUAL).sum()), int((differences > EQUAL).sum())
    p = wilcoxon(differences).pvalue if np.any(differences) else 1.0
    return (
        f"{name:22} - {other:22} n {len(both):4}  lower {lower:4}  higher {higher:4}  "
        f"mean {differences.mean():+.4f}  median {np.median(differences):+.4f}  p {p:.2g}"
    )


def case(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one run, flat."""
    known, answer, relaxed = (row[key] and row[key]["energy"] for key in ("known", "answer", "relaxed"))
    return {
        "case": row["formula"],
        "setting": row["method"],
        "answered": answer is not None,
        "relaxed: lowest or within 20 meV/atom": relaxed is not None and relaxed - known < 0.02,
        "as answered, eV/atom above known": None if answer is None else round(answer - known, 4),
        "relaxed, eV/atom above known": None if relaxed is None else round(relaxed - known, 4),
        "relaxed: known structure": bool(row["relaxed"] and row["relaxed"]["strict"] and row["relaxed"]["same_group"]),
    }


if __name__ == "__main__":
    main()
