"""Formulas per minute of `lcoms campaign` with one process, with two, and with two Dask workers on this machine.

python benchmarks/campaign.py [--n 24] [--effort normal] [--no-dask]

The results of all three must be the same; otherwise the exit code is 1.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

FORMULAS = [
    "NaCl", "MgO", "ZnS", "GaAs", "SrTiO3", "CaF2", "TiO2", "BaTiO3", "Mg2Si", "LiFeO2", "Al2O3", "Cu2O",
    "KBr", "CsI", "NiAs", "FeS2", "LaAlO3", "ZrO2", "CdTe", "InP", "Li2O", "BaF2", "MgAl2O4", "SnO2",
]  # fmt: skip
SAME = ("formula", "status", "space_group", "surrogate_energy", "formation_energy_per_atom")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=len(FORMULAS))
    parser.add_argument("--effort", default="normal")
    parser.add_argument("--no-dask", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    answers = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "formulas.txt").write_text("\n".join(FORMULAS[: options.n]) + "\n")
        for way in ("1", "2", *(() if options.no_dask else ("dask",))):
            rows, seconds = _run(folder, way, options.effort)
            answers.append([{key: row[key] for key in SAME} for row in rows])
            what = "two Dask workers" if way == "dask" else f"processes: {way}"
            print(
                f"{what:<16} {len(rows)} formulas, {seconds:.0f} s, {60 * len(rows) / seconds:.1f} a minute", flush=True
            )
    same = all(answer == answers[0] for answer in answers)
    print(f"answers are {'the same' if same else 'NOT the same'}")
    return int(not same)


def _run(folder: Path, way: str, effort: str) -> tuple[list[dict[str, Any]], float]:
    """Return the rows of the table, and the seconds from the start of the command to its end."""
    command = shutil.which("lcoms", path=str(Path(sys.executable).parent)) or "lcoms"
    out = folder / way
    with _cluster() if way == "dask" else nullcontext() as address:
        how = ["--scheduler", str(address)] if way == "dask" else ["--processes", way]
        clock = time.perf_counter()
        subprocess.run(
            [command, "campaign", str(folder / "formulas.txt"), "--out", str(out), "--effort", effort, *how],
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - clock
    rows = pq.read_table(out / "summary.parquet").to_pylist()
    return sorted(rows, key=lambda row: str(row["formula"])), seconds


class _cluster(AbstractContextManager[str]):  # noqa: N801 - used as a function
    """A Dask cluster of two workers, one thread each."""

    def __enter__(self) -> str:
        from dask.distributed import LocalCluster

        self.cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        return str(self.cluster.scheduler_address)

    def __exit__(self, *_: object) -> None:
        self.cluster.close()


if __name__ == "__main__":
    sys.exit(main())
