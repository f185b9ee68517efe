"""Make the virtual environment that `make predict` and `make test` run in, with nothing but Python's own library.

PyTorch comes first and on its own, because its usual build for Linux brings gigabytes of libraries for NVIDIA GPUs.
Where no GPU is found, the CPU build is asked for by its version; `TORCH_INDEX_URL` names a package index that has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

TORCH_VERSION = "2.13.0"
MINIMUM_PYTHON = (3, 11)
NEWEST_WHEEL = {"chgnet": (3, 12)}  # what later versions of Python must build from source


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or complete the environment; 0 when it is ready, 1 with a sentence when it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the environment stands or shall stand")
    parser.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml, such as dev")
    parser.add_argument("--wish", action="append", default=[], help="an extra that is left out where it cannot be had")
    options = parser.parse_args(arguments)
    if sys.version_info < MINIMUM_PYTHON:
        return _fail(f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}.")
    root = Path(__file__).resolve().parent.parent
    try:
        python = make_environment(options.folder)
        install_torch(python)
        extras = f"[{','.join(options.extra)}]" if options.extra else ""
        say("Installing lcoms and what else it needs.")
        pip(python, ["--editable", f"{root}{extras}"])
        install_wishes(python, root, options.wish)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.output or "")
        return _fail("The installation did not succeed; what pip said stands above. Run the command again to go on.")
    except (OSError, RuntimeError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("Stopped. Run the command again to go on from here.")
    say("The environment is ready.")
    return 0


def make_environment(folder: Path) -> Path:
    """The environment's Python; made here where there is none that works.

    Raises:
        RuntimeError: this Python cannot make environments with pip.
    """
    python = folder.resolve() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and _succeeds([str(python), "-m", "pip", "--version"]):
        return python
    if importlib.util.find_spec("ensurepip") is None:
        raise RuntimeError("This Python lacks the modules venv and ensurepip (Debian: package python3-venv).")
    say(f"Making a Python environment in {folder} (only the first time; a few minutes in all).")
    venv.EnvBuilder(with_pip=True, clear=python.exists()).create(folder)
    return python


def install_torch(python: Path) -> None:
    """Install PyTorch unless it is there: the CPU build where no NVIDIA GPU is found and that build can be had."""
    if _succeeds([str(python), "-c", "import torch"]):
        return
    index = os.environ.get("TORCH_INDEX_URL", "").strip()
    source = ["--index-url", index] if index else []
    if has_gpu() or sys.platform == "darwin":
        say(f"Installing PyTorch {TORCH_VERSION}.")
        pip(python, [*source, f"torch=={TORCH_VERSION}"])
        return
    say(f"No NVIDIA GPU found: installing PyTorch {TORCH_VERSION} for the CPU.")
    try:
        pip(python, [*source, f"torch=={TORCH_VERSION}+cpu"])
    except subprocess.CalledProcessError as error:
        if "No matching distribution" not in (error.output or ""):
            raise
        say("  The package index has no separate CPU build, so that the usual build is installed, which may be large.")
        say("  Set TORCH_INDEX_URL to an index with CPU builds to avoid this.")
        pip(python, [*source, f"torch=={TORCH_VERSION}"])


def install_wishes(python: Path, root: Path, extras: Sequence[str]) -> None:
    """Install extras that the program can do without; one that cannot be had is named."""
    for extra in extras:
        newest = NEWEST_WHEEL.get(extra)
        if newest is not None and sys.version_info[:2] > newest:
            known, here = ".".join(map(str, newest)), ".".join(map(str, sys.version_info[:2]))
            say(f"{extra} has no wheel for Python {here}; with Python {known} it is installed as it is.")
            if not has_compiler():
                say(f"  No C compiler is found either, so that lcoms goes without {extra}, a little less accurately.")
                continue
            say("  It is built here, which takes some minutes.")
        say(f"Installing the extra {extra}.")
        try:
            pip(python, ["--editable", f"{root}[{extra}]"])
        except subprocess.CalledProcessError:
            say(f"  {extra} cannot be installed here. lcoms works without it, a little less accurately.")


def has_compiler() -> bool:
    """Whether a C compiler is on the path."""
    return any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang", "cl"))


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers."""
    command = shutil.which("nvidia-smi")
    return command is not None and _succeeds([command, "-L"])


def pip(python: Path, arguments: Sequence[str]) -> None:
    """Run `pip install` and pass on only the lines that tell how far it is.

    Raises:
        subprocess.CalledProcessError: pip failed; its whole output stands in `output`.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    started, lines = time.monotonic(), []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Downloading" in line and ("MB" in line or "GB" in line):
                say(f"  {line.strip()}")
            elif line.startswith("Installing collected"):
                say("  Unpacking ...")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output="".join(lines))
    say(f"  Done in {time.monotonic() - started:.0f} s.")


def say(text: str) -> None:
    """Print at once, also where the output goes to a file."""
    print(text, flush=True)


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
