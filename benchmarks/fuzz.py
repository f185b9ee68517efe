"""Invented and damaged inputs for every kind of file and text that a user can give to a command.

    python benchmarks/fuzz.py [--n 1200] [--seed 0] [--only formulas cif journal cache ...] [--out fuzz.json]

Prints one line per kind. The exit code is 1 if a command did not end with 0, or with 2 and a sentence, within two
minutes, or, for files that commands store, if it ended with 0 and another result; the smallest such input is printed.
The examples are made by tests/fuzz.py and tests/fuzz_state.py.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"


def main() -> int:
    """Try and print."""
    sys.path.insert(0, str(TESTS))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    from fuzz import KINDS, a_place, fuzz
    from fuzz_state import KEPT, fuzz_kept

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1200, help="examples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=(*KINDS, *KEPT), default=(*KINDS, *KEPT))
    parser.add_argument("--out", type=Path, help="JSON file of rows, one a kind; those of others stay")
    options = parser.parse_args()
    total = failed = 0
    with a_place() as place:
        for kind in options.only:
            clock, wrong = time.monotonic(), ""
            try:
                tried = (fuzz_kept if kind in KEPT else fuzz)(kind, place, options.n, seed=options.seed)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                tried, wrong, failed = 0, repr(error), failed + 1
                print(f"{kind:<11} FAILED after {time.monotonic() - clock:.0f} s", flush=True)
                traceback.print_exception(error, limit=-6)
            else:
                print(f"{kind:<11} {tried} examples, {time.monotonic() - clock:.0f} s", flush=True)
            total += tried
            if options.out is not None:
                seconds = round(time.monotonic() - clock)
                row = {"kind": kind, "examples": tried, "seed": options.seed, "wrong": wrong, "seconds": seconds}
                _keep(options.out, row)
    print(f"{total} examples ended as they should; {failed} of {len(options.only)} kinds failed")
    return int(failed > 0)


def _keep(file: Path, row: dict[str, object]) -> None:
    """Store a row, replacing an older one of the same kind."""
    rows = json.loads(file.read_text()) if file.exists() else []
    rows = [old for old in rows if old["kind"] != row["kind"]] + [row]
    file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
