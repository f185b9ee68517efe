"""Comparison of lcoms with CrySPY's random search: same compounds, oracle, number of relaxations and judge.

    pip install csp-cryspy
    python benchmarks/peer.py --out peer.json

lcoms is given only the formula; its starts exclude the compound's own crystals. CrySPY (Yamashita et al. 2021), in its
interactive mode, makes crystals of random space groups with pyxtal and relaxes them with ASE. `cryspy` is given the
number of formula units in the known primitive cell, which lcoms is not; `cryspy-4` is always given four.

A compound is found if the first crystal is the known ground state: the lowest energy of CrySPY, the first rank of
lcoms. Only the strict matcher decides: a relaxation that ends slightly before the minimum may have another space group,
and lcoms symmetrises its crystals while CrySPY does not. Rows are stored as they are obtained, and a run with the same
file is resumed where an earlier one stopped.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

from lcoms.evaluate.references import Reference, paper_compounds
from lcoms.evaluate.statistics import Share
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import from_ase, from_pymatgen
from lcoms.structure.matching import STRICT, matches

METHODS = ("lcoms", "cryspy", "cryspy-4")
UNTOLD_UNITS = 4
CRYSPY_SYMPREC = 0.01  # symprec of the CIF files that CrySPY writes
CRYSPY_INPUT = """[basic]
algo = RS
calc_code = ASE
tot_struc = {n}
nstage = 1
njob = {n}
jobcmd = none
jobfile = none

[structure]
atype = {symbols}
nat = {counts}

[ASE]
kpt_flag = False
force_gamma = False
ase_python = none

[option]
seed = {seed}
"""


class OracleCalculator(Calculator):
    """An oracle of lcoms as an ASE calculator, so that both sides use the same one."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, oracle: EnergyOracle) -> None:
        super().__init__()
        self.oracle = oracle

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        (answer,) = self.oracle.evaluate([from_ase(self.atoms)])
        if not answer.ok:
            raise CalculationFailed(answer.status)
        self.results = {
            "energy": answer.energy,
            "forces": answer.forces,
            "stress": full_3x3_to_voigt_6_stress(answer.stress),
        }


def by_lcoms(reference: Reference, args: argparse.Namespace, seed: int) -> list[Crystal]:
    """Return relaxed candidates, best first."""
    relaxation = RelaxationSpec(oracle=args.oracle, n_relax=args.relaxations)
    spec = PredictionSpec(search=SearchSpec(exclude_same=True), relaxation=relaxation, seed=seed)
    prediction = Predictor.load(spec=spec, processes=1).predict(reference.composition)
    return [candidate.crystal for candidate in prediction.candidates if candidate.relaxed is not None]


def by_cryspy(cell: Composition, args: argparse.Namespace, seed: int) -> list[Crystal]:
    """Return relaxed crystals with these contents, lowest first."""
    text = CRYSPY_INPUT.format(
        n=args.relaxations,
        symbols=" ".join(SYMBOLS[z] for z in cell.atomic_numbers),
        counts=" ".join(map(str, cell.counts)),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("cryspy.in").write_text(text)
        from cryspy.interactive import action, restart_interact
        from cryspy.interactive.opt_ase import opt_ase
        from cryspy.IO import pkl_data

        logging.getLogger("cryspy").setLevel(logging.ERROR)
        restart_interact.tqdm = iter  # its progress bar needs a notebook
        restart_interact.opt_ase = forgiving(opt_ase)
        action.initialize()
        action.restart(
            args.relaxations,
            OracleCalculator(make_oracle(args.oracle)),
            "BFGS",
            fmax=RelaxationSpec.fmax,
            steps=RelaxationSpec.max_steps,
        )
        table, structures = pkl_data.load_rslt(), pkl_data.load_opt_struc()
    ranked = table["E_eV_atom"].dropna().sort_values().index
    return [from_pymatgen(structures[i]) for i in ranked if structures.get(i) is not None]


def forgiving(relax: Callable[..., Any]) -> Callable[..., Any]:
    """Return the relaxation with failures as results, as in CrySPY when each runs as a separate job.

    A crystal whose symmetry cannot be found counts as a failure: CrySPY would end when writing its CIF.
    """

    def relaxed(*given: Any, **named: Any) -> Any:
        try:
            answer = relax(*given, **named)
            answer[0].to(fmt="cif", symprec=CRYSPY_SYMPREC)
        except (CalculationFailed, np.linalg.LinAlgError, SymmetryUndeterminedError):
            return None, float("nan"), False
        return answer

    return relaxed


def run_one(method: str, reference: Reference, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return whether the first crystal is the known one, and whether any is."""
    clock = time.perf_counter()
    if method == "lcoms":
        crystals = by_lcoms(reference, args, seed)
    else:
        untold = reference.composition.scaled(UNTOLD_UNITS)
        crystals = by_cryspy(reference.crystal.composition if method == "cryspy" else untold, args, seed)
    seconds = time.perf_counter() - clock
    right = [matches(crystal, reference.crystal, STRICT) for crystal in crystals]
    return {
        "method": method,
        "compound": reference.name,
        "seed": seed,
        "first": bool(right and right[0]),
        "any": any(right),
        "relaxed": len(crystals),
        "seconds": round(seconds, 1),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """Print shares with their intervals, and seconds."""
    print(f"{'method':<10}{'known crystal first':>28}{'among the relaxed':>28}{'seconds a compound':>22}")
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method]
        if mine:
            first, among = (Share(sum(row[key] for row in mine), len(mine)) for key in ("first", "any"))
            seconds = sum(row["seconds"] for row in mine) / len(mine)
            print(f"{method:<10}{first!s:>28}{among!s:>28}{seconds:>22.1f}")


def main() -> None:
    """Run missing cases and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--relaxations", type=int, default=RelaxationSpec.n_relax)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--compounds", nargs="+", help="some of the 26 only")
    parser.add_argument("--oracle", default=RelaxationSpec.oracle)
    parser.add_argument("--out", type=Path, required=True, help="JSON file that keeps the rows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    done = {(row["method"], row["compound"], row["seed"]) for row in rows}
    for seed in range(args.seeds):
        for reference in paper_compounds():
            if args.compounds and reference.name not in args.compounds:
                continue
            for method in args.methods:
                if (method, reference.name, seed) in done:
                    continue
                rows.append(run_one(method, reference, args, seed))
                args.out.parent.mkdir(parents=True, exist_ok=True)
                part = args.out.with_name(args.out.name + ".part")
                part.write_text(json.dumps(rows, indent=0) + "\n")
                part.replace(args.out)
                print(rows[-1], flush=True)
    report(rows)


if __name__ == "__main__":
    main()
