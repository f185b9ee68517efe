"""The battery passes correct oracles and fails for each planted fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tiny import rock_salt

from lcoms.core.errors import OracleError
from lcoms.oracles import battery
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.battery import CHECKS, BatteryConfig, Check, battery_crystals, run_battery
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Composition, Crystal

Fault = Callable[[Crystal, Evaluation], Evaluation]
NOTHING = np.zeros((3, 3))


class Planted(EnergyOracle):
    """The analytic oracle with a fault."""

    name = "planted"

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        honest = AnalyticOracle().evaluate(crystals)
        return [self._fault(c, r) if r.ok else r for c, r in zip(crystals, honest, strict=True)]

    def check(self, compositions: Iterable[Composition]) -> None: ...


class Stopping(Planted):
    """Oracle that raises where it should return a status."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        results = AnalyticOracle().evaluate(crystals)
        if not all(result.ok for result in results):
            raise RuntimeError("atoms overlap")
        return results


class Mixing(Planted):
    """Oracle whose answer depends on the other crystals in the call."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [replace(r, energy=r.energy + 0.01 * len(crystals)) for r in AnalyticOracle().evaluate(crystals)]


def failed(report: list[Check]) -> set[str]:
    return {row.name for row in report if not row.passed}


def test_the_closed_form_passes() -> None:
    report = run_battery(AnalyticOracle(), BatteryConfig())
    assert [row.name for row in report] == list(CHECKS)
    assert failed(report) == set()
    assert max(row.error for row in report) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chgnet:r2scan", "chgnet:0.3.0"])
def test_chgnet_passes(name: str) -> None:
    pytest.importorskip("chgnet")
    report = run_battery(make_oracle(name), BatteryConfig())
    assert failed(report) == set(), report


PLANTED: dict[str, tuple[Fault, set[str]]] = {
    "forces 1 % too large": (lambda _, r: replace(r, forces=1.01 * r.forces), {"forces are slopes"}),
    "forces of the wrong sign": (lambda _, r: replace(r, forces=-r.forces), {"forces are slopes"}),
    "stress of the wrong sign": (lambda _, r: replace(r, stress=-r.stress), {"stress is a slope"}),
    "stress not over the volume": (
        lambda c, r: replace(r, stress=r.stress * c.volume),
        {"stress is a slope", "supercell"},
    ),
    "one shear forgotten": (
        lambda _, r: replace(r, stress=np.diag(np.diag(r.stress))),
        {"stress is a slope", "rotation"},
    ),
    "stress not symmetric": (
        lambda _, r: replace(r, stress=r.stress + np.eye(3, k=1)),
        {"stress is a slope", "rotation"},
    ),
    "energy not extensive": (
        lambda c, r: replace(r, energy=r.energy / c.n_atoms),
        {"forces are slopes", "stress is a slope", "supercell"},
    ),
    "a constant for each cell": (lambda _, r: replace(r, energy=r.energy + 0.1), {"supercell"}),
    "absolute positions": (
        lambda c, r: replace(r, energy=r.energy + 1e-3 * c.n_atoms * float(c.frac_coords[0, 0])),
        {"translation"},
    ),
    "a preferred direction": (lambda c, r: replace(r, energy=r.energy + 1e-3 * c.lattice[0, 0] ** 2), {"rotation"}),
    "the shape of the cell": (
        lambda c, r: replace(r, energy=r.energy + 1e-3 * float(np.linalg.norm(c.lattice))),
        {"choice of cell"},
    ),
    "the first atom is special": (
        lambda c, r: replace(r, energy=r.energy + 0.01 * int(c.atomic_numbers[0])),
        {"order of atoms"},
    ),
    "forces of other atoms": (lambda _, r: replace(r, forces=np.roll(r.forces, 1, axis=0)), {"forces are slopes"}),
    "not a number, said to be ok": (lambda _, r: replace(r, energy=float("nan")), set(CHECKS)),
    "shapes": (lambda _, r: replace(r, forces=np.zeros((7, 3))), set(CHECKS)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_turn_it_red(name: str) -> None:
    fault, expected = PLANTED[name]
    report = run_battery(Planted(fault), BatteryConfig())
    assert expected <= failed(report), report


def test_a_deviation_that_is_not_a_number_is_not_lost_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([0.1, float("nan"), 0.2, 0.3])
    monkeypatch.setattr(battery, "CHECKS", {"made": lambda *_: next(errors)})
    (row,) = run_battery(AnalyticOracle(), BatteryConfig())
    assert not row.passed
    assert np.isnan(row.error)


def test_faults_of_a_slope_leave_the_invariances_green() -> None:
    report = run_battery(Planted(lambda _, r: replace(r, forces=1.01 * r.forces)), BatteryConfig())
    assert failed(report) == {"forces are slopes"}
    assert next(row for row in report if not row.passed).note


@pytest.mark.parametrize("oracle", [Stopping(lambda _, r: r), Mixing(lambda _, r: r)])
def test_company_must_not_matter(oracle: EnergyOracle) -> None:
    report = run_battery(oracle, BatteryConfig())
    assert "alone or among others" in failed(report)


def test_crystals_may_be_ones_own_and_must_be_fit() -> None:
    report = run_battery(AnalyticOracle(), BatteryConfig(), [rock_salt()])
    assert failed(report) == set()

    class Nothing(Planted):
        def check(self, compositions: Iterable[Composition]) -> None:
            raise OracleError(f"none of {list(compositions)}")

    with pytest.raises(OracleError, match="none of the crystals"):
        run_battery(Nothing(lambda _, r: r), BatteryConfig())
    for crystal in battery_crystals():
        assert np.abs(AnalyticOracle().evaluate([crystal])[0].forces).max() > 0.05
