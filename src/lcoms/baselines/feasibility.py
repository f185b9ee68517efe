"""Which proposed crystals are evaluated: the rules of GN-OA (Cheng, Gong & Yin, Nat. Commun. 13, 1492, 2022).

Atoms are not too close, the volume is near that of touching spheres, and no wide gap runs through the crystal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import pi

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import covalent_radius

PACKING = 0.55  # fraction of the cell filled by spheres of the covalent radii
LINES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1],
     [1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]], dtype=np.float64
)  # fmt: skip
"""Axes, face diagonals and body diagonals of the cell."""
_TWICE = np.array(list(product((0, 1), repeat=3)), dtype=np.float64)

TOO_DENSE, TOO_EMPTY, TOO_CLOSE, GAP = "volume too small", "volume too large", "atoms too close", "gap too wide"


@dataclass(frozen=True)
class FeasibilityConfig:
    """Bounds of feasible crystals.

    Attributes:
        closest: smallest distance between two atoms over the sum of their covalent radii. As in the original, an atom
            and its own images do not count as a pair.
        volume: smallest and largest volume relative to a cell of which spheres of the covalent radii fill 0.55.
        gap: angstrom; the widest gap between atoms projected onto 13 lines through the cell.

    Raises:
        ConfigError: a value is out of range.
    """

    closest: float = 0.4
    volume: tuple[float, float] = (0.4, 2.4)
    gap: float = 7.0

    def __post_init__(self) -> None:
        if self.closest < 0 or self.gap <= 0 or not 0 <= self.volume[0] < self.volume[1]:
            raise ConfigError("closest and gap must be positive, and volume two positive numbers, the smaller first.")


def infeasibility(crystal: Crystal, config: FeasibilityConfig) -> str:
    """Return the first rule that a crystal breaks, in a few words; empty where it breaks none."""
    radii = np.array([covalent_radius(int(z)) for z in crystal.atomic_numbers])
    ratio = crystal.volume / (4 / 3 * pi * float((radii**3).sum()) / PACKING)
    if not config.volume[0] <= ratio <= config.volume[1]:
        return TOO_DENSE if ratio < config.volume[0] else TOO_EMPTY
    if widest_gap(crystal) > config.gap:
        return GAP
    return TOO_CLOSE if _too_close(crystal, config.closest * radii) else ""


def widest_gap(crystal: Crystal) -> float:
    """Return the widest gap (angstrom) between neighbouring atoms of a 2 x 2 x 2 supercell projected onto lines."""
    coords = ((crystal.frac_coords[None] + _TWICE[:, None]).reshape(-1, 3)) @ crystal.lattice
    lines = LINES @ crystal.lattice
    along = coords @ (lines / np.linalg.norm(lines, axis=1, keepdims=True)).T
    return float(np.diff(np.sort(along, axis=0), axis=0).max())


def _too_close(crystal: Crystal, radii: Float[NDArray[np.float64], " n"]) -> bool:
    """Return whether two different atoms are closer than the sum of their radii, in any image."""
    from ase.geometry import get_distances

    if crystal.n_atoms == 1:
        return False
    _, distances = get_distances(crystal.cart_coords, cell=crystal.lattice, pbc=True)
    first, second = np.triu_indices(crystal.n_atoms, k=1)
    return bool((distances[first, second] < radii[first] + radii[second]).any())
