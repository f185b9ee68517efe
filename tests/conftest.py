"""Settings of all tests; lcoms is not imported here, so that pytest can check the shapes of the whole package."""

from __future__ import annotations

import os

from hypothesis import settings

# Small tensors gain nothing from threads, and on a busy machine threads that wait for each other cost minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("lcoms", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lcoms")
