"""Kill commands with SIGKILL at random moments, restart them, and compare their results with an undisturbed run.

    python benchmarks/kills.py [--kills 20] [--seed 0] [--only fetch ingest train ...] [--out kills.json]

Prints one line per command. The exit code is 1 if a kill changed a result, finished work was repeated, or a process
survived. The harness is tests/kills.py.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import os
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"


def main() -> int:
    """Measure and print."""
    sys.path.insert(0, str(TESTS))
    from kill_jobs import NAMES
    from kills import harass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--out", type=Path, help="JSON file of rows, one a command; those of others stay")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tried = survived = 0
    for name in options.only:
        clock = time.monotonic()
        one = harass(name, kills=options.kills, seed=options.seed)
        tried, survived = tried + one.tried, survived + (one.survived if not one.orphans else 0)
        same = "identical" if not one.complaints else "NOT identical"
        seconds = time.monotonic() - clock
        print(
            f"{name:<9} {one.survived} of {one.tried} kills survived in {one.rounds} rounds, results {same}, "
            f"{one.again} units done again, {one.orphans} processes and {one.left_over} half-written files left over, "
            f"{seconds:.0f} s",
            flush=True,
        )
        if options.out is not None:
            _keep(options.out, {"command": name, **one._asdict(), "seconds": round(seconds), "cores": os.cpu_count()})
        for complaint in one.complaints:
            print(f"  {complaint}", flush=True)
    print(f"{survived} of {tried} kills survived by {len(options.only)} commands")
    return int(survived < options.kills * len(options.only))


def _keep(file: Path, row: dict[str, object]) -> None:
    """Store a row, replacing an older one of the same command."""
    rows = json.loads(file.read_text()) if file.exists() else []
    rows = [old for old in rows if old["command"] != row["command"]] + [row]
    file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
