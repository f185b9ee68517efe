"""The first candidates of the paper's 26 compounds against the known ground states, by GPAW single points.

    lcoms evaluate compounds --seeds 1 --relax --out rows.json
    python benchmarks/dft_winners.py rows.json --out dft_winners.json

Both crystals of a compound are evaluated in the same settings, the known one as the literature has it. A positive
difference means that the prediction lies higher. Rows are kept as they come, and a run goes on where it stopped.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from pathlib import Path

import numpy as np

from lcoms.evaluate.references import paper_compounds
from lcoms.oracles.registry import make_oracle
from lcoms.relax.result import crystal_from_dict


def main() -> None:
    """Evaluate what is missing, print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compounds", type=Path)
    parser.add_argument("--oracle", default="gpaw")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    first: dict[str, dict] = {}  # type: ignore[type-arg]
    for outcome in json.loads(args.compounds.read_text()):
        if outcome["first"] is not None:
            first.setdefault(outcome["name"], outcome["first"])
    rows = json.loads(args.out.read_text()) if args.out.exists() else {}
    oracle = make_oracle(args.oracle)
    for reference in paper_compounds():
        if reference.name in rows or reference.name not in first:
            continue
        clock = time.perf_counter()
        crystals = [crystal_from_dict(first[reference.name]), reference.crystal]
        predicted, known = (
            one.energy / crystal.n_atoms if one.ok else None
            for one, crystal in zip(oracle.evaluate(crystals), crystals, strict=True)
        )
        rows[reference.name] = {"predicted": predicted, "known": known, "seconds": time.perf_counter() - clock}
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(reference.name, rows[reference.name], flush=True)
    differences = {
        name: row["predicted"] - row["known"]
        for name, row in rows.items()
        if row["predicted"] is not None and row["known"] is not None
    }
    print(f"{len(differences)} of {len(rows)} pairs; predicted less known, meV/atom:")
    print("  ".join(f"{name} {1000 * d:+.0f}" for name, d in sorted(differences.items(), key=lambda pair: -pair[1])))
    values = np.array(list(differences.values()))
    print(f"within 10 meV/atom: {(np.abs(values) <= 0.01).sum()}; predicted lower or equal: {(values <= 0).sum()}")


if __name__ == "__main__":
    main()
