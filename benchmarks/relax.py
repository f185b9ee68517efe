"""Relaxations of random cells per minute, in one process and in several, compared with plain ASE.

Every cell counts, whether it converged or not; the time includes starting the processes.

    python benchmarks/relax.py [--n 450] [--formula Na4Cl4] [--fmax 0.1] [--processes 1 2] [--ase 10]
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import os
import sys
import time
import warnings
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

import numpy as np

from lcoms.relax import RelaxConfig, RelaxResult, relax_crystals
from lcoms.relax.result import result_to_dict
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.random_crystal import random_crystal


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=450)
    parser.add_argument("--formula", default="Na4Cl4")
    parser.add_argument("--oracle", default="chgnet:r2scan")
    parser.add_argument("--fmax", type=float, default=0.1)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ase", type=int, default=0, help="cells to relax with CHGNet's own ASE calculator and FIRE")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    composition = Composition.from_formula(options.formula)
    cells = [random_crystal(composition, random) for _ in range(options.n)]
    config = RelaxConfig(fmax=options.fmax)
    print(f"{options.n} random cells of {options.formula}, {options.oracle}, fmax {options.fmax} eV/angstrom")
    speeds: dict[int, float] = {}
    first: list[RelaxResult] | None = None
    for processes in options.processes:
        clock = time.perf_counter()
        results = relax_crystals(cells, options.oracle, config, processes=processes)
        seconds = time.perf_counter() - clock
        speeds[processes] = 60 * len(results) / seconds
        counts = ", ".join(f"{n} {status}" for status, n in Counter(r.status.value for r in results).items())
        steps = np.mean([result.n_steps for result in results])
        print(
            f"{processes} processes: {seconds:6.1f} s, {speeds[processes]:6.0f} a minute; {counts}; {steps:.1f} steps"
        )
        if first is None:
            first = results
        same = all(
            json.dumps(result_to_dict(a)) == json.dumps(result_to_dict(b)) for a, b in zip(first, results, strict=True)
        )
        print(f"  results equal to the first run's in every bit: {'yes' if same else 'no'}")
    slow, fast = min(speeds), max(speeds)
    if slow != fast:
        print(f"from {slow} to {fast} processes: {speeds[fast] / speeds[slow]:.2f} times as fast")
    if options.ase:
        _ase(cells[: options.ase], options.oracle.partition(":")[2] or "r2scan", options.fmax)


def _ase(cells: list[Crystal], weights: str, fmax: float) -> None:
    """Measure and print the same with CHGNet's calculator, ASE's FIRE and UnitCellFilter in one process."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch
    from ase.filters import UnitCellFilter
    from ase.optimize import FIRE

    from lcoms.structure.io import to_ase

    torch.set_num_threads(1)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet

        calculator = CHGNetCalculator(CHGNet.load(model_name=weights, use_device="cpu"), use_device="cpu")
        clock, steps, converged = time.perf_counter(), 0, 0
        for cell in cells:
            atoms = to_ase(cell)
            atoms.calc = calculator
            optimizer = FIRE(UnitCellFilter(atoms), logfile=None)
            converged += bool(optimizer.run(fmax=fmax, steps=500))
            steps += optimizer.nsteps
        seconds = time.perf_counter() - clock
    speed = 60 * len(cells) / seconds
    print(
        f"ASE, 1 process: {seconds:.1f} s, {speed:.0f} a minute; {converged} converged; {steps / len(cells):.1f} steps"
    )


if __name__ == "__main__":
    sys.exit(main())
