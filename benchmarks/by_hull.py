"""Results for the ground states of a table and for its other crystals: success rates and stated probabilities.

    lcoms evaluate table FILE.parquet --relax --out rows.json
    python benchmarks/by_hull.py rows.json FILE.parquet --out marked.json

The rows in OUT name the part of the set to which each belongs, for `lcoms benchmark keep`.

A crystal counts as a ground state up to 1 meV/atom above the hull.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lcoms.evaluate.statistics import Share
from lcoms.prediction.calibrate import reliability

ON_HULL = 0.001  # eV/atom


def tell(name: str, outcomes: list[dict]) -> None:  # type: ignore[type-arg]
    """Print how often the correct crystal is found, and how well calibrated the stated probability is."""
    print(f"{name}: {len(outcomes)}")
    for criterion, k in (("loose", 1), ("loose", 20), ("both", 1)):
        found = sum((row["ranks"][criterion] or np.inf) <= k for row in outcomes)
        print(f"  {criterion}@{k:<3} {Share(found, len(outcomes))}")
    stated = [row for row in outcomes if row["probability"] is not None]
    if stated:
        right = np.array([row["ranks"]["both"] == 1 for row in stated])
        bins, error = reliability(np.array([row["probability"] for row in stated]), right)
        print(f"  expected calibration error {error:.3f}; stated: right of n:", end=" ")
        print(", ".join(f"{p:.2f}: {share:.2f} of {n}" for p, share, n in bins))


def main() -> None:
    """Read, split, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    table = pq.read_table(asked.table, columns=["material_id", "e_above_hull"]).to_pydict()
    above = dict(zip(table["material_id"], table["e_above_hull"], strict=True))
    outcomes = [row for row in json.loads(asked.rows.read_text()) if row["name"] in above]
    for row in outcomes:
        row["subset"] = "ground states" if above[row["name"]] <= ON_HULL else "above the hull"
    for subset in ("ground states", "above the hull"):
        tell(subset, [row for row in outcomes if row["subset"] == subset])
    if asked.out is not None:
        asked.out.write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()
