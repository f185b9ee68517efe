"""Random crystals of a composition: starting structures of the paper and of every random search."""

from __future__ import annotations

import numpy as np

from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import covalent_radius
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, shortest_distance, volume

MAX_DRAWS = 200
CLOSEST = 0.75  # target for the shortest distance over twice the smallest covalent radius


def random_crystal(composition: Composition, random: np.random.Generator, *, volume_spread: float = 0.2) -> Crystal:
    """Return a random cell of about the typical volume with randomly placed atoms, without short distances if possible.

    Lengths are log-normal, angles uniform between 60 and 120 degrees. Of up to 200 draws the first without short
    distances is returned, otherwise the one with the longest shortest distance.

    Args:
        composition: contents of the cell.
        volume_spread: standard deviation of the logarithm of the volume.
    """
    aim = 2 * CLOSEST * min(covalent_radius(z) for z in composition.atomic_numbers)
    best: tuple[float, Crystal] | None = None
    for _ in range(MAX_DRAWS):
        lattice = lattice_from_parameters(np.exp(random.normal(0, 0.25, 3)), random.uniform(60, 120, 3))
        if not is_valid_lattice(lattice):
            continue
        target = composition.usual_volume * np.exp(random.normal(0, volume_spread))
        lattice = lattice * np.cbrt(target / volume(lattice))
        frac_coords = random.random((composition.n_atoms, 3))
        distance = shortest_distance(lattice, frac_coords)
        if best is None or distance > best[0]:
            best = (distance, Crystal(lattice, frac_coords, composition.expand()))
        if distance >= aim:
            break
    assert best is not None, "200 random cells without a volume cannot happen"
    return best[1]
