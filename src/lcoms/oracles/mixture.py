"""The mixture of phases of lowest energy at a composition, by linear programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Composition


def lowest_mixture(
    composition: Composition, phases: Sequence[Composition], energies: Sequence[float]
) -> tuple[float, Float[NDArray[np.float64], " n"]]:
    """Return the energy (eV/atom) of the lowest mixture with a composition, and the share of each phase in its atoms.

    It minimises the sum of share times energy, with shares that are not negative and add up to the composition.

    Args:
        phases: n compositions without other elements, among them a phase of each element.
        energies: of each phase, eV/atom.
    """
    from scipy.optimize import linprog

    elements = composition.atomic_numbers
    fractions = np.stack([_fractions(phase, elements) for phase in phases], axis=1)
    found = linprog(energies, A_eq=fractions, b_eq=_fractions(composition, elements), method="highs")
    return float(found.fun), np.asarray(found.x)


def _fractions(phase: Composition, elements: Sequence[int]) -> Float[NDArray[np.float64], " n_elements"]:
    """Return the fractions of a phase's atoms that are each of these elements."""
    counts = dict(zip(phase.atomic_numbers, phase.counts, strict=True))
    return np.array([counts.get(z, 0) / phase.n_atoms for z in elements])
