"""Settings of all tests; lcoms is not imported here, so that pytest can check array shapes in the whole package."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from browsers import browser as browser
from hypothesis import settings

# Small tensors gain nothing from threads, and on a busy machine threads that wait for each other cost minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MOST_PROCESSES = 8  # each takes about a gigabyte

# The same examples in every run; `--hypothesis-profile explore` looks for others.
settings.register_profile("lcoms", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("lcoms")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that predict nothing sensible, quickly."""
    from tiny import write_weights

    return write_weights(tmp_path_factory.mktemp("weights"))


def pytest_configure() -> None:
    """Programs that a shell starts in the background ignore Ctrl-C, and so would all that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes for `-n auto`: one for each core that may be used, and no second process for a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES) if cores > 1 else 0
