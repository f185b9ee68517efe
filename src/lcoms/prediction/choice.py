"""Which decoded crystals are worth a relaxation: those of low energy and high probability before it.

A few evaluations by the energy model suffice: the known crystal is nearly always among the five lowest
(`benchmarks/relaxations.py`), so that most relaxations can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log
from typing import NamedTuple

import numpy as np

from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.pressure import LEAST_MODULUS, MOST_MODULUS, compressed, scaled
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import RelaxationSpec
from lcoms.prediction.stages import Decoded
from lcoms.relax.result import GIGAPASCAL
from lcoms.structure.crystal import Crystal
from lcoms.structure.operations import keep_operations

FAR = 5.0  # GPa; below it, the energy gained by scaling the volume is about 0.01 eV/atom
STEPS = 3  # evaluated volumes of a crystal, without the last
USUAL_MODULUS = 60.0  # GPa, of an expanded crystal
LARGEST_CHANGE = 0.25  # of the logarithm of the volume, in one step


class Choice(NamedTuple):
    """The crystals to relax, and the number of energy evaluations that their choice took."""

    crystals: list[Decoded]
    n_evaluations: int


def worth_relaxing(decoded: DecodedSet, oracle: EnergyOracle, weights: ScoreWeights, spec: RelaxationSpec) -> Choice:
    """Return the crystals to relax: the best ones, those taken directly, and the random symmetric ones.

    The best are those within `spec.window` of the lowest score, at least `spec.n_least` and at most `spec.n_relax`.
    The lowest score is that of a crystal on the exact sites of a template, if there is one: the energy of a crystal
    that was decoded badly can be far too low.

    Args:
        weights: of the score before relaxation.
    """
    scores, n_evaluations = scores_unrelaxed(decoded.crystals, oracle, weights, spec)
    exact = [score for one, score in zip(decoded.crystals, scores, strict=True) if one.is_exact]
    highest = min(exact or scores, default=inf) + spec.window
    order = sorted(range(len(scores)), key=scores.__getitem__)[: spec.n_relax]
    chosen = {at for place, at in enumerate(order) if place < spec.n_least or scores[at] <= highest}
    best = [one for at, one in enumerate(decoded.crystals) if at in chosen]
    return Choice([*best, *decoded.direct, *decoded.random_symmetric], n_evaluations)


def scores_unrelaxed(
    crystals: Sequence[Decoded], oracle: EnergyOracle, weights: ScoreWeights, spec: RelaxationSpec
) -> tuple[list[float], int]:
    """Return the score of each crystal before relaxation, eV/atom, and the number of energy evaluations.

    The score is infinite if the energy model fails.

    The energy is the lowest at several volumes: templates can have volumes that are far too large for other elements.
    """
    made = compressed([one.crystal for one in crystals], oracle, spec.pressure)
    energies, n_evaluations = lowest_at_volumes(made, oracle, spec.config.pressure)
    pairs = zip(energies, crystals, strict=True)
    return [weights.score(energy, one) if isfinite(energy) else inf for energy, one in pairs], n_evaluations


def lowest_at_volumes(crystals: Sequence[Crystal], oracle: EnergyOracle, pressure: float) -> tuple[list[float], int]:
    """Return the lowest energy of each crystal as its volume is scaled to the pressure, and the number of evaluations.

    Energies are in eV/atom. Crystals whose own pressure is near it are not scaled. The first step assumes a usual bulk
    modulus, the others that between the last two volumes.

    Args:
        pressure: eV/angstrom^3.
    """
    lowest, n_evaluations = [inf] * len(crystals), 0
    states = {at: _Volume(crystal, USUAL_MODULUS) for at, crystal in enumerate(crystals)}
    for _ in range(STEPS):
        found = evaluate_all(oracle, [state.crystal for state in states.values()])
        n_evaluations += len(found)
        following = {}
        for (at, state), result in zip(states.items(), found, strict=True):
            energy = result.at_pressure(state.crystal.volume, pressure).energy / state.crystal.n_atoms
            excess = -float(np.trace(result.stress)) / 3 / GIGAPASCAL - pressure / GIGAPASCAL
            if not isfinite(energy) or not isfinite(excess) or energy > lowest[at]:
                continue
            lowest[at] = energy
            if abs(excess) > FAR:
                following[at] = state.towards(excess)
        states = following
    last = [state.crystal for state in states.values()]  # no further step follows from their stress
    for at, crystal, energy in zip(states, last, oracle.energies(last), strict=True):
        enthalpy = (energy + pressure * crystal.volume) / crystal.n_atoms
        lowest[at] = min(lowest[at], enthalpy) if isfinite(enthalpy) else lowest[at]
    return lowest, n_evaluations + len(last)


@dataclass(frozen=True)
class _Volume:
    """A crystal on the way to the volume at which it has no excess pressure.

    Attributes:
        modulus: bulk modulus, GPa.
        before: excess pressure (GPa) and volume of the step before.
    """

    crystal: Crystal
    modulus: float
    before: tuple[float, float] | None = None

    def towards(self, excess: float) -> _Volume:
        """Return the next step; `excess` is the pressure above the wanted one, GPa."""
        volume, modulus = self.crystal.volume, self.modulus
        if self.before is not None:
            measured = (excess - self.before[0]) / log(self.before[1] / volume)
            modulus = min(max(measured, LEAST_MODULUS), MOST_MODULUS)
        change = min(max(-excess / modulus, -LARGEST_CHANGE), LARGEST_CHANGE)
        following = scaled(self.crystal, exp(-change))
        keep_operations(self.crystal, following)
        return _Volume(following, modulus, (excess, volume))
