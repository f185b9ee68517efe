"""The paper's criterion with the paper's simulator: answers as given, evaluated by GPAW single points.

    python benchmarks/dft_answers.py benchmarks/results/comparison.jsonl.gz --out dft_answers.jsonl

For each compound and each latent method, with our settings and with those of the paper, the answer of the median seed
is evaluated: seeds are ordered by the judge's energy, failures last. The known crystal is relaxed by the judge of the
rows, and all are evaluated with the same settings as primitive cells. Equal crystals are evaluated once. Compounds that
are already in the output are not run again.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from dft_winners import CLOSE, is_same, primitive

from lcoms.benchmark.figures_descent import energy_of
from lcoms.benchmark.protocol import PAPER_GROUP, BenchmarkConfig, Judge
from lcoms.benchmark.rows import Judged, Row, read_rows
from lcoms.evaluate.references import Reference, paper_compounds
from lcoms.evaluate.statistics import Share
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Crystal, crystal_from_dict

METHODS = tuple(f"{name}{label}" for label in ("", " (paper)") for name in ("start", "cdvae", "lcoms", "sl"))
CRITERIA = {"within 20 %": 0.2, "within 5 %": 0.05, f"within {1000 * CLOSE:g} meV/atom": 0.0}
"""Shares of the energy of the known crystal, as in the paper; 0 for the absolute criterion."""


def medians(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Return the row of the median seed by compound and method."""
    seeds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if (row.group, row.track) == (PAPER_GROUP, "paper") and row.method in METHODS:
            seeds[row.compound, row.method].append(row)
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for (compound, method), some in seeds.items():
        some.sort(key=lambda row: (energy_of(row.answer) is None, energy_of(row.answer) or 0.0, row.seed))
        found[compound][method] = some[len(some) // 2]
    return found


def evaluate(
    reference: Reference, chosen: Mapping[str, Row], judge: Judge, oracle: EnergyOracle
) -> list[dict[str, Any]]:
    """Return a case for each method, with energies by GPAW in eV/atom; None for an answer that has none."""
    known = single_point(primitive(judge.relax(reference.crystal).crystal), oracle)
    seen: list[tuple[Judged, float | None]] = []
    cases = []
    for method, row in sorted(chosen.items(), key=lambda pair: METHODS.index(pair[0])):
        clock, energy, answer = time.perf_counter(), None, row.answer
        if answer is not None and energy_of(answer) is not None:
            same = [one for other, one in seen if is_same(other, answer)]
            energy = same[0] if same else single_point(primitive(crystal_from_dict(answer.crystal)), oracle)
            seen.append((answer, energy))
        spent = round(time.perf_counter() - clock, 1)
        cases.append(case_of(reference.name, method, row, energy, known) | {"seconds": spent})
    return cases


def case_of(name: str, method: str, row: Row, energy: float | None, known: float | None) -> dict[str, Any]:
    """Return a case; without an energy an answer meets no criterion, and without the known energy there are none."""
    case = {"case": name, "setting": method, "seed": row.seed, "energy": energy, "known": known}
    if known is None:
        return case
    above = inf if energy is None else energy - known
    criteria = {one: above <= (share * abs(known) if share else CLOSE) for one, share in CRITERIA.items()}
    found = row.answer is not None and row.answer.strict and row.answer.same_group
    return case | criteria | {"known structure": found, "above known": None if energy is None else above}


def single_point(crystal: Crystal, oracle: EnergyOracle) -> float | None:
    """Return the energy of a crystal, eV/atom."""
    found = oracle.evaluate([crystal])[0]
    return found.energy / crystal.n_atoms if found.ok else None


def report(cases: Sequence[Mapping[str, Any]]) -> None:
    """Print for each method how many compounds meet the criteria."""
    print(f"{'answer of the median seed, by GPAW':<36}" + "".join(f"{name:<28}" for name in CRITERIA))
    for method in METHODS:
        mine = [case for case in cases if case["setting"] == method and case["known"] is not None]
        if mine:
            shares = [Share(sum(case[name] for case in mine), len(mine)) for name in CRITERIA]
            print(f"{method:<36}" + "".join(f"{f'{one.successes}/{one.trials} {one}':<28}" for one in shares))


def main() -> None:
    """Evaluate missing compounds and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--oracle", default="gpaw")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    chosen = medians(read_rows(args.rows))
    cases = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done, plain = {case["case"] for case in cases}, BenchmarkConfig()
    oracle, judge = make_oracle(args.oracle), Judge(plain.judge, plain.relax)
    for reference in paper_compounds():
        if reference.name in done or reference.name not in chosen:
            continue
        new = evaluate(reference, chosen[reference.name], judge, oracle)
        cases += new
        with args.out.open("a") as file:
            file.write("".join(json.dumps(case) + "\n" for case in new))
        print(reference.name, {case["setting"]: case["energy"] for case in new}, flush=True)
    report(cases)


if __name__ == "__main__":
    main()
