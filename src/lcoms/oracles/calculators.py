"""Any ASE calculator as an energy oracle."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lcoms.core.errors import OracleError, is_want
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_ase

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

NEEDED = ("energy", "forces", "stress")


class CalculatorOracle(EnergyOracle):
    """Evaluates crystals one by one with an ASE calculator.

    Args:
        calculator: gives energies, forces and stresses of periodic cells.
        name: must contain all its settings, see `EnergyOracle`.

    Raises:
        OracleError: the calculator states that it lacks one of the three.
    """

    def __init__(self, calculator: Calculator, name: str) -> None:
        offered = getattr(calculator, "implemented_properties", NEEDED)
        missing = [quantity for quantity in NEEDED if quantity not in offered]
        if missing:
            raise OracleError(f"{name}: this ASE calculator gives no {' and no '.join(missing)}, which are needed.")
        self.name = name
        self._calculator = calculator

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return one record per crystal; an exception of the calculator becomes the status of its crystal."""
        return [evaluate_with(self._calculator, crystal) for crystal in crystals]

    def check(self, compositions: Iterable[Composition]) -> None:
        """Accept all: ASE calculators do not list their elements; a crystal that fails gets a status."""


def evaluate_with(calculator: Calculator, crystal: Crystal) -> Evaluation:
    """Evaluate one crystal with a calculator; a failure or a non-finite number becomes its status."""
    atoms = to_ase(crystal)
    atoms.calc = calculator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            energy = float(atoms.get_potential_energy())
            forces = np.array(atoms.get_forces(), dtype=np.float64)
            stress = np.array(atoms.get_stress(voigt=False), dtype=np.float64)
    except Exception as error:  # calculators raise exceptions of any type
        if is_want(error):
            raise  # of the machine, not of the crystal
        return Evaluation.failed(f"{type(error).__name__}: {first_line(error)}", crystal.n_atoms)
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return Evaluation.failed("the energy, forces or stress are not finite numbers.", crystal.n_atoms)
    return Evaluation(energy, forces, stress)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or a placeholder if it has none."""
    return (str(error).strip() or "no reason given").splitlines()[0]
