"""Requirements on the machine before work begins, and the messages if they are not met."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from lcoms.core.errors import LcomsError

ADDRESS_SPACE = 1_400_000_000  # bytes; loading PyTorch and the shipped weights takes 1.3e9
FILE_HANDLES = 32
KERNELS = 64  # kept of each kind; each takes about 0.7 MB, and a millisecond to recompile
KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of PyTorch's interface to it
WANT = "close other programs, reduce --processes or --n-relax, or raise the limit (ulimit -v, ulimit -n)"


def release_memory() -> None:
    """Return free memory to the system, if the C library can; it would keep that of each prediction."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def bound_kernel_caches() -> None:
    """Limit the number of cached kernels, unless the environment sets it.

    On a CPU, PyTorch compiles a kernel for every shape that a layer in half precision meets, and every composition
    brings new shapes; it reads the limits at the first such layer.
    """
    for name in KERNEL_CACHES:
        os.environ.setdefault(name, str(KERNELS))


def one_blas_thread() -> None:
    """Let NumPy multiply matrices with one thread, unless the environment says otherwise; call it before its import.

    Matrices are small here: more threads spend several times the processor time to wait for one another.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def require_machine() -> None:
    """Check that the limits of this process leave room for the libraries that predictions need.

    Raises:
        LcomsError: they do not; below these limits libraries fail with long messages, or hang.
    """
    if sys.platform == "win32":
        return
    import resource

    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < ADDRESS_SPACE:
        raise LcomsError(
            f"this needs {ADDRESS_SPACE / 1e9:.1f} GB of address space and may have {space / 1e9:.2f} GB; raise the "
            f"limit, such as by ulimit -v {2 * ADDRESS_SPACE // 1024}."
        )
    handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handles != resource.RLIM_INFINITY and handles < FILE_HANDLES:
        raise LcomsError(f"this needs {FILE_HANDLES} open files and may have {handles}; type ulimit -n 1024 first.")
