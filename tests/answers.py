"""Reference answers of 60 formulas: all fields of results.json, for each way of predicting.

They are stored in `answers.json.gz`. After an intended change, record them again with

    python tests/answers.py

and mention the change in the changelog. Numbers are compared to within 0.001 eV, angstrom or unit, because rounding
differs between processors.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lcoms.structure.crystal import Composition

FILE = Path(__file__).with_name("answers.json.gz")
PAPER = "LiF NaF KF RbF CsF LiCl NaCl KCl RbCl CsCl BeO MgO CaO SrO BaO ZnO CdO BeS MgS CaS SrS BaS ZnS CdS C Si"
HANDBOOK = "TiO2 SnO2 GaN AlN InP AlSb PbTe FeS2 CuCl AgBr CaF2 Li2O MgF2 TiC WC NiAl MoS2 Fe3Al SrTiO3 BaTiO3"
LARGER = "Mg2SiO4 LiFePO4 BaSO4 K2SO4 MgAl2O4 Al2SiO5 CaWO4 ZrSiO4 Na2SO4 KClO4 Li2SiO3 Mg3N2 Y2O3 K2PtCl6"
FORMULAS = f"{PAPER} {HANDBOOK} {LARGER}".split()
CAMPAIGN = ("NaCl", "MgO", "TiO2", "MgF2")
IMPROVED = "CaF2"
TOLERANCE = 1e-3
IGNORED = ("lcoms_version", "weights", "spec", "units", "ranked_by", "known", "composition")
Answers = dict[str, dict[str, Any]]


def lcoms(*arguments: str) -> None:
    """Run a command of this package; only its files are compared."""
    command = [sys.executable, "-m", "lcoms", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})


def ask(way: str, folder: Path) -> Answers:
    """Return the answers of one way of predicting: decoded, relaxed, campaign or improve."""
    if way == "decoded":
        lcoms("predict", *FORMULAS, "--no-relax", "--out", str(folder))
    elif way == "relaxed":
        lcoms("predict", *FORMULAS, "--relax", "--processes", "1", "--out", str(folder))
    elif way == "campaign":
        (folder / "formulas.txt").write_text("\n".join(CAMPAIGN))
        lcoms("campaign", str(folder / "formulas.txt"), "--out", str(folder))
    else:
        lcoms("improve", IMPROVED, "--budget", "8", "--batch", "4", "--processes", "1", "--out", str(folder))
    found = (json.loads(path.read_text()) for path in sorted(folder.glob("*/results.json")))
    return {_key(one["formula"]): {key: value for key, value in one.items() if key not in IGNORED} for one in found}


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return one line for each difference of two answers; new keys are not differences."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in old
            if key not in IGNORED
            for line in (
                differences(old[key], new[key], f"{where}/{key}") if key in new else [f"{where}/{key} is gone"]
            )
        ]
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return [f"{where}: {len(old)} became {len(new)}"]
        return [
            line for i, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{where}/{i}")
        ]
    if isinstance(old, float) and isinstance(new, int | float):
        near = abs(old - new) <= TOLERANCE or ("frac_coords" in where and abs(abs(old - new) - 1) <= TOLERANCE)
        return [] if near else [f"{where}: {old} became {new}"]
    same = old == new or (where.endswith("/formula") and bool(old) and _key(old) == _key(new))
    return [] if same else [f"{where}: {old!r} became {new!r}"]


def _key(formula: str) -> str:
    """Return the composition, independent of the order of elements in its formula."""
    return Composition.from_formula(formula).key


def record() -> None:
    """Record the answers of the present program."""
    answers = {}
    for way in ("decoded", "relaxed", "campaign", "improve"):
        with tempfile.TemporaryDirectory() as folder:
            answers[way] = ask(way, Path(folder))
    FILE.write_bytes(gzip.compress(json.dumps(answers, separators=(",", ":")).encode(), 9, mtime=0))


if __name__ == "__main__":
    record()
