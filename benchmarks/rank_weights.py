"""Which weights put the known ground state first? A grid over the final score, on rows of validation compositions.

    lcoms evaluate validation STORE -n 200 --relax --processes 2 --out rows.json
    python benchmarks/rank_weights.py rows.json

The score is the oracle's energy, less weights times the logarithms of the order of the space group and of the count,
plus a weight times the chemical distance of the nearest start. Printed: how many of the rows' compositions come out
right (strict match and space group) first and within five, for the best settings, for energy alone and for the best
that any order could do. With 5-fold cross-validation, so that the gain is not that of the choice itself.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np

from lcoms.refinement import FAR_START
from lcoms.symmetry import space_group_order

SYMMETRY = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02)
COUNT = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)
DISTANCE = (0.0, 0.0005, 0.001, 0.002, 0.004)
FOLDS = 5


def place(rows: list[dict], symmetry: float, count: float, distance: float) -> int:  # type: ignore[type-arg]
    """Rank of the first row that is right, a large number where none is."""

    def score(row: dict) -> float:  # type: ignore[type-arg]
        far = FAR_START if row["start_distance"] is None else min(row["start_distance"], FAR_START)
        bonus = symmetry * np.log(space_group_order(row["space_group"])) + count * np.log(row["count"])
        return float(row["energy"] - bonus + distance * far)

    relaxed = sorted((row for row in rows if row["energy"] is not None), key=score)
    return next((rank for rank, row in enumerate(relaxed, 1) if row["both"]), 10**6)


def main() -> None:
    """Read, try all, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    cases = [case["rows"] for case in json.loads(parser.parse_args().rows.read_text())]
    settings = list(product(SYMMETRY, COUNT, DISTANCE))
    ranks = np.array([[place(rows, *setting) for rows in cases] for setting in settings])
    reachable = (ranks[0] < 10**6).sum()
    value = (ranks == 1).sum(1) + 0.5 * (ranks <= 5).sum(1)
    print(f"{len(cases)} compositions; among the relaxed: {reachable}")
    print(f"energy alone: first {(ranks[0] == 1).sum()}, within five {(ranks[0] <= 5).sum()}")
    for at in np.argsort(-value, kind="stable")[:12]:
        print(f"{settings[at]}: first {(ranks[at] == 1).sum()}, within five {(ranks[at] <= 5).sum()}")
    fold = np.random.default_rng(0).permutation(len(cases)) % FOLDS
    first = 0
    for k in range(FOLDS):
        kept = ranks[:, fold != k]
        best = np.argmax((kept == 1).sum(1) + 0.5 * (kept <= 5).sum(1))
        first += int((ranks[best, fold == k] == 1).sum())
    print(f"cross-validated: first {first}")


if __name__ == "__main__":
    main()
