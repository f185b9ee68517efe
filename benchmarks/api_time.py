"""Time of `lcoms.predict` in Python compared with the same prediction on the command line, run alternately.

    python benchmarks/api_time.py [-n 3] [--formula ZnS] [--busy] [--out results/api_time.json]

Each call is a separate process, timed from start to end. With --busy another program keeps every core busy. Prints both
medians and their ratio; the exit code is 1 if Python takes more than 1.3 times as long.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST = 1.3  # largest time relative to the command line


def seconds(command: list[str]) -> float:
    """Return the seconds taken by a command, which must succeed."""
    clock = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - clock


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="pairs")
    parser.add_argument("--formula", default="ZnS")
    parser.add_argument("--busy", action="store_true", help="beside a busy program on every core")
    parser.add_argument("--out", type=Path, help="JSON file of rows, one a pair; those of other settings stay")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    code = f"import lcoms; lcoms.predict({options.formula!r}, effort='fast')"
    n_busy = (os.cpu_count() or 1) if options.busy else 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n_busy)]
    try:
        for pair in range(options.n):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "lcoms", "predict", options.formula, "--effort", "fast"]
                command += ["--out", folder]
                line, python = seconds(command), seconds([sys.executable, "-c", code])
            rows.append(
                {"formula": options.formula, "busy": options.busy, "pair": pair, "command_line": round(line, 2),
                 "python": round(python, 2), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
            )  # fmt: skip
            print(f"command line {line:.1f} s, Python {python:.1f} s", flush=True)
    finally:
        _end(busy)
    line, python = (statistics.median(float(str(row[name])) for row in rows) for name in ("command_line", "python"))
    print(f"medians: command line {line:.1f} s, Python {python:.1f} s, {python / line:.2f} times as long")
    if options.out is not None:
        kept = json.loads(options.out.read_text()) if options.out.exists() else []
        kept = [old for old in kept if (old["formula"], old["busy"]) != (options.formula, options.busy)]
        options.out.write_text(json.dumps(kept + rows, indent=1) + "\n")
    return int(python > MOST * line)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes that are still running."""
    for process in processes:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
