"""GPAW runs in separate processes: their answers, their failures, and their tasks."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, rock_salt, zinc_blende

from lcoms.core.errors import OracleError
from lcoms.oracles import dft
from lcoms.oracles.dft import GpawConfig, GpawOracle
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Composition, Crystal, crystal_to_dict

# Stands in for `lcoms.oracles.dft_worker`: the lattice constant is the energy; below 5 it fails, below 4 it dies.
WORKER = """
import json, os, sys
task, answers = json.load(open(sys.argv[1])), open(sys.argv[2], "a")
for row in task["crystals"]:
    a, n = row["lattice"][0][1] * 2, len(row["atomic_numbers"])
    if a < 4:
        print("Traceback: ...\\nMemoryError: too many plane waves\\n-----", file=sys.stderr)
        answers.write('{"energy": ')
        answers.flush()
        os._exit(3)
    stress = [[task["config"]["cutoff"]] * 3] * 3
    good = {"energy": a, "forces": [[0.5] * 3] * n, "stress": stress}
    print(json.dumps({"error": "GPAW: no convergence"} if a < 5 else good), file=answers, flush=True)
    if row["log"]:
        open(row["log"], "w").write(str(a))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(dft, "find_spec", lambda name: name)
    monkeypatch.setattr(dft, "_setup_elements", lambda: frozenset({"Na", "Cl", "Cs"}))
    monkeypatch.setattr(
        GpawOracle, "_command", lambda _, task, answers: [sys.executable, str(script), str(task), str(answers)]
    )
    return tmp_path


def test_answers_come_in_order(stand_in: Path) -> None:
    oracle = GpawOracle(GpawConfig(cutoff=300.0, log=str(stand_in / "logs")))
    results = oracle.evaluate([rock_salt(5.5), rock_salt(5.75)])
    assert [result.energy for result in results] == [5.5, 5.75]
    assert results[0].stress[0, 0] == 300.0
    assert results[0].forces.shape == (2, 3)
    oracle.evaluate([rock_salt(6.0)])
    logs = {path.name: path.read_text() for path in (stand_in / "logs").iterdir()}
    assert logs == {"NaCl-1.txt": "5.5", "NaCl-2.txt": "5.75", "NaCl-3.txt": "6.0"}


def test_a_run_that_breaks_off_costs_one_crystal(stand_in: Path) -> None:
    assert stand_in.exists()
    sizes = [5.5, 4.5, 3.5, 5.6, 3.6, 5.7]
    results = GpawOracle(GpawConfig()).evaluate([rock_salt(a) for a in sizes])
    assert [result.ok for result in results] == [True, False, False, True, False, True]
    assert results[1].status == "GPAW: no convergence"
    assert results[2].status == "GPAW stopped with code 3: MemoryError: too many plane waves"
    assert [result.energy for result in results if result.ok] == [5.5, 5.6, 5.7]


def test_missing_setups_are_said_before_anything_runs(stand_in: Path) -> None:
    oracle = GpawOracle(GpawConfig())
    with pytest.raises(OracleError, match=r"^GPAW has no PBE setup for Tc, U; use another oracle"):
        oracle.check([Composition.from_formula(text) for text in ("UCl4", "NaCl", "TcCl4")])
    oracle.check([Composition.from_formula("NaCl")])
    results = oracle.evaluate([rock_salt(numbers=(43, 17)), rock_salt(5.5)])
    assert "no PBE setup for Tc" in results[0].status
    assert results[1].energy == 5.5
    assert stand_in.exists()


def test_the_task_is_exact(stand_in: Path) -> None:
    """Numbers are exchanged with the other process exactly."""
    a = float(np.nextafter(5.5, 6.0))
    assert GpawOracle(GpawConfig()).evaluate([rock_salt(a)])[0].energy == rock_salt(a).lattice[0, 1] * 2
    row = crystal_to_dict(rock_salt(a))
    assert json.loads(json.dumps(row))["lattice"] == rock_salt(a).lattice.tolist()
    assert stand_in.exists()


def test_mpirun_is_asked_for_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dft, "find_spec", lambda name: name)
    monkeypatch.setattr(dft, "_setup_elements", lambda: frozenset({"Na"}))
    monkeypatch.setattr(dft.shutil, "which", lambda name: name)
    command = GpawOracle(GpawConfig(ranks=3))._command(Path("a"), Path("b"))
    assert command[:3] == ["mpirun", "-n", "3"]
    assert GpawOracle(GpawConfig())._command(Path("a"), Path("b"))[0] == sys.executable
    monkeypatch.setattr(dft.shutil, "which", lambda name: None if name == "mpirun" else name)
    with pytest.raises(OracleError, match="needs mpirun"):
        GpawOracle(GpawConfig(ranks=2))
    monkeypatch.setattr(dft, "_setup_elements", lambda: frozenset())
    with pytest.raises(OracleError, match="no PAW setups"):
        GpawOracle(GpawConfig())


needs_gpaw = pytest.mark.skipif(find_spec("gpaw") is None, reason="GPAW is not installed")
SALTS = [rock_salt(5.70), caesium_chloride(3.50, (11, 17)), zinc_blende(6.46, (11, 17))]


@pytest.mark.dft
@needs_gpaw
@pytest.mark.parametrize("ranks", [1, 2])
def test_sodium_chloride_is_rock_salt(ranks: int, tmp_path: Path) -> None:
    oracle = make_oracle(f"gpaw:ranks={ranks},log={tmp_path}")
    b1, b2, b3 = (result.energy for result in oracle.evaluate(SALTS))
    assert b1 < b3 < b2
    assert b1 / 2 == pytest.approx(-3.371, abs=0.005)
    assert len(list(tmp_path.glob("NaCl-*.txt"))) == 3


@pytest.mark.dft
@needs_gpaw
def test_setups_of_the_installed_gpaw() -> None:
    oracle = make_oracle("gpaw")
    oracle.check([crystal.composition for crystal in SALTS])
    with pytest.raises(OracleError, match="no PBE setup for Tc, U"):
        oracle.check([Composition.from_formula("TcU")])


@pytest.mark.dft
@needs_gpaw
def test_what_gpaw_refuses_is_a_status() -> None:
    on_top = Crystal(np.eye(3) * 4, np.zeros((2, 3)), np.array([11, 17]))
    result = make_oracle("gpaw:cutoff=200,kpts=1").evaluate([on_top])[0]
    assert result.status.startswith("GPAW")
