"""How much of the gap between the nearest template and the best of twenty candidates does the ranking close?

    lcoms evaluate validation STORE --relax --out rows.json
    python benchmarks/gap.py rows.json [more.json ...]

Of the same relaxed candidates, the first by each of these orders is compared with the known structure (strict match and
space group): the chemically nearest template, the most frequent prototype, and the ranking. A composition in several
files counts once.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from lcoms.evaluate.statistics import Share

AMONG = 20
Row = Mapping[str, Any]
ORDERS: Mapping[str, Callable[[Row], float]] = {
    "nearest template": lambda row: inf if row["template_distance"] is None else row["template_distance"],
    "most frequent prototype": lambda row: -row["prototype_probability"],
}


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+")
    outcomes = {one["name"]: one for path in parser.parse_args().rows for one in json.loads(path.read_text())}
    n = len(outcomes)
    among = sum(any(row["both"] for row in one["rows"][:AMONG]) for one in outcomes.values())
    first = sum(one["ranks"]["both"] == 1 for one in outcomes.values())
    print(f"ranking: {Share(first, n)}; among {AMONG}: {Share(among, n)}")
    for name, order in ORDERS.items():
        right = sum(min(one["rows"], key=order)["both"] for one in outcomes.values() if one["rows"])
        print(f"{name}: {Share(right, n)}; the ranking closes {(first - right) / (among - right):.2f} of the gap")


if __name__ == "__main__":
    main()
