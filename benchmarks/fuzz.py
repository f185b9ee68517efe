"""Made-up and damaged inputs for every kind of file and text that a user can hand to a command.

    python benchmarks/fuzz.py [--n 1200] [--seed 0] [--only formulas cif journal cache ...]

Prints one line a kind, and ends with 1 where a command ended otherwise than with 0 or 2 and a sentence, or not within
two minutes; the smallest such input is printed. The examples are made by tests/fuzz.py
and tests/fuzz_state.py.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
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
    options = parser.parse_args()
    total = failed = 0
    with a_place() as place:
        for kind in options.only:
            clock = time.monotonic()
            try:
                tried = (fuzz_kept if kind in KEPT else fuzz)(kind, place, options.n, seed=options.seed)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                failed += 1
                print(f"{kind:<9} FAILED after {time.monotonic() - clock:.0f} s", flush=True)
                traceback.print_exception(error, limit=-6)
                continue
            total += tried
            print(f"{kind:<9} {tried} examples, {time.monotonic() - clock:.0f} s", flush=True)
    print(f"{total} examples ended as they should; {failed} of {len(options.only)} kinds failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
