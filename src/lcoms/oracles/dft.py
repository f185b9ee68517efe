"""Density functional theory by GPAW: PBE in plane waves, each run in its own process.

A run that is killed or aborts loses only the crystal in progress. Energies are extrapolated to zero smearing, relative
to GPAW's isolated atoms; never mix them with formation energies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np

from lcoms.core.bounds import require
from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.provenance import of_package
from lcoms.structure.crystal import Composition, Crystal, crystal_to_dict
from lcoms.structure.elements import SYMBOLS

FUNCTIONAL = "PBE"
WITHOUT_EFFECT = ("ranks", "log")  # settings on which no energy depends
INSTALL = 'install it with "make gpaw", or on Debian and Ubuntu with the two lines in docs/oracles.md'


@dataclass(frozen=True)
class GpawConfig:
    """Settings of GPAW.

    Attributes:
        cutoff: of the plane waves, in eV.
        kpts: density of k points, in points per 1/angstrom; the grid contains Gamma.
        smearing: Fermi-Dirac width in eV.
        spin: whether the calculation is spin-polarised, starting from one Bohr magneton per atom.
        ranks: MPI processes of a run; more than one require mpirun.
        log: folder for GPAW's text output, or empty for none.

    Raises:
        ConfigError: a number is not positive.
    """

    cutoff: float = 400.0
    kpts: float = 3.5
    smearing: float = 0.05
    spin: bool = False
    ranks: int = 1
    log: str = ""

    def __post_init__(self) -> None:
        require(self, "GPAW", at_least_one=["ranks"], positive=["cutoff", "kpts", "smearing"])

    @property
    def name(self) -> str:
        """The word gpaw, followed by the settings that differ from the defaults."""
        return self._named([field.name for field in fields(self)])

    @property
    def identity(self) -> str:
        """The name without the settings on which no energy depends."""
        return self._named([field.name for field in fields(self) if field.name not in WITHOUT_EFFECT])

    def _named(self, settings: Sequence[str]) -> str:
        plain = {field.name: field.default for field in fields(self)}
        changed = [(name, getattr(self, name)) for name in settings if getattr(self, name) != plain[name]]
        text = ",".join(f"{key}={str(value).lower() if key == 'spin' else value}" for key, value in changed)
        return f"gpaw:{text}" if text else "gpaw"


class GpawOracle(EnergyOracle):
    """PBE energies, forces and stresses by GPAW.

    Raises:
        OracleError: GPAW, its setups or mpirun are not installed.
    """

    batch_size = 4

    def __init__(self, config: GpawConfig) -> None:
        if find_spec("gpaw") is None:
            raise OracleError(f"GPAW is not installed; {INSTALL}.")
        if not _setup_elements():
            raise OracleError('GPAW has no PAW setups; type: pip install "lcoms[gpaw]", or set GPAW_SETUP_PATH.')
        if config.ranks > 1 and shutil.which("mpirun") is None:
            raise OracleError("GPAW with more than one rank needs mpirun (Debian: openmpi-bin); leave ranks out.")
        self.config = config
        self.name = config.name
        self.provenance = (of_package("gpaw"), of_package("gpaw-data"))

    def check(self, compositions: Iterable[Composition]) -> None:
        """Check that each element has a PBE setup."""
        known = _setup_elements()
        missing = sorted({z for c in compositions for z in c.atomic_numbers if SYMBOLS[z] not in known})
        if missing:
            names = ", ".join(SYMBOLS[z] for z in missing)
            raise OracleError(
                f"GPAW has no {FUNCTIONAL} setup for {names}; use another oracle, such as chgnet:r2scan, for them."
            )

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Run GPAW until each crystal has its result; after an aborted run, a new one continues with the rest."""
        results: list[Evaluation] = []
        while len(results) < len(crystals):
            rest = crystals[len(results) :]
            try:
                self.check([rest[0].composition])
            except OracleError as error:
                results.append(Evaluation.failed(str(error), rest[0].n_atoms))
                continue
            results += self._run(rest)
        return results

    def _run(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return results for the first crystals, at least for one."""
        with tempfile.TemporaryDirectory(prefix="lcoms-gpaw-") as folder:
            task, answers = Path(folder) / "task.json", Path(folder) / "answers.jsonl"
            rows = [
                crystal_to_dict(crystal) | {"log": log}
                for crystal, log in zip(crystals, self._logs(crystals), strict=True)
            ]
            task.write_text(json.dumps({"config": asdict(self.config), "crystals": rows}))
            done = subprocess.run(
                self._command(task, answers),
                env=os.environ | (_environment() if self.config.ranks > 1 else {}) | _ONE_THREAD | _SAFE_PATH,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            lines = answers.read_text().splitlines(keepends=True) if answers.exists() else []
        results = [
            _from_json(line, crystal) for line, crystal in zip(lines, crystals, strict=False) if line.endswith("\n")
        ]
        if len(results) < len(crystals):
            results.append(Evaluation.failed(_why(done), crystals[len(results)].n_atoms))
        return results

    def _logs(self, crystals: Sequence[Crystal]) -> list[str | None]:
        """Return a new file FORMULA-n.txt in the log folder for each crystal."""
        if not self.config.log:
            return [None] * len(crystals)
        folder = Path(self.config.log)
        folder.mkdir(parents=True, exist_ok=True)
        names: list[str] = []
        for crystal in crystals:
            numbered = (str(folder / f"{crystal.composition.formula}-{n}.txt") for n in count(1))
            names.append(next(name for name in numbered if name not in names and not Path(name).exists()))
        return list(names)

    def _command(self, task: Path, answers: Path) -> list[str]:
        worker = [sys.executable, "-m", "lcoms.oracles.dft_worker", str(task), str(answers)]
        return worker if self.config.ranks == 1 else ["mpirun", "-n", str(self.config.ranks), *worker]


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # modules in the working directory must not shadow others


@cache
def _setup_elements() -> frozenset[str]:
    """Return the symbols of the elements that have a setup in GPAW's folders."""
    from gpaw import setup_paths

    names = [file.name for folder in setup_paths for file in Path(folder).glob(f"*.{FUNCTIONAL}*")]
    return frozenset(name.split(".")[0] for name in names if name.split(".")[1] == FUNCTIONAL)


def _environment() -> dict[str, str]:
    """Return variables that make GPAW use MPI, and Open MPI run in containers, as root and on few cores."""
    return {
        "GPAW_MPI_BACKEND": "cgpaw",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
    }


def _from_json(line: str, crystal: Crystal) -> Evaluation:
    answer = json.loads(line)
    if "error" in answer:
        return Evaluation.failed(answer["error"], crystal.n_atoms)
    return Evaluation(answer["energy"], np.array(answer["forces"]), np.array(answer["stress"]))


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last error that a run printed before it aborted, otherwise its last line."""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip(" -!")]
    errors = [line for line in said if re.match(r"\w+(Error|Exception): ", line)]
    return f"GPAW stopped with code {done.returncode}: {(errors or said or ['it gave no reason'])[-1]}"
