"""Tasks of child processes in tests; few imports, because each child repeats them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lcoms.core.disk import write_whole
from lcoms.core.errors import OracleError

SEEN: list[Any] = []


def square(x: int) -> int:
    return x * x


def remember(value: int) -> None:
    SEEN.append(value)


def add_remembered(x: int) -> int:
    return x + sum(SEEN)


def die_of_seven(x: int) -> int:
    if x == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_once(path: str) -> str:
    if not Path(path).exists():
        Path(path).write_text("died")
        os._exit(3)
    return "lives"


def refuse(x: int) -> int:
    if x == 2:
        raise OracleError("two is refused.")
    return x


def leave() -> None:
    os._exit(7)


def fail_to_prepare() -> None:
    raise OracleError("nothing to prepare.")


def surroundings(_: int) -> dict[str, Any]:
    import random

    return {
        "path": sys.path,
        "random": random.__file__,
        "safe": sys.flags.safe_path,
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "pid": os.getpid(),
    }


def print_and_square(x: int) -> int:
    print("among the answers")
    os.write(1, b"and below python\n")
    return x * x


def start_a_sleeper(folder: str) -> int:
    """Never answer; store the IDs of this process and of a child process."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(folder, f"{os.getpid()}-{sleeper.pid}").touch()
    time.sleep(300)
    return 0


def write_often(path: Path, letter: str) -> None:
    for _ in range(100):
        write_whole(path, letter * 100_000)
