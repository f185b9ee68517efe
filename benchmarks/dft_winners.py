"""Each method's winner for the paper's 26 compounds compared with the known crystal, by GPAW single points.

    python benchmarks/dft_winners.py benchmarks/results/comparison.jsonl.gz --out benchmarks/results/dft_winners.json

A winner is the crystal, relaxed by the judge of the rows, with the lowest energy over all seeds of a method in a track.
The known crystal is relaxed by the same judge, and all are evaluated with the same settings, as primitive cells.
Winners with the same structure and energy are evaluated once. A positive difference means that the winner lies higher.
Compounds that are already in the output are not run again.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from lcoms.benchmark.protocol import BenchmarkConfig, Judge
from lcoms.benchmark.rows import Judged, read_rows
from lcoms.evaluate.references import Reference, paper_compounds
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Crystal, crystal_from_dict
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import NEAR_LADDER, symmetrise

SAME_ENERGY = 0.001  # eV/atom, by the judge
CLOSE = 0.010  # eV/atom, by GPAW

Winners = dict[str, dict[str, Judged]]


def main() -> None:
    """Evaluate missing compounds and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--oracle", default="gpaw")
    parser.add_argument("--limit", type=float, default=60.0, help="no winner that would take more seconds")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    winners = find_winners(args.rows)
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    oracle, plain = make_oracle(args.oracle), BenchmarkConfig()
    judge = Judge(plain.judge, plain.relax)
    for reference in paper_compounds():
        if reference.name in kept or reference.name not in winners:
            continue
        relaxed = judge.relax(reference.crystal).crystal
        crystals = [primitive(relaxed)]
        own: dict[str, int] = {}
        seen: list[tuple[Judged, int]] = []
        for method, judged in sorted(winners[reference.name].items()):
            crystal = primitive(crystal_from_dict(judged.crystal))
            same = [i for one, i in seen if is_same(one, judged)]
            if not same:
                crystals.append(crystal)
                same = [len(crystals) - 1]
                seen.append((judged, same[0]))
            own[method] = same[0]
        kept[reference.name] = evaluate(reference, crystals, own, oracle, args.limit)
        args.out.write_text(json.dumps(kept, indent=1) + "\n")
        print(reference.name, json.dumps(kept[reference.name]), flush=True)
    tell(kept)


def find_winners(paths: list[Path]) -> Winners:
    """Return the winner of each compound and each method, named `track method`."""
    found: Winners = defaultdict(dict)
    for row in read_rows(paths):
        if row.group != "26 compounds" or " " in row.method or row.relaxed is None or row.relaxed.compared is None:
            continue
        name = f"{row.track} {row.method}"
        best = found[row.compound].get(name)
        if best is None or row.relaxed.compared < (best.compared or 0.0):
            found[row.compound][name] = row.relaxed
    return found


def primitive(crystal: Crystal) -> Crystal:
    """Return the primitive cell: larger cells have other k points, which changes energies by several meV/atom."""
    return symmetrise(crystal, ladder=NEAR_LADDER).crystal


def is_same(first: Judged, second: Judged) -> bool:
    """Return whether two winners have the same structure and energy."""
    gap = abs((first.compared or 0.0) - (second.compared or 0.0))
    return gap < SAME_ENERGY and matches(crystal_from_dict(first.crystal), crystal_from_dict(second.crystal), STRICT)


def evaluate(
    reference: Reference, crystals: list[Crystal], own: dict[str, int], oracle: EnergyOracle, limit: float
) -> dict[str, Any]:
    """Return energies in eV/atom, the known crystal first; None for those that fail or would take too long."""
    energies: list[float | None] = []
    spent: list[float] = []
    for crystal in crystals:
        growth = (crystal.n_atoms / crystals[0].n_atoms) ** 2
        if energies and spent[0] * growth > limit:
            energies.append(None)
            spent.append(0.0)
            continue
        clock = time.perf_counter()
        found = oracle.evaluate([crystal])[0]
        energies.append(found.energy / crystal.n_atoms if found.ok else None)
        spent.append(round(time.perf_counter() - clock, 1))
    strict = [matches(crystal, reference.crystal, STRICT) for crystal in crystals]
    return {
        "energies": energies,
        "n_atoms": [crystal.n_atoms for crystal in crystals],
        "strict": strict,
        "seconds": spent,
        "winners": own,
    }


def tell(kept: dict[str, Any]) -> None:
    """Print by method how many winners lie below, near and above the known crystal."""
    print(f"\n{'winner less known crystal, by GPAW':<36} evaluated  below -10 meV  within 10 meV  above 10 meV")
    for method in sorted({name for row in kept.values() for name in row["winners"]}):
        gaps = []
        for row in kept.values():
            i = row["winners"].get(method)
            known, energy = row["energies"][0], None if i is None else row["energies"][i]
            if known is not None and energy is not None:
                gaps.append(energy - known)
        lower, higher = sum(gap < -CLOSE for gap in gaps), sum(gap > CLOSE for gap in gaps)
        print(f"{method:<36} {len(gaps):>9} {lower:>14} {len(gaps) - lower - higher:>14} {higher:>13}")
    for name, row in kept.items():
        known = row["energies"][0]
        told = [
            f"{1000 * (energy - known):+.0f} ({'known' if strict else 'other'} structure)"
            for energy, strict in zip(row["energies"][1:], row["strict"][1:], strict=True)
            if energy is not None and known is not None
        ]
        print(f"{name:<6} meV/atom: {'  '.join(told)}")


if __name__ == "__main__":
    main()
