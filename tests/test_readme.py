"""The README is correct: its commands exist, and those marked `<!-- run -->` are run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import Block, blocks, command_lines, unknown_words

ROOT = Path(__file__).parent.parent
BLOCKS = blocks(ROOT / "README.md")
COMMAND_LINES = command_lines(BLOCKS)
RUN = [block for block in BLOCKS if block.mark == "run"]


def test_the_readme_has_what_is_checked_here() -> None:
    assert {"make predict FORMULA=NaCl", "make test"} <= set(COMMAND_LINES)
    assert {block.language for block in RUN} == {"sh", "python"}
    assert all(line.split()[0] in ("make", "lcoms") for line in COMMAND_LINES)


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("make ")])
def test_make_commands_exist(line: str) -> None:
    command = [*shlex.split(line), "--dry-run"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("lcoms ")])
def test_lcoms_commands_and_options_exist(line: str) -> None:
    assert unknown_words(line) == set()


@pytest.mark.readme
@pytest.mark.parametrize("block", RUN, ids=lambda block: block.text.strip().splitlines()[0])
def test_marked_blocks_run(block: Block, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "CI": "true"}
    if block.language == "python":
        command, folder = [sys.executable, "-c", block.text], tmp_path
    else:
        command, folder = ["bash", "-euo", "pipefail", "-c", block.text], tmp_path
        if block.text.startswith("make "):
            folder = ROOT
    result = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
