"""ASE calculators return the same values as in ASE, and a failure affects only its crystal."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from tiny import rock_salt

from lcoms.core.errors import OracleError
from lcoms.oracles.calculators import CalculatorOracle
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_ase

FACE_CENTRED = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def copper(a: float = 3.7) -> Crystal:
    return Crystal(a * FACE_CENTRED, np.array([[0.0, 0, 0]]), np.array([29]))


class NotANumber(Calculator):
    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": float("nan"), "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


class NoStress(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012


def test_the_numbers_are_those_of_ase() -> None:
    atoms = to_ase(copper())
    atoms.calc = EMT()
    result = CalculatorOracle(EMT(), "emt").evaluate([copper()])[0]
    assert result.ok
    assert result.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(result.forces, atoms.get_forces())
    np.testing.assert_array_equal(result.stress, atoms.get_stress(voigt=False))
    assert result.stress[0, 0] > 0  # stretched: the cell wants to shrink


def test_a_crystal_that_fails_does_not_stop_the_rest() -> None:
    results = CalculatorOracle(EMT(), "emt").evaluate([copper(), rock_salt(), copper(3.6)])
    assert [result.ok for result in results] == [True, False, True]
    assert "No EMT-potential" in results[1].status
    assert np.isnan(results[1].energy)
    assert results[1].forces.shape == (2, 3)


def test_numbers_that_are_not_finite_are_a_failure() -> None:
    result = CalculatorOracle(NotANumber(), "nan").evaluate([copper()])[0]
    assert result.status == "the energy, forces or stress are not finite numbers."


def test_a_calculator_without_stress_is_refused_at_once() -> None:
    with pytest.raises(OracleError, match="gives no stress"):
        CalculatorOracle(NoStress(), "half")
