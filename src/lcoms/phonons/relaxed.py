"""Relaxation of a crystal to the energy minimum within its symmetry, before its vibrations are computed."""

from __future__ import annotations

from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle
from lcoms.relax import RelaxConfig, RelaxResult, Status, relax_crystals
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import RELAXED_SYMPREC, primitive_standard, same_space_group

FMAX = 0.005  # eV/angstrom
MAX_STEPS = 400  # of a relaxation within the symmetry


def relaxed_in_symmetry(crystal: Crystal, oracle: EnergyOracle) -> Crystal:
    """Return the relaxed primitive cell with the crystal's exact symmetry, which forces preserve except for noise.

    Raises:
        OracleError: the oracle cannot handle the crystal, no minimum is found, or the crystal leaves its symmetry.
    """
    start = primitive_standard(crystal, symprec=RELAXED_SYMPREC)
    result = relax_crystals([start.crystal], oracle, RelaxConfig(fmax=FMAX, max_steps=MAX_STEPS))[0]
    formula = crystal.composition.formula
    if result.status not in (Status.CONVERGED, Status.STEP_LIMIT):
        raise OracleError(f"{formula}: the relaxation ends with {result.status.value}: {_reason(result)}")
    end = primitive_standard(result.crystal, symprec=RELAXED_SYMPREC)
    if not same_space_group(end.space_group, start.space_group) and end.space_group < start.space_group:
        raise OracleError(
            f"{formula}: the relaxation leaves space group {start.space_group} for {end.space_group}; "
            "the crystal is unstable as it is, use --no-relax to see its soft modes."
        )
    return end.crystal


def _reason(result: RelaxResult) -> str:
    return result.reason or "no reason given."
