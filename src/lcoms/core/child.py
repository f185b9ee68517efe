"""A child process that works on tasks of its parent: `python -m lcoms.core.child`, started by `lcoms.core.pool`.

Messages pass through its standard input and output. It ends when its input does, so that it does not outlive its
parent, and kills the processes that it started; Ctrl-C is left to the parent.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import IO

from lcoms.core.messages import Tasks, loads, receive


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)  # no other code reads our tasks,
    os.dup2(2, 1)  # or prints into our answers
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    tasks, started = Tasks(waiting, answers), waiting.get()
    try:
        service, setup = loads(started)
    except Exception as error:  # it cannot be imported here
        tasks.failed(error)
        return
    service(setup, tasks)


def _read(requests: IO[bytes], waiting: queue.SimpleQueue[bytes]) -> None:
    while (message := receive(requests)) is not None:
        waiting.put(message)
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with all processes that it has started
    os._exit(1)


if __name__ == "__main__":
    main()
