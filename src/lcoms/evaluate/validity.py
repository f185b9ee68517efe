"""The validity filter of published match rates: SMACT composition, shortest distance and volume (CDVAE, DiffCSP)."""

from __future__ import annotations

import warnings
from functools import lru_cache

from lcoms.core.errors import DataError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import shortest_distance

MIN_DISTANCE = 0.5  # angstrom; the usual criterion for a valid crystal
MIN_VOLUME = 0.1  # cubic angstrom; smallest allowed volume of the cell
OXIDATION_STATES = "smact14"
"""SMACT's table at the time of the published results; its default has changed since."""


def invalid_because(crystal: Crystal) -> str:
    """Return why a crystal does not pass the filter; empty if it passes.

    Distances to periodic images of the same atom are included.

    Raises:
        DataError: smact is not installed.
    """
    if crystal.volume < MIN_VOLUME:
        return f"volume below {MIN_VOLUME} angstrom^3"
    if shortest_distance(crystal.lattice, crystal.frac_coords, up_to=2 * MIN_DISTANCE) < MIN_DISTANCE:
        return f"atoms closer than {MIN_DISTANCE} angstrom"
    if not is_plausible(crystal.composition.reduced):
        return "composition fails SMACT"
    return ""


@lru_cache(maxsize=4096)
def is_plausible(composition: Composition) -> bool:
    """Return SMACT's verdict: an element, an alloy of metals, or neutral with more electronegative elements as anions.

    Raises:
        DataError: smact is not installed.
    """
    try:
        from smact.screening import smact_validity
    except ImportError as error:
        raise DataError("smact is not installed; type: pip install smact") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(smact_validity(composition.reduced_formula, oxidation_states_set=OXIDATION_STATES))
