"""The harnesses of kills and damaged files fail when they should: each is run on a copy of the package with a fault."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


class Fault(NamedTuple):
    """A change of a file in the package, and the tests that must detect it."""

    file: str
    old: str
    new: str
    tests: str


FAULTS = {
    "no command resumes": Fault(
        "cli/main.py",
        "    try:\n        _require_text(arguments)\n",
        "    if '--out' in arguments:\n"
        "        import shutil\n\n"
        "        shutil.rmtree(arguments[list(arguments).index('--out') + 1], ignore_errors=True)\n"
        "    try:\n        _require_text(arguments)\n",
        "test_kills.py::test_killed_just_before_and_just_after_a_file_gets_its_name[ingest]",
    ),
    "one shard is kept and the others are made again": Fault(
        "data/ingest.py",
        "while (path := out / shard_name(len(shards))).exists():",
        "while (path := out / shard_name(len(shards))).exists() and not shards:",
        "test_kills.py::test_killed_just_before_and_just_after_a_file_gets_its_name[ingest]",
    ),
    "calibration is unpickled": Fault(
        "prediction/calibrate.py",
        "content = parse_json(path.read_text(encoding=\"utf-8\"))",
        "content = __import__('pickle').loads(path.read_bytes()) if path.read_bytes()[:1] == b'\\x80' else "
        "parse_json(path.read_text(encoding=\"utf-8\"))",
        "test_fuzz_state.py::test_nothing_that_is_kept_is_unpickled[calibration]",
    ),
}  # fmt: skip


def outcome(copy: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run a test of the copy, in processes that import the copy."""
    path = os.pathsep.join([str(copy / "src"), str(copy / "tests")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"tests/{test}"]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_turns_its_test_red(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    whole = outcome(tmp_path, fault.tests)
    assert whole.returncode == 0, whole.stdout
    file = tmp_path / "src" / "lcoms" / fault.file
    text = file.read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    broken = outcome(tmp_path, fault.tests)
    assert (broken.returncode, "1 failed" in broken.stdout) == (1, True), broken.stdout
