"""Do phonons identify crystals known to be stable, and cubic phases known to be unstable?

    python benchmarks/phonons.py --out phonons.json

Each crystal is relaxed within its symmetry and displaced, as in `lcoms phonons`. ZnSiP2, with eight atoms in its
primitive cell, is included for the timing.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.phonons.harmonic import compute_phonons
from lcoms.phonons.relaxed import relaxed_in_symmetry
from lcoms.structure.crystal import Crystal
from lcoms.structure.exact_sites import ExactSites, crystal_of


class Case(NamedTuple):
    """A crystal, and its stability at low temperature from experiment."""

    name: str
    space_group: int
    orbits: tuple[tuple[str, int], ...]
    lengths: tuple[float, float, float]
    stable: bool
    coords: tuple[float, ...] = ()

    @property
    def crystal(self) -> Crystal:
        """Its primitive cell."""
        return crystal_of(
            ExactSites(
                self.space_group, self.orbits, np.array(self.coords), np.array(self.lengths), np.array([90.0] * 3)
            )
        )


CASES = (
    Case("NaCl", 225, (("a", 11), ("b", 17)), (5.64, 5.64, 5.64), True),
    Case("MgO", 225, (("a", 12), ("b", 8)), (4.21, 4.21, 4.21), True),
    Case("Si", 227, (("a", 14),), (5.43, 5.43, 5.43), True),
    Case("BaTiO3, cubic", 221, (("a", 22), ("b", 56), ("d", 8)), (4.0, 4.0, 4.0), False),
    Case("ZrO2, cubic", 225, (("a", 40), ("c", 8)), (5.09, 5.09, 5.09), False),
    Case("ZnSiP2", 122, (("a", 30), ("b", 14), ("d", 15)), (5.399, 5.399, 10.435), True, (0.2695,)),
)


def measure(case: Case, oracle: str) -> dict[str, Any]:
    """Return the row of one crystal."""
    model, clock, cpu, load = make_oracle(oracle), time.perf_counter(), time.process_time(), os.getloadavg()[0]
    found = compute_phonons(relaxed_in_symmetry(case.crystal, model), model)
    seconds = time.perf_counter() - clock
    row = {
        "case": case.name,
        "setting": "stable" if case.stable else "unstable",
        "right": found.stable == case.stable,
        "lowest, THz": round(found.lowest, 2),
        "atoms": case.crystal.n_atoms,
        "atoms of the supercell": int(np.prod(found.repeats)) * found.crystal.n_atoms,
        "displaced": found.n_displaced,
        "seconds": round(seconds, 1),
        "processor seconds": round(time.process_time() - cpu, 1),
        "load": round(load, 1),
    }
    soft = ", ".join(mode.name for mode in found.soft) or "none"
    print(f"{case.name}: {row['setting']}, {'right' if row['right'] else 'WRONG'}; soft modes: {soft}; {seconds:.1f} s")
    return row


def main() -> None:
    """Measure all cases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", default=DEFAULT_ORACLE)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rows = [measure(case, asked.oracle) for case in CASES]
    asked.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
