"""The relaxation of one crystal, positions and cell, one evaluation at a time.

L-BFGS (Liu & Nocedal, Math. Program. 45, 503, 1989, algorithm 2.1) on atomic displacements and strain; the strain is
multiplied by STRAIN_LENGTH sqrt(n_atoms) so that both are lengths of similar stiffness. A step is never longer than
`max_step`; a step to an energy above all of the last few is rejected and halved, so no crystal ends above its start.
Nothing depends on other crystals, and a rotated crystal follows the rotated path. Under pressure the enthalpy replaces
the energy. In a fixed cell only the atoms move.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError
from lcoms.oracles.base import Evaluation
from lcoms.relax.result import RelaxConfig, RelaxResult, Status, Trajectory
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import plane_spacings, shortest_distance
from lcoms.structure.operations import keep_operations

# Chosen to minimise the number of steps of random cells of NaCl, ZnS and SrTiO3 with CHGNet.
STRAIN_LENGTH = 2.0  # angstrom
MEMORY = 10
FIRST_STIFFNESS = 40.0  # eV/angstrom^2, before any curvature is known
LEAST_CURVATURE = 1e-5  # angstrom^2/eV: pairs of step and gradient change below it carry no information
RECENT = 4  # number of recent energies; a step may rise to the highest of them
ROUNDING = 1e-6  # eV/atom, numerical error of energies
LEAST_STEP = 1e-4  # angstrom; if the energy rises even along such a step, the forces are not its gradient

Rows = Float[NDArray[np.float64], "rows 3"]


def residual(crystal: Crystal, evaluation: Evaluation) -> float:
    """Return the quantity compared with fmax: the largest force or principal stress times volume per atom."""
    return _longest(np.concatenate([evaluation.forces, crystal.volume / crystal.n_atoms * evaluation.stress]))


class Relaxation:
    """The relaxation of one crystal: evaluate `crystal` and `tell` the evaluation until it returns a `RelaxResult`."""

    def __init__(self, crystal: Crystal, config: RelaxConfig) -> None:
        self.crystal = crystal
        self._config = config
        self._start = crystal
        self._scale = STRAIN_LENGTH * crystal.n_atoms**0.5
        self._max_step = config.max_step
        self._n_evaluations = 0
        self._at: tuple[Crystal, float, Rows] | None = None  # last accepted crystal, its energy and gradient
        self._best: tuple[Crystal, float, float] | None = None  # lowest accepted: crystal, energy, residual
        self._step: Rows | None = None  # the move from the accepted crystal to `crystal`
        self._pairs: deque[tuple[Rows, Rows]] = deque(maxlen=MEMORY)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._start_energy = float("nan")
        self._energies: list[float] = []
        self._frames: list[Crystal] = []

    def tell(self, evaluation: Evaluation) -> RelaxResult | None:
        """Process the evaluation of `crystal`; move to the next crystal, or return the result."""
        self._n_evaluations += 1
        if not evaluation.ok:
            return self._end(Status.ORACLE_FAILED, evaluation.status)
        evaluation = evaluation.at_pressure(self.crystal.volume, self._config.pressure)
        if not all(np.isfinite(x).all() for x in (evaluation.energy, evaluation.forces, evaluation.stress)):
            return self._end(Status.ORACLE_FAILED, "the oracle gave numbers that are not finite.")
        if self._config.fixed_cell:
            evaluation = replace(evaluation, stress=np.zeros((3, 3)))
        if self._config.trajectory != "none":
            self._energies.append(evaluation.energy)
            self._frames += [self.crystal] if self._config.trajectory == "frames" else []
        if self._at is not None and self._too_high(evaluation.energy):
            return self._back()
        self._accept(evaluation)
        assert self._best is not None, "an accepted crystal is the best until another is"
        measure = residual(self.crystal, evaluation)
        if measure < self._config.fmax:
            self._best = (self.crystal, evaluation.energy, measure)
            return self._end(Status.CONVERGED, "")
        if evaluation.energy < self._best[1]:
            self._best = (self.crystal, evaluation.energy, measure)
        return self._finished() or self._move(self._direction())

    def failed(self, reason: str) -> RelaxResult:
        """Return the result for a crystal that the oracle cannot evaluate."""
        return self._end(Status.ORACLE_FAILED, reason)

    def check_start(self) -> RelaxResult | None:
        """Return the result for a start that is out of bounds and should not be evaluated; None for all others."""
        problem = self._out_of_bounds(self._start)
        return self._end(Status.EXPLODED, f"the start is out of bounds: {problem}") if problem else None

    def _too_high(self, energy: float) -> bool:
        return energy > min(max(self._recent), self._start_energy) + ROUNDING * self._start.n_atoms

    def _accept(self, evaluation: Evaluation) -> None:
        stress = (evaluation.stress + evaluation.stress.T) / 2
        gradient = np.concatenate([-evaluation.forces, self.crystal.volume * stress / self._scale])
        if self._at is None:
            self._start_energy = evaluation.energy
            self._best = (self.crystal, evaluation.energy, residual(self.crystal, evaluation))
        elif self._step is not None:
            change = gradient - self._at[2]
            if float((self._step * change).sum()) > LEAST_CURVATURE * float((change * change).sum()):
                self._pairs.append((self._step, change))
            elif self._pairs:
                self._pairs.popleft()
            self._max_step = min(self._config.max_step, 1.5 * self._max_step)
        self._at = (self.crystal, evaluation.energy, gradient)
        self._recent.append(evaluation.energy)

    def _back(self) -> RelaxResult | None:
        """Return to the last accepted crystal, halve the step and discard the stored curvature."""
        assert self._at is not None
        assert self._step is not None
        length = _longest(self._step)
        if length < LEAST_STEP:
            return self._end(Status.STEP_LIMIT, "the energy decreases no further along the forces.")
        self._max_step = length / 2
        self._pairs.clear()
        return self._finished() or self._move(self._direction())

    def _finished(self) -> RelaxResult | None:
        assert self._at is not None
        steps, config = self._n_evaluations - 1, self._config
        if steps >= config.max_steps:
            return self._end(Status.STEP_LIMIT, f"not below {config.fmax} eV/angstrom after {steps} steps.")
        if config.hopeless_above is not None and steps >= config.hopeless_after:
            per_atom = self._at[1] / self._start.n_atoms
            if per_atom > config.hopeless_above:
                return self._end(Status.HOPELESS, f"still at {per_atom:.3f} eV/atom after {steps} steps.")
        return None

    def _direction(self) -> Rows:
        """Return the L-BFGS step from the accepted crystal; steepest descent without stored curvature."""
        assert self._at is not None
        gradient = self._at[2]
        q = gradient.copy()
        weights = []
        for step, change in reversed(self._pairs):
            weight = (step * q).sum() / (step * change).sum()
            weights.append(weight)
            q -= weight * change
        if self._pairs:
            step, change = self._pairs[-1]
            q *= (step * change).sum() / (change * change).sum()
        else:
            q /= FIRST_STIFFNESS
        for (step, change), weight in zip(self._pairs, reversed(weights), strict=True):
            q += step * (weight - (change * q).sum() / (step * change).sum())
        if (q * gradient).sum() <= 0:
            self._pairs.clear()
            return -gradient / FIRST_STIFFNESS
        return -q

    def _move(self, step: Rows) -> RelaxResult | None:
        """Make the crystal at the end of the step, limited to the largest length, the next to evaluate.

        Returns:
            None, or the result where that crystal is out of bounds.
        """
        assert self._at is not None
        origin = self._at[0]
        step = step * min(1.0, self._max_step / max(_longest(step), 1e-12))
        n_atoms = origin.n_atoms
        frac = origin.frac_coords + step[:n_atoms] @ np.linalg.inv(origin.lattice)
        try:
            moved = Crystal(origin.lattice @ (np.eye(3) + step[n_atoms:] / self._scale), frac, origin.atomic_numbers)
        except CrystalError as error:
            return self._end(Status.EXPLODED, str(error))
        problem = self._out_of_bounds(moved)
        if problem:
            return self._end(Status.EXPLODED, problem)
        keep_operations(origin, moved)
        self.crystal, self._step = moved, step
        return None

    def _out_of_bounds(self, crystal: Crystal) -> str:
        """Return a sentence on the bound that the crystal violates; empty where there is none."""
        config = self._config
        per_atom = crystal.volume / crystal.n_atoms
        if not config.volume_bounds[0] <= per_atom <= config.volume_bounds[1]:
            return f"the volume is {per_atom:.3g} cubic angstrom per atom."
        shortest, longest = plane_spacings(crystal.lattice).min(), np.linalg.norm(crystal.lattice, axis=1).max()
        if shortest < config.length_bounds[0] or longest > config.length_bounds[1]:
            return f"the cell is {shortest:.3g} angstrom thin and {longest:.3g} angstrom long."
        distance = shortest_distance(crystal.lattice, crystal.frac_coords, up_to=config.min_distance)
        if distance < config.min_distance:
            return f"two atoms are {distance:.2f} angstrom apart."
        return ""

    def _end(self, status: Status, reason: str) -> RelaxResult:
        crystal, energy, measure = self._best or (self._start, float("nan"), float("nan"))
        trajectory = Trajectory(tuple(self._energies), tuple(self._frames))
        return RelaxResult(
            crystal=crystal,
            energy=energy,
            status=status,
            n_steps=max(0, self._n_evaluations - 1),
            fmax=measure,
            reason=reason,
            start_energy=self._start_energy,
            trajectory=None if self._config.trajectory == "none" else trajectory,
            pressure=self._config.pressure,
        )


def _longest(rows: Rows) -> float:
    """Return the larger of the atoms' longest vector and the strain's largest principal value (the last three rows)."""
    atoms, strain = rows[:-3], rows[-3:]
    return float(max(np.sqrt((atoms * atoms).sum(axis=1).max()), np.abs(np.linalg.eigvalsh(strain)).max()))
