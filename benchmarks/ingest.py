"""Speed and memory use of an ingest, for a file or for synthetic rows.

    python benchmarks/ingest.py FILE.parquet [--max-atoms 20] [--workers 1]
    python benchmarks/ingest.py --rows 1000000

Prints rows and crystals per second and the peak memory of this process and its largest worker.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lcoms.data.checks import IngestOptions
from lcoms.data.ingest import ingest

ROWS_AT_ONCE = 20_000


def write_synthetic(path: Path, n_rows: int) -> None:
    """Write skewed cells with 2 to 6 atoms on a jittered grid, in pieces."""
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0], [0.5, 0, 0.5]])
    writer = None
    for start in range(0, n_rows, ROWS_AT_ONCE):
        numbers = range(start, min(start + ROWS_AT_ONCE, n_rows))
        sizes = rng.integers(2, 7, len(numbers))
        lattices = np.eye(3) * rng.uniform(5, 7, (len(numbers), 1, 1)) + rng.normal(0, 0.5, (len(numbers), 3, 3))
        table = pa.table(
            {
                "material_id": [f"row-{number}" for number in numbers],
                "numbers": [rng.integers(1, 90, n).tolist() for n in sizes],
                "frac_coords": [(corners[:n] + rng.normal(0, 0.02, (n, 3))).ravel().tolist() for n in sizes],
                "lattice": lattices.reshape(len(numbers), 9).tolist(),
                "formation_energy_per_atom": rng.normal(-1, 1, len(numbers)),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main() -> None:
    """Measure one ingest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--max-atoms", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.file
        if source is None:
            source = Path(folder) / "synthetic.parquet"
            write_synthetic(source, arguments.rows)
        written = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        started, started_cpu = time.perf_counter(), time.process_time()
        options = IngestOptions(max_atoms=arguments.max_atoms)
        store = ingest([source], Path(folder) / "store", options=options, workers=arguments.workers)
        wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        manifest = store.manifest
    print(f"rows read {manifest.n_read:,}, kept {manifest.n_crystals:,}, dropped {dict(manifest.dropped)}")
    print(f"wall {wall:.1f} s, CPU of this process {cpu:.1f} s, {arguments.workers} worker(s)")
    print(f"{manifest.n_read / wall:,.0f} rows/s, {manifest.n_crystals / wall:,.0f} crystals/s kept")
    print(f"peak memory {peak:.2f} GB (before the ingest {written:.2f} GB), largest worker {worker:.2f} GB")


if __name__ == "__main__":
    main()
