"""Importing loads nothing heavy, and layers import downwards only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lcoms

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "pymatgen", "ase", "spglib", "lightning", "matplotlib"}


@pytest.mark.parametrize("module", ["lcoms", "lcoms.cli.main", "lcoms.core.config", "lcoms.core.errors"])
def test_nothing_heavy_is_imported(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_every_name_of_the_front_page_is_there() -> None:
    assert all(getattr(lcoms, name) is not None for name in lcoms.__all__)
    assert set(lcoms.__all__) <= set(dir(lcoms))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lcoms.nothing


def test_the_floor_plan_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
