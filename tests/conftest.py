"""Settings of all tests; lcoms is not imported here, so that pytest can check array shapes in the whole package."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from browsers import browser as browser
from hypothesis import settings

# Threads do not speed up small tensors, and on a busy machine waiting for them costs minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MOST_PROCESSES = 8  # each takes about a gigabyte

# The same examples in every run; `--hypothesis-profile explore` looks for others.
settings.register_profile("lcoms", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("lcoms")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights whose predictions are fast and meaningless."""
    from tiny import write_weights

    return write_weights(tmp_path_factory.mktemp("weights"))


def pytest_configure() -> None:
    """Restore Ctrl-C, which programs started in the background by a shell ignore, as would the processes of tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: one per usable core; 0 (in this process) for a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES) if cores > 1 else 0
