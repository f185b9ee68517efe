"""A process uses bounded resources of the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from lcoms.core.machine import KERNEL_CACHES, KERNELS, bound_kernel_caches, one_blas_thread

SCRIPT = """
import resource, torch
from lcoms.core.machine import bound_kernel_caches
bound_kernel_caches()
layer = torch.nn.Linear(128, 128).bfloat16()
def meet(shapes):
    with torch.no_grad():
        for n in shapes:
            layer(torch.zeros(n, 128, dtype=torch.bfloat16))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
meet([2100])
early = meet(range(7, 7 * 100, 7))
print(meet(range(700, 7 * 300, 7)) - early)
"""


def test_the_environment_says_how_many_kernels_are_kept_or_the_package_does(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = KERNEL_CACHES
    monkeypatch.setenv(one, "7")
    monkeypatch.delenv(other, raising=False)
    bound_kernel_caches()
    assert (os.environ[one], os.environ[other]) == ("7", str(KERNELS))


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="half precision is not multiplied natively here")
def test_new_shapes_of_half_precision_take_no_more_memory() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in KERNEL_CACHES}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < 40


def test_matrices_are_multiplied_by_one_thread_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    one_blas_thread()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    monkeypatch.delenv("OMP_NUM_THREADS")
    one_blas_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
