"""Does the memory use of `lcoms predict` grow with many formulas? Memory after 20 formulas and at the end.

    python benchmarks/memory.py -n 500 [--out results/memory.json]

Formulas are binary compounds of a few elements; candidates are decoded from few starts and not relaxed, so that
retained memory is measured. With --report the page is written as well.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CATIONS = "Li Na K Rb Cs Mg Ca Sr Ba Zn Cd Al Ga In Sc Y La Ti Zr Hf Mn Fe Co Ni Cu Ag"
ANIONS = "F Cl Br I O S Se Te N P As"
SHAPES = ("{}{}", "{}{}2", "{}2{}", "{}2{}3", "{}{}3")


def formulas(n: int) -> list[str]:
    """Return n distinct formulas."""
    pairs = itertools.product(SHAPES, CATIONS.split(), ANIONS.split())
    return [shape.format(cation, anion) for shape, cation, anion in itertools.islice(pairs, n)]


def memory(process: int | str) -> float:
    """Return the resident memory in MB of a process, given by its id or "self"."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    """Run, monitor, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file of the memory as formulas finish")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out, file = Path(folder) / "results", Path(folder) / "formulas.txt"
        file.write_text("\n".join(formulas(options.n)))
        command = [sys.executable, "-m", "lcoms", "predict", "-f", str(file), "--no-relax", "--starts", "4", "-q"]
        command += ["--out", str(out)] + (["--report"] if options.report else [])
        process, early, last, told = subprocess.Popen(command), 0.0, 0.0, 0
        resident: list[dict[str, int]] = []
        while process.poll() is None:
            done = sum(1 for _ in out.glob("*/results.json"))
            try:
                last = memory(process.pid)
            except (OSError, StopIteration):
                break
            early = early or (last if done >= 20 else 0.0)
            if done >= told + 50:
                told = done
                resident.append({"formulas": done, "MB": round(last)})
                print(f"{done} formulas: {last:.0f} MB", flush=True)
            time.sleep(1)
        done = sum(1 for _ in out.glob("*/results.json"))
    if options.out is not None:
        options.out.write_text(
            json.dumps({"after_20": round(early), "end": round(last), "n": done, "resident": resident}, indent=1) + "\n"
        )
    print(f"{done} of {options.n} formulas: {early:.0f} MB after 20, {last:.0f} MB at the end, {last - early:+.0f} MB")


if __name__ == "__main__":
    main()
