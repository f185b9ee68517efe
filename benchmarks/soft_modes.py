"""Where do crystals distorted along their soft modes relax to, and how much energy do they gain?

    python benchmarks/soft_modes.py --out results/soft_modes.json

The parents are cubic phases that distort on cooling. For whole predictions, see `lcoms evaluate validation
--soft-modes`.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Lattice, Structure

from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.phonons.distortions import distortions
from lcoms.phonons.harmonic import compute_phonons
from lcoms.phonons.relaxed import relaxed_in_symmetry
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.structure.io import from_pymatgen
from lcoms.structure.symmetry import space_group_number

FMAX = 0.02  # eV/angstrom
PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
PARENTS = {
    "BaTiO3": ("Pm-3m", 4.0, ["Ba", "Ti", "O"], PEROVSKITE),
    "CsPbBr3": ("Pm-3m", 5.9, ["Cs", "Pb", "Br"], PEROVSKITE),
    "ZrO2": ("Fm-3m", 5.1, ["Zr", "O"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
}


def measure(name: str, oracle_name: str) -> dict[str, Any]:
    """Distort one parent, and relax the results."""
    group, edge, elements, sites = PARENTS[name]
    structure = Structure.from_spacegroup(group, Lattice.cubic(edge), elements, sites)
    oracle, clock = make_oracle(oracle_name), time.process_time()
    parent = relaxed_in_symmetry(from_pymatgen(structure.get_primitive_structure()), oracle)
    lowest = oracle.evaluate([parent])[0].energy / parent.n_atoms
    phonons = compute_phonons(parent, oracle)
    made = distortions(phonons)
    results = relax_crystals([one.crystal for one in made], oracle_name, RelaxConfig(fmax=FMAX), processes=1)
    rows = [
        {
            "mode": one.mode.name,
            "space_group": one.space_group,
            "n_atoms": one.crystal.n_atoms,
            "relaxed_space_group": space_group_number(result.crystal, symprec=0.1),
            "gain": round(1000 * (lowest - result.energy_per_atom), 1),
        }
        for one, result in zip(made, results, strict=True)
    ]
    return {"formula": name, "cpu_seconds": round(time.process_time() - clock, 1), "rows": rows}


def main() -> None:
    """Distort, relax, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", default=DEFAULT_ORACLE)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in PARENTS:
        found.append(measure(name, asked.oracle))
        print(f"{name}: {found[-1]['cpu_seconds']} s of CPU time")
        for row in found[-1]["rows"]:
            start = f"{row['mode']}: {row['space_group']}, {row['n_atoms']} atoms"
            print(f"  {start}, relaxes to {row['relaxed_space_group']}, {row['gain']} meV/atom lower")
    if asked.out is not None:
        asked.out.write_text(json.dumps({"oracle": asked.oracle, "parents": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
