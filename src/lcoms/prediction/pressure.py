"""Prediction under pressure: ranking by enthalpy H = E + pV, of crystals that are compressed before relaxation.

Everything fitted at zero pressure (the weights of the score, the order of known crystals, the stated probability) is
not used there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median

import numpy as np

from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.prediction.stages import Candidate
from lcoms.relax.result import GIGAPASCAL
from lcoms.structure.crystal import Crystal

STRAIN = 0.03  # relative change of the volume between the two stresses that give a bulk modulus
DERIVATIVE = 4.0  # pressure derivative of the bulk modulus of most solids (Murnaghan 1944)
LEAST_MODULUS, MOST_MODULUS = 3.0, 600.0  # GPa
LEAST_RATIO = 0.5  # smallest volume before relaxation relative to that at zero pressure
LEARNED_RATIO = 0.78
"""Of the 13,191 training crystals within 0.1 eV/atom of the lowest one of their composition, 99 % have more than this
fraction of its volume per atom, as have 99 % of the 3,017 that are known from experiment."""
TOLD = 3  # top candidates that are reported


def compressed(crystals: Sequence[Crystal], oracle: EnergyOracle | None, pressure: float) -> list[Crystal]:
    """Return crystals with their volumes scaled to a pressure by Murnaghan's equation.

    The bulk modulus of each comes from the oracle's stresses at two volumes; if it is unreasonable, the median of the
    others is used. If all are, the crystals are returned unchanged, and only the relaxation compresses them.

    Args:
        pressure: GPa.
    """
    if oracle is None or not pressure or not crystals:
        return list(crystals)
    slightly = [scaled(crystal, 1 - STRAIN) for crystal in crystals]
    found = evaluate_all(oracle, [*crystals, *slightly])
    pressures = [-float(np.trace(one.stress)) / 3 / GIGAPASCAL for one in found]
    before, after = pressures[: len(crystals)], pressures[len(crystals) :]
    moduli = [(high - low) / STRAIN * (1 - STRAIN / 2) for low, high in zip(before, after, strict=True)]
    usable = [one for one in moduli if LEAST_MODULUS <= one <= MOST_MODULUS]
    if not usable:
        return list(crystals)
    usual = median(usable)
    return [
        scaled(crystal, _ratio(pressure - min(own, pressure), modulus if modulus in usable else usual))
        if isfinite(own)
        else crystal
        for crystal, own, modulus in zip(crystals, before, moduli, strict=True)
    ]


def compression(candidate: Candidate, candidates: Sequence[Candidate]) -> float:
    """Return the volume per atom of a relaxed candidate relative to the median of all before relaxation."""
    volumes = [c.decoded.crystal.volume / c.decoded.crystal.n_atoms for c in candidates]
    return candidate.crystal.volume / candidate.crystal.n_atoms / median(volumes)


def pressure_sentences(candidates: Sequence[Candidate], pressure: float) -> list[str]:
    """Return the remarks on a prediction at a pressure (GPa), one sentence each."""
    said = [
        (
            f"At {pressure:g} GPa candidates are ranked by enthalpy alone; no probability is stated, since it is "
            "calibrated at zero pressure. Energies of known crystals above the hull refer to zero pressure."
        )
    ]
    ratios = {rank: compression(c, candidates) for rank, c in enumerate(candidates[:TOLD], 1) if c.is_relaxed}
    far = {rank: ratio for rank, ratio in ratios.items() if ratio < LEARNED_RATIO}
    if far:
        rank, ratio = min(far.items(), key=lambda item: item[1])
        said.append(
            f"Rank {rank} is compressed to {ratio:.0%} of its volume at zero pressure, outside the training range of "
            f"the models: 99 % of the training crystals have more than {LEARNED_RATIO:.0%} of the volume of the lowest "
            "crystal of their composition. Treat its enthalpy with caution."
        )
    return said


def _ratio(pressure: float, modulus: float) -> float:
    """Return the volume at a pressure relative to zero pressure (Murnaghan 1944), at least LEAST_RATIO."""
    return max(LEAST_RATIO, (1 + DERIVATIVE * pressure / modulus) ** (-1 / DERIVATIVE))


def scaled(crystal: Crystal, ratio: float) -> Crystal:
    """Return a crystal with its volume multiplied by a ratio."""
    return Crystal(crystal.lattice * ratio ** (1 / 3), crystal.frac_coords, crystal.atomic_numbers)
