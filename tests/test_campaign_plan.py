"""Preparation of a worker before its first formula."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
{prepare}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    np.ones(1 << 17)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(prepare: str) -> int:
    """Return the page faults of 200 successive arrays of 1 MB with the environment that Dask sets for its workers."""
    answer = subprocess.run(
        [sys.executable, "-c", FAULTS.format(prepare=prepare)],
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return int(answer.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_a_worker_of_dask_uses_freed_memory_again() -> None:
    prepare = "from lcoms.campaign.plan import _keep_freed_memory as keep\nkeep()"
    assert page_faults(prepare) < 2_000 < 40_000 < page_faults("")
