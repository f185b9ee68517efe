"""Options and results of a relaxation, and their conversion to JSON, which preserves every number to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from lcoms.core.bounds import require
from lcoms.core.errors import OptionError
from lcoms.structure.crystal import Crystal, crystal_from_dict, crystal_to_dict

GIGAPASCAL = 0.006241509074  # eV/angstrom^3
MOST_PRESSURE = 500.0  # GPa
TRAJECTORIES = ("none", "energies", "frames")


class Status(StrEnum):
    """How a relaxation ended."""

    CONVERGED = "converged"
    STEP_LIMIT = "step limit"
    EXPLODED = "exploded"
    ORACLE_FAILED = "oracle failed"
    HOPELESS = "hopeless"
    WORKER_DIED = "worker died"


def require_pressure(pressure: float) -> None:
    """Check a pressure in GPa.

    Raises:
        OptionError: it is negative, not a number, or too high for any energy model.
    """
    if not 0 <= pressure <= MOST_PRESSURE:
        raise OptionError(f"{{}} must be between 0 and {MOST_PRESSURE:g} GPa, not {{value:g}}.", ["pressure"], pressure)


@dataclass(frozen=True)
class RelaxConfig:
    """When a relaxation ends, and how far it may go.

    Attributes:
        fmax: eV/angstrom; the largest force on an atom, and the largest principal stress times the volume over the
            number of atoms (in eV), must both fall below it. ASE's UnitCellFilter applies the same limit to the rows of
            the stress, which are never longer.
        max_steps: largest number of moves.
        pressure: eV/angstrom^3; the enthalpy E + pV is minimised instead of the energy.
        fixed_cell: whether only the atoms move; stresses are then ignored.
        max_step: angstrom; largest displacement of an atom in one step.
        trajectory: "none", "energies" of each step, or also "frames".
        hopeless_above: eV/atom; a crystal still above it after `hopeless_after` steps is given up. None: never.
        hopeless_after: number of steps.
        min_distance: angstrom; a crystal with closer atoms has exploded.
        volume_bounds: smallest and largest volume, in cubic angstrom per atom.
        length_bounds: smallest distance between lattice planes and largest length of a lattice vector, in angstrom.

    Raises:
        ConfigError: a value is out of range.
    """

    fmax: float = 0.05
    max_steps: int = 500
    max_step: float = 0.3
    pressure: float = 0.0
    fixed_cell: bool = False
    trajectory: Literal["none", "energies", "frames"] = "none"
    hopeless_above: float | None = None
    hopeless_after: int = 30
    min_distance: float = 0.5
    volume_bounds: tuple[float, float] = (1.0, 500.0)
    length_bounds: tuple[float, float] = (0.5, 200.0)

    def __post_init__(self) -> None:
        for name in ("fmax", "max_step", "min_distance"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise OptionError("{} must be a positive number, not {value}.", [name], getattr(self, name))
        require(self, not_negative=["max_steps", "hopeless_after", "pressure"])
        if math.isinf(self.pressure):
            raise OptionError("{} must be finite.", ["pressure"])
        if self.trajectory not in TRAJECTORIES:
            sentence = f"{{}} must be {', '.join(TRAJECTORIES)}, not {{value!r}}."
            raise OptionError(sentence, ["trajectory"], self.trajectory)
        for name in ("volume_bounds", "length_bounds"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise OptionError("{} must be two positive numbers, the smaller first.", [name])


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The path of one crystal, the start first.

    Attributes:
        energies: eV, at each evaluation, including rejected steps.
        frames: evaluated crystals; empty unless requested.
    """

    energies: tuple[float, ...]
    frames: tuple[Crystal, ...] = ()


@dataclass(frozen=True, eq=False)
class RelaxResult:
    """The result for one crystal.

    Attributes:
        crystal: relaxed crystal; if it did not converge, the crystal of lowest energy on the path, or else the start.
        energy: eV per cell of `crystal`, under pressure the enthalpy; NaN where the oracle gave none.
        status: how the relaxation ended.
        n_steps: number of moves.
        fmax: eV/angstrom, the quantity limited by `RelaxConfig.fmax`, at `crystal`; NaN where unknown.
        reason: explanation where the status is not "converged".
        start_energy: eV per cell of the start, under pressure the enthalpy; NaN where unknown.
        trajectory: None unless requested; its energies are also enthalpies under pressure.
        pressure: eV/angstrom^3.
    """

    crystal: Crystal
    energy: float
    status: Status
    n_steps: int
    fmax: float
    reason: str = ""
    start_energy: float = math.nan
    trajectory: Trajectory | None = None
    pressure: float = 0.0

    @property
    def converged(self) -> bool:
        return self.status is Status.CONVERGED

    @property
    def usable(self) -> bool:
        """Whether the crystal can be ranked."""
        return self.status in (Status.CONVERGED, Status.STEP_LIMIT) and math.isfinite(self.energy)

    @property
    def energy_per_atom(self) -> float:
        return self.energy / self.crystal.n_atoms

    @property
    def without_pressure(self) -> float:
        """The energy E without pV, eV/atom."""
        return (self.energy - self.pressure * self.crystal.volume) / self.crystal.n_atoms

    @classmethod
    def without_energy(cls, crystal: Crystal, status: Status, reason: str) -> RelaxResult:
        """Return the result of a crystal for which there is no energy."""
        return cls(crystal, math.nan, status, 0, math.nan, reason)


def result_to_dict(result: RelaxResult) -> dict[str, Any]:
    """Return a result as a JSON-compatible dict, without loss of precision; NaN becomes None."""
    content: dict[str, Any] = {
        "crystal": crystal_to_dict(result.crystal),
        "energy": _number(result.energy),
        "status": result.status.value,
        "n_steps": result.n_steps,
        "fmax": _number(result.fmax),
        "reason": result.reason,
        "start_energy": _number(result.start_energy),
    }
    if result.pressure:
        content["pressure"] = result.pressure
    if result.trajectory is not None:
        content["energies"] = list(result.trajectory.energies)
        content["frames"] = [crystal_to_dict(frame) for frame in result.trajectory.frames]
    return content


def result_from_dict(content: dict[str, Any]) -> RelaxResult:
    """Return the result of a dict from `result_to_dict`."""
    trajectory = None
    if "energies" in content:
        frames = tuple(crystal_from_dict(frame) for frame in content["frames"])
        trajectory = Trajectory(tuple(content["energies"]), frames)
    energy, fmax, start = (
        math.nan if content[name] is None else float(content[name]) for name in ("energy", "fmax", "start_energy")
    )
    crystal, status = crystal_from_dict(content["crystal"]), Status(content["status"])
    steps, reason, pressure = int(content["n_steps"]), content["reason"], float(content.get("pressure", 0.0))
    return RelaxResult(crystal, energy, status, steps, fmax, reason, start, trajectory, pressure)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
