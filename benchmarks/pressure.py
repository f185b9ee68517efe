"""Pressures of known phase transitions by an energy model, compared with measured ones.

    python benchmarks/pressure.py --out benchmarks/results/pressure.json

Both phases are relaxed at each pressure of a grid; the transition is where their enthalpies H = E + pV cross
(equivalent to the common tangent of the energies as functions of volume). The sign is correct if the low-pressure phase
has the lower enthalpy at zero pressure, and the other one above the crossing. dH/dp = V is checked by finite
differences on the grid.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lcoms import __version__
from lcoms.core.disk import write_whole
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.prediction.pressure import LEARNED_RATIO
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.relax.result import GIGAPASCAL
from lcoms.structure.crystal import Crystal

FMAX = 0.002
WITHIN = 0.02
GRID = 17  # number of pressures from zero to twice the measured one plus 10 GPa


@dataclass(frozen=True)
class Transition:
    """A pressure-induced transition.

    Attributes:
        measured: measured pressure at room temperature, GPa.
        source: of the measured value.
    """

    name: str
    low: Crystal
    high: Crystal
    measured: float
    source: str


def _cubic(a: float, vectors: list[list[float]], numbers: list[int], frac: list[list[float]]) -> Crystal:
    return Crystal(a / 2 * np.array(vectors, dtype=float), np.array(frac, dtype=float), np.array(numbers))


def _face_centred(a: float, numbers: list[int], shift: float) -> Crystal:
    return _cubic(a, [[0, 1, 1], [1, 0, 1], [1, 1, 0]], numbers, [[0, 0, 0], [shift, shift, shift]])


def _caesium_chloride(a: float, numbers: list[int]) -> Crystal:
    return _cubic(a, [[2, 0, 0], [0, 2, 0], [0, 0, 2]], numbers, [[0, 0, 0], [0.5, 0.5, 0.5]])


def _wurtzite(a: float, c: float, numbers: list[int]) -> Crystal:
    lattice = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    frac = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]]
    return Crystal(lattice, np.array(frac), np.array([numbers[0]] * 2 + [numbers[1]] * 2))


def _beta_tin(a: float, c: float, number: int) -> Crystal:
    lattice = np.array([[-a, a, c], [a, -a, c], [a, a, -c]]) / 2
    return Crystal(lattice, np.array([[0.125, 0.875, 0.25], [0.875, 0.125, 0.75]]), np.array([number] * 2))


TRANSITIONS = (
    Transition("NaCl B1-B2", _face_centred(5.64, [11, 17], 0.5), _caesium_chloride(3.2, [11, 17]), 30.0,
               "Bassett et al., J. Appl. Phys. 39, 319 (1968)"),
    Transition("KCl B1-B2", _face_centred(6.29, [19, 17], 0.5), _caesium_chloride(3.7, [19, 17]), 2.0,
               "Bridgman, Proc. Am. Acad. Arts Sci. 76, 1 (1945)"),
    Transition("CaO B1-B2", _face_centred(4.81, [20, 8], 0.5), _caesium_chloride(2.7, [20, 8]), 60.0,
               "Jeanloz et al., Science 206, 829 (1979)"),
    Transition("ZnO B4-B1", _wurtzite(3.25, 5.2, [30, 8]), _face_centred(4.28, [30, 8], 0.5), 9.1,
               "Desgreniers, Phys. Rev. B 58, 14102 (1998)"),
    Transition("Si diamond-beta-tin", _face_centred(5.43, [14, 14], 0.25), _beta_tin(4.69, 2.58, 14), 11.7,
               "McMahon and Nelmes, Phys. Rev. B 47, 8337 (1993)"),
)  # fmt: skip


def measure(transition: Transition, oracle: EnergyOracle) -> dict[str, Any]:
    """Return the enthalpies of both phases on the grid, and where they cross."""
    grid = np.linspace(0.0, 2 * transition.measured + 10, GRID)
    phases = {"low": transition.low, "high": transition.high}
    enthalpies, volumes = {}, {}
    for name, crystal in phases.items():
        enthalpies[name], volumes[name] = _along(crystal, grid, oracle)
    gap = enthalpies["high"] - enthalpies["low"]
    crossing = _crossing(grid, gap)
    ratio = {name: volumes[name] / volumes["low"][0] for name in phases}
    slopes = np.concatenate([_slope_errors(grid, enthalpies[name], volumes[name]) for name in phases])
    below = np.nonzero(ratio["low"] < LEARNED_RATIO)[0]
    return {
        "transition": transition.name,
        "measured_GPa": transition.measured,
        "source": transition.source,
        "predicted_GPa": None if crossing is None else round(crossing, 2),
        "sign_is_right": bool(gap[0] > 0 and crossing is not None and gap[-1] < 0),
        "gap_at_zero": round(float(gap[0]), 4),
        "median_dH_dp_off_V": round(float(np.median(slopes)), 5),
        "steps_within_2_percent": f"{(slopes < WITHIN).sum()} of {len(slopes)}",
        "beyond_learned_from_GPa": None if not len(below) else round(float(grid[below[0]]), 1),
        "pressures_GPa": grid.round(3).tolist(),
        "gap": gap.round(5).tolist(),
        "volume_ratio_low": ratio["low"].round(4).tolist(),
        "volume_ratio_high": ratio["high"].round(4).tolist(),
    }


def _along(crystal: Crystal, grid: np.ndarray, oracle: EnergyOracle) -> tuple[np.ndarray, np.ndarray]:
    """Return enthalpy (eV/atom) and volume (cubic angstrom/atom) at each pressure, each from the last relaxed cell."""
    enthalpies, volumes = [], []
    for pressure in grid:
        config = RelaxConfig(fmax=FMAX, pressure=float(pressure) * GIGAPASCAL)
        (result,) = relax_crystals([crystal], oracle, config)
        crystal = result.crystal
        enthalpies.append(result.energy_per_atom)
        volumes.append(crystal.volume / crystal.n_atoms)
    return np.array(enthalpies), np.array(volumes)


def _crossing(grid: np.ndarray, gap: np.ndarray) -> float | None:
    """Return where the gap first changes sign from above, interpolated between the points of the grid."""
    at = np.nonzero((gap[:-1] > 0) & (gap[1:] <= 0))[0]
    if not len(at):
        return None
    i = int(at[0])
    return float(grid[i] + (grid[i + 1] - grid[i]) * gap[i] / (gap[i] - gap[i + 1]))


def _slope_errors(grid: np.ndarray, enthalpies: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Return the relative difference between dH/dp and the mean volume of neighbours; large if a crystal transforms."""
    slopes = np.diff(enthalpies) / (np.diff(grid) * GIGAPASCAL)
    return np.asarray(np.abs(slopes / ((volumes[1:] + volumes[:-1]) / 2) - 1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", action="append", help="such as chgnet:r2scan; repeatable")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for name in given.oracle or [DEFAULT_ORACLE]:
        oracle = make_oracle(name)
        for transition in TRANSITIONS:
            row = {"oracle": name, **measure(transition, oracle)}
            rows.append(row)
            print(
                f"{name}  {row['transition']:<20} measured {row['measured_GPa']:>5} GPa  by the model "
                f"{row['predicted_GPa']} GPa  sign {'right' if row['sign_is_right'] else 'wrong'}  "
                f"dH/dp off V by {row['median_dH_dp_off_V']:.2%}, {row['steps_within_2_percent']} steps within 2 %  "
                f"beyond from {row['beyond_learned_from_GPa']} GPa"
            )
    if given.out is not None:
        write_whole(given.out, json.dumps({"lcoms_version": __version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
