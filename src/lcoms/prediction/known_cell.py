"""A cell that the user knows, in any setting: which groups allow it, lattices to decode on, crystals that have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, volume
from lcoms.structure.same_lattice import has_cell, same_lattice
from lcoms.structure.symmetry import CENTRINGS, space_group_symbol
from lcoms.structure.wyckoff import primitive_basis, symmetric_cell, wyckoff_positions

Lattice = Float[NDArray[np.float64], "3 3"]
POSSIBLE = (0.5, 4.0)  # volume over that of the elements; of 1195 ground states all lie between 0.75 and 3.2
USUAL = (0.65, 2.6)  # nearly all of them
LARGEST_CENTRING = 4
OF_RELAXATION = 0.03  # by which relaxed cells err, relative; more in layered crystals
BEFORE_RELAXATION = 0.08  # by which a decoded cell may differ more than the tolerance, relative
BODY_CENTRED = 71  # a group with the primitive vectors of a body-centred cell
MOST_TOLERANCE = 0.2


@dataclass(frozen=True)
class KnownCell:
    """Lengths and angles of a cell that a crystal has, primitive or conventional.

    Attributes:
        parameters: three lengths in angstrom and three angles in degrees.
        tolerance: of lengths, relative, and of angles, in radians.
    """

    parameters: tuple[float, float, float, float, float, float]
    tolerance: float

    @cached_property
    def lattice(self) -> Lattice:
        """(3, 3) rows in angstrom."""
        return lattice_from_parameters(np.array(self.parameters[:3]), np.array(self.parameters[3:]))

    @property
    def volume(self) -> float:
        """Cubic angstrom."""
        return float(volume(self.lattice))

    def units(self, composition: Composition, *, usual: bool = False) -> tuple[int, ...]:
        """Numbers of formula units that such a cell may hold, by the volumes of the elements."""
        low, high = USUAL if usual else POSSIBLE
        one = composition.reduced.usual_volume
        least, most = int(np.ceil(self.volume / (high * one))), int(self.volume / (low * one))
        return tuple(range(max(1, least), most + 1))

    def primitive_units(self, composition: Composition, *, usual: bool = False) -> tuple[int, ...]:
        """The same of the primitive cell, whichever of the centrings the lattice has."""
        cells = self.units(composition, usual=usual)
        found = {units // n for n in set(CENTRINGS.values()) for units in cells if units % n == 0}
        return tuple(sorted(found))

    def lattices(self, group: int) -> list[Lattice]:
        """Primitive lattices of a space group that are those of this cell within the tolerance; none: it cannot be."""
        return list(_lattices(self, group))

    def lattices_of(self, group: int, composition: Composition) -> list[Lattice]:
        """Those of the lattices whose volume is usual for a primitive cell of these contents."""
        one = composition.reduced.usual_volume * composition.n_formula_units
        return [lattice for lattice in _lattices(self, group) if USUAL[0] <= float(volume(lattice)) / one <= USUAL[1]]

    def fits(self, crystal: Crystal, *, relaxed: bool) -> bool:
        """Whether a crystal, given by its primitive cell, has this cell but for errors of relaxations or decodes."""
        return has_cell(crystal, self.lattice, self.tolerance + (OF_RELAXATION if relaxed else BEFORE_RELAXATION))


def read_cell(text: str) -> tuple[float, ...]:
    """Lengths and angles as they are typed: six numbers with spaces or commas between.

    Raises:
        ConfigError: they are not six numbers.
    """
    parts = text.replace(",", " ").split()
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != 6:
        raise ConfigError(
            f"{text!r} is not a cell; give three lengths in angstrom and three angles in degrees, such as "
            '"5.4 7.6 5.3 90 90 90".'
        )
    return numbers


def check_cell(parameters: tuple[float, ...], tolerance: float) -> None:
    """Whether such a cell can be.

    Raises:
        ConfigError: a number is out of its range, or the angles close no cell.
    """
    said = " ".join(f"{number:g}" for number in parameters)
    if not all(0.5 <= length <= 1000 for length in parameters[:3]):
        raise ConfigError(f"cell {said}: lengths are in angstrom and must lie between 0.5 and 1000.")
    if not all(5 <= angle <= 175 for angle in parameters[3:]):
        raise ConfigError(f"cell {said}: angles are in degrees and must lie between 5 and 175.")
    alpha, beta, gamma = parameters[3:]
    sums = alpha + beta + gamma < 360 and all(2 * angle < alpha + beta + gamma for angle in (alpha, beta, gamma))
    if not sums or not is_valid_lattice(lattice_from_parameters(np.array(parameters[:3]), np.array(parameters[3:]))):
        raise ConfigError(f"cell {said}: no cell has these three angles; check them.")
    if not 0 < tolerance <= MOST_TOLERANCE:
        raise ConfigError(f"cell_tolerance must lie between 0 and {MOST_TOLERANCE}, relative, not {tolerance}.")


@lru_cache(maxsize=512)
def _lattices(cell: KnownCell, group: int) -> tuple[Lattice, ...]:
    contents = symmetric_cell(group, ((next(reversed(wyckoff_positions(group))), 1),))
    return tuple(
        fit.lattice
        for target in _settings(cell.lattice, group)
        for fit in fitting_lattices(contents, target, n=4)
        if same_lattice(fit.lattice, target, cell.tolerance)
    )


def _settings(lattice: Lattice, group: int) -> list[Lattice]:
    """The primitive cells that a cell may stand for: itself, or what the centring of a group leaves of it."""
    letter = space_group_symbol(group)[0]
    if letter == "P":
        return [lattice]
    bases = [primitive_basis(group)]
    if letter in "ABC":
        bases.append(primitive_basis(BODY_CENTRED))  # I2/c for C2/c
    centred = [basis @ lattice[list(order)] for basis in bases for order in permutations(range(3))]
    apart: list[Lattice] = []
    for one in [*centred, lattice]:
        if not any(same_lattice(one, other, 1e-4) for other in apart):
            apart.append(one)
    return apart
