"""`lcoms` and `python -m lcoms`: the command line, with a message even if Ctrl-C is pressed while it is loading."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

STOPPED = b"lcoms: stopped before it was done.\n"
EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Load the command line and run it; Ctrl-C during loading ends the process at once, as no work has started."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    from lcoms.cli.main import main as run

    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, before)
    run()


def _stop(number: int, frame: object) -> None:  # noqa: ARG001 - as signal calls it
    os.write(2, STOPPED)
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
