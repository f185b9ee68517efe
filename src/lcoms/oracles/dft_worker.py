"""Run GPAW on the crystals of a task file, one result per line; started by `oracles.dft`, under mpirun if parallel.

All ranks run this file; only the first one writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcoms.oracles.dft import FUNCTIONAL, GpawConfig
from lcoms.structure.crystal import Crystal, crystal_from_dict
from lcoms.structure.io import to_ase

if TYPE_CHECKING:
    from gpaw.new.ase_interface import ASECalculator

NO_MPI = "this GPAW was built without MPI; omit ranks, or rebuild GPAW as described in docs/oracles.md."


def main(task_file: str, answers_file: str) -> None:
    """Write the result of every crystal of the task as soon as it is done."""
    from gpaw.mpi import world

    task = json.loads(Path(task_file).read_text())
    config = GpawConfig(**task["config"])
    for row in task["crystals"]:
        crystal = crystal_from_dict(row)
        answer = run(crystal, config, row["log"]) if world.size == config.ranks else {"error": NO_MPI}
        if world.rank == 0:
            with Path(answers_file).open("a") as file:
                file.write(json.dumps(answer) + "\n")


def run(crystal: Crystal, config: GpawConfig, log: str | None) -> dict[str, Any]:
    """Return energy, forces and stress as lists, or the reason for a failure."""
    atoms = to_ase(crystal)
    if config.spin:
        atoms.set_initial_magnetic_moments([1.0] * crystal.n_atoms)
    try:
        atoms.calc = calculator(config, log)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress(voigt=False)
    except Exception as error:  # GPAW raises exceptions of many types; all ranks raise the same
        return {"error": f"GPAW: {' '.join(str(error).split()) or type(error).__name__}"}
    return {"energy": float(energy), "forces": forces.tolist(), "stress": stress.tolist()}


def calculator(config: GpawConfig, log: str | None) -> ASECalculator:
    """Return a new GPAW calculator that writes its text to a file, or nowhere."""
    from gpaw import GPAW, PW, FermiDirac

    return GPAW(
        mode=PW(config.cutoff),
        xc=FUNCTIONAL,
        kpts={"density": config.kpts, "gamma": True},
        occupations=FermiDirac(config.smearing),
        spinpol=config.spin,
        txt=log,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
