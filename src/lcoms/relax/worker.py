"""A process that relaxes crystals: `python -m lcoms.relax.worker`, lines of JSON in and out.

In: first the oracle's name and the options, then crystals by number. Out: results by number. It ends when its input
does, so that it outlives its parent by one step at most.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO

from lcoms.core.config import from_dict
from lcoms.core.errors import LcomsError
from lcoms.oracles.registry import make_oracle
from lcoms.relax.engine import relax_stream
from lcoms.relax.result import RelaxConfig, RelaxResult, crystal_from_dict, result_to_dict
from lcoms.structure.crystal import Crystal


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and closes our input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # oracles that print must not print into the answers
    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines), daemon=True).start()
    first = lines.get()
    if first is None:
        return
    try:
        oracle = make_oracle(first["oracle"])
    except LcomsError as error:
        _send(answers, {"error": type(error).__name__, "text": str(error)})
        return
    config = from_dict(RelaxConfig, first["options"])
    _send(answers, {"ready": True, "batch_size": oracle.batch_size})

    def take(room: int, idle: bool) -> Sequence[tuple[int, Crystal]]:
        taken: list[tuple[int, Crystal]] = []
        while len(taken) < room:
            try:
                line = lines.get(block=idle and not taken)
            except queue.Empty:
                break
            if line is None:
                os._exit(0)  # nobody waits for what is still under way
            taken.append((line["number"], crystal_from_dict(line["crystal"])))
        return taken

    def emit(number: int, result: RelaxResult) -> None:
        _send(answers, {"number": number, "result": result_to_dict(result)})

    relax_stream(oracle, config, take, emit)


def _read(stream: BinaryIO, lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in stream:
        lines.put(json.loads(line))
    lines.put(None)


def _send(stream: BinaryIO, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content, allow_nan=False).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
