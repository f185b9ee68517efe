"""Tests that every oracle must pass: forces and stress are slopes of the energy, and invariances hold.

Slopes are taken along a few directions, including the steepest, by the five-point formula
f'(0) = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h, whose error is of fourth order in h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.bounds import require
from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.crystal import Crystal

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BatteryConfig:
    """Tolerances of the battery.

    Attributes:
        energy: largest difference between equal crystals, eV/atom.
        force: the same of forces, eV/angstrom.
        stress: the same of stresses, eV/angstrom^3.
        slope: relative error allowed to a force or a stress, in addition to `slope_energy`.
        slope_energy: error allowed to an energy in the five-point formula, such as from rounding, eV/atom.
        step: displacement in angstrom.
        strain: strain of the cell.
        seed: of the displacements.
    """

    energy: float = 1e-5
    force: float = 1e-3
    stress: float = 1e-4
    slope: float = 3e-3
    slope_energy: float = 2e-6
    step: float = 0.0025
    strain: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        require(self, positive=["energy", "force", "stress", "slope", "slope_energy", "step", "strain"])


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was tested.
        passed: whether the oracle passed.
        error: largest deviation over all crystals relative to the tolerance; NaN if nothing could be measured.
        note: the crystal with the worst deviation, or what went wrong.
    """

    name: str
    passed: bool
    error: float
    note: str


def run_battery(oracle: EnergyOracle, config: BatteryConfig, crystals: Sequence[Crystal] | None = None) -> list[Check]:
    """Run all checks on the crystals, or on those of `battery_crystals` that the oracle can handle.

    Raises:
        OracleError: it can handle none of them.
    """
    chosen = list(crystals) if crystals is not None else _handled(oracle)
    rng = np.random.default_rng(config.seed)
    report = []
    for name, check in CHECKS.items():
        worst, note, passed = 0.0, "", True
        for crystal in chosen:
            try:
                error = check(oracle, crystal, config, rng)
            except Exception as problem:  # an oracle must not raise, so any exception is a failure
                kind = "" if isinstance(problem, _RefusedError) else f"{type(problem).__name__}: "
                worst, note, passed = float("nan"), f"{crystal.composition.formula}: {kind}{problem}", False
                break
            if not error <= worst:
                worst, note = error, crystal.composition.formula
            if np.isnan(worst):
                break
        report.append(Check(name, passed and bool(worst <= 1.0), float(worst), note))
    return report


def battery_crystals() -> list[Crystal]:
    """Return small distorted crystals: an element, a salt in a skewed cell, a wurtzite and a perovskite."""
    face_centred = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    hexagonal = np.array([[3.3, 0, 0], [-1.65, 1.65 * 3**0.5, 0], [0, 0, 5.3]])
    sites = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]])
    cube = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    exact = [
        Crystal(5.43 * face_centred, np.array([[0, 0, 0], [0.25, 0.25, 0.25]]), np.array([14, 14])),
        Crystal(5.64 * face_centred, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17])),
        Crystal(hexagonal, sites, np.array([30, 30, 8, 8])),
        Crystal(3.9 * np.eye(3), cube, np.array([38, 22, 8, 8, 8])),
    ]
    rng = np.random.default_rng(0)
    return [_moved(c, rng.normal(size=(c.n_atoms, 3)) * 0.1, rng.normal(size=(3, 3)) * 0.02) for c in exact]


class _RefusedError(Exception):
    """The oracle gave no usable numbers for a crystal of the battery."""


def _handled(oracle: EnergyOracle) -> list[Crystal]:
    crystals = []
    for crystal in battery_crystals():
        try:
            oracle.check([crystal.composition])
        except OracleError:
            continue
        crystals.append(crystal)
    if not crystals:
        raise OracleError(f"{oracle.name} can handle none of the crystals of the battery; give your own crystals.")
    return crystals


def _ask(oracle: EnergyOracle, crystals: Sequence[Crystal]) -> list[Evaluation]:
    results = oracle.evaluate(crystals)
    if len(results) != len(crystals):
        raise _RefusedError(f"{len(results)} answers to {len(crystals)} crystals")
    for crystal, result in zip(crystals, results, strict=True):
        if not result.ok:
            raise _RefusedError(result.status)
        if result.forces.shape != (crystal.n_atoms, 3) or result.stress.shape != (3, 3):
            raise _RefusedError(f"shapes {result.forces.shape} and {result.stress.shape} of forces and stress")
        if not np.isfinite([result.energy, *result.forces.ravel(), *result.stress.ravel()]).all():
            raise _RefusedError("numbers that are not finite, with status ok")
    return results


def _moved(crystal: Crystal, moves: Array, strain: Array) -> Crystal:
    """Return a crystal with atoms moved by (n_atoms, 3) angstrom, then everything strained: x -> x (1 + strain)."""
    frac = crystal.frac_coords + moves @ np.linalg.inv(crystal.lattice)
    return Crystal(crystal.lattice @ (np.eye(3) + strain), frac, crystal.atomic_numbers)


def _slope(oracle: EnergyOracle, crystal: Crystal, moves: Array, strain: Array, step: float) -> float:
    """eV, by which the energy changes with the multiple of moves and strain; five-point formula."""
    path = [_moved(crystal, k * step * moves, k * step * strain) for k in (-2, -1, 1, 2)]
    energies = [result.energy for result in _ask(oracle, path)]
    return float(np.dot([1, -8, 8, -1], energies) / (12 * step))


def _slope_error(found: float, measured: float, n_atoms: int, step: float, config: BatteryConfig) -> float:
    """Return the deviation over the tolerance; the formula multiplies errors of the energy by at most 18 / 12 h."""
    return abs(found - measured) / (config.slope * abs(measured) + 1.5 * n_atoms * config.slope_energy / step)


def _forces(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    forces = _ask(oracle, [crystal])[0].forces
    directions = [forces, *rng.normal(size=(2, *forces.shape))]
    errors = []
    for direction in directions:
        unit = direction / max(float(np.linalg.norm(direction)), 1e-12)
        measured = _slope(oracle, crystal, unit, np.zeros((3, 3)), config.step)
        errors.append(_slope_error(-float((forces * unit).sum()), measured, crystal.n_atoms, config.step, config))
    return max(errors)


def _stress(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    stress = _ask(oracle, [crystal])[0].stress
    if np.abs(stress - stress.T).max() > config.stress:
        raise _RefusedError("a stress that is not symmetric")
    shear = rng.normal(size=(3, 3))
    errors = []
    for direction in (stress, np.eye(3), shear + shear.T):
        unit = direction / max(float(np.linalg.norm(direction)), 1e-12)
        measured = _slope(oracle, crystal, np.zeros((crystal.n_atoms, 3)), unit, config.strain)
        found = crystal.volume * float((stress * unit).sum())
        errors.append(_slope_error(found, measured, crystal.n_atoms, config.strain, config))
    return max(errors)


def _same(first: Evaluation, second: Evaluation, config: BatteryConfig) -> float:
    """Return the largest deviation of two results for the same number of atoms, over the tolerance."""
    return max(
        abs(first.energy - second.energy) / len(first.forces) / config.energy,
        float(np.abs(first.forces - second.forces).max()) / config.force,
        float(np.abs(first.stress - second.stress).max()) / config.stress,
    )


def _rotation(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)  # a proper rotation
    turned = Crystal(crystal.lattice @ turn, crystal.frac_coords, crystal.atomic_numbers)
    plain, other = _ask(oracle, [crystal, turned])
    back = Evaluation(other.energy, other.forces @ turn.T, turn @ other.stress @ turn.T)
    return _same(plain, back, config)


def _translation(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    shifted = Crystal(crystal.lattice, crystal.frac_coords + rng.random(3), crystal.atomic_numbers)
    plain, other = _ask(oracle, [crystal, shifted])
    return _same(plain, other, config)


def _permutation(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    order = rng.permutation(crystal.n_atoms)[::-1]
    mixed = Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order])
    plain, other = _ask(oracle, [crystal, mixed])
    return _same(Evaluation(plain.energy, plain.forces[order], plain.stress), other, config)


def _cell_choice(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, _: np.random.Generator) -> float:
    change = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])  # another basis of the same lattice
    lattice = change @ crystal.lattice
    other_cell = Crystal(lattice, crystal.cart_coords @ np.linalg.inv(lattice), crystal.atomic_numbers)
    plain, other = _ask(oracle, [crystal, other_cell])
    return _same(plain, other, config)


def _extensivity(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, _: np.random.Generator) -> float:
    scale = np.array([2, 1, 2])
    images = np.array([[i, 0, k] for i in range(2) for k in range(2)])
    frac = ((crystal.frac_coords[None] + images[:, None]) / scale).reshape(-1, 3)
    larger = Crystal(crystal.lattice * scale[:, None], frac, np.tile(crystal.atomic_numbers, 4))
    plain, other = _ask(oracle, [crystal, larger])
    return _same(Evaluation(4 * plain.energy, np.tile(plain.forces, (4, 1)), plain.stress), other, config)


def _company(oracle: EnergyOracle, crystal: Crystal, config: BatteryConfig, rng: np.random.Generator) -> float:
    """Compare the result alone with that among others, one of which has coinciding atoms."""
    alone = _ask(oracle, [crystal])[0]
    moves = rng.normal(size=(crystal.n_atoms, 3)) * 0.05
    other = _moved(crystal, moves, np.zeros((3, 3)))
    broken = Crystal(crystal.lattice, np.zeros((2, 3)), np.repeat(crystal.atomic_numbers[:1], 2))
    answers = oracle.evaluate([other, broken, crystal])
    if len(answers) != 3 or not answers[2].ok:
        raise _RefusedError("a broken crystal stopped the rest")
    return _same(alone, answers[2], config)


CHECKS: dict[str, Callable[[EnergyOracle, Crystal, BatteryConfig, np.random.Generator], float]] = {
    "forces are slopes": _forces,
    "stress is a slope": _stress,
    "rotation": _rotation,
    "translation": _translation,
    "order of atoms": _permutation,
    "choice of cell": _cell_choice,
    "supercell": _extensivity,
    "alone or among others": _company,
}
