"""A cell that the user knows, in any setting: groups that allow it, lattices to decode on, crystals that have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError, OptionError
from lcoms.core.numerals import real
from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, volume
from lcoms.structure.same_lattice import has_cell, same_lattice
from lcoms.structure.symmetry import CENTRINGS, space_group_symbol
from lcoms.structure.wyckoff import primitive_basis, symmetric_cell, wyckoff_positions

Lattice = Float[NDArray[np.float64], "3 3"]
POSSIBLE = (0.5, 4.0)  # volume relative to that of the elements; all of 1195 ground states lie between 0.75 and 3.2
USUAL = (0.65, 2.6)  # range of nearly all of them
OF_RELAXATION = 0.03  # relative error of relaxed cells; larger in layered crystals
BEFORE_RELAXATION = 0.08  # relative; additional tolerance for decoded cells
BODY_CENTRED = 71  # a group with the primitive vectors of a body-centred cell
MOST_TOLERANCE = 0.2  # relative
SWAPPED = 40.0  # if all lengths are above and all angles below, the angles come first


@dataclass(frozen=True)
class KnownCell:
    """Lengths and angles of a crystal's cell, primitive or conventional.

    Attributes:
        parameters: three lengths in angstrom and three angles in degrees.
        tolerance: relative for lengths, in radians for angles.
    """

    parameters: tuple[float, float, float, float, float, float]
    tolerance: float

    @cached_property
    def lattice(self) -> Lattice:
        """Lattice vectors, (3, 3) rows in angstrom."""
        return lattice_from_parameters(np.array(self.parameters[:3]), np.array(self.parameters[3:]))

    @property
    def volume(self) -> float:
        """Volume, cubic angstrom."""
        return float(volume(self.lattice))

    def units(self, composition: Composition, *, usual: bool = False) -> range:
        """Return the numbers of formula units that the cell may hold, from the atomic volumes of the elements."""
        low, high = USUAL if usual else POSSIBLE
        one = composition.reduced.usual_volume
        least, most = int(np.ceil(self.volume / (high * one))), int(self.volume / (low * one))
        return range(max(1, least), most + 1)

    def primitive_units(self, composition: Composition, *, usual: bool = False) -> tuple[int, ...]:
        """Return the same for the primitive cell, for all possible centrings of the lattice."""
        cells = self.units(composition, usual=usual)
        found = {units // n for n in set(CENTRINGS.values()) for units in cells if units % n == 0}
        return tuple(sorted(found))

    def lattices(self, group: int) -> list[Lattice]:
        """Return the primitive lattices of a space group that match this cell within the tolerance; may be empty."""
        return list(_lattices(self, group))

    def lattices_of(self, group: int, composition: Composition) -> list[Lattice]:
        """Return those of the lattices whose volume is usual for a primitive cell with these contents."""
        one = composition.reduced.usual_volume * composition.n_formula_units
        return [lattice for lattice in _lattices(self, group) if USUAL[0] <= float(volume(lattice)) / one <= USUAL[1]]

    def fits(self, crystal: Crystal, *, relaxed: bool) -> bool:
        """Return whether a crystal in its primitive cell has this cell, within errors of relaxation or decoding."""
        return has_cell(crystal, self.lattice, self.tolerance + (OF_RELAXATION if relaxed else BEFORE_RELAXATION))


def read_cell(text: str) -> tuple[float, ...]:
    """Return the lengths and angles in a text of six numbers separated by spaces or commas.

    Raises:
        ConfigError: the text is not six numbers.
    """
    parts = text.replace(",", " ").split()
    try:
        numbers = tuple(real(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != 6:
        raise ConfigError(
            f"{text!r} is not a cell; give three lengths in angstrom and three angles in degrees, such as "
            '"5.4 7.6 5.3 90 90 90".'
        )
    return numbers


def check_cell(parameters: tuple[float, ...], tolerance: float) -> None:
    """Check that such a cell can exist.

    Raises:
        ConfigError: a number is out of range, or no cell has these angles.
    """
    said = " ".join(f"{number:g}" for number in parameters)
    if not all(0.5 <= length <= 1000 for length in parameters[:3]):
        raise ConfigError(f"cell {said}: lengths are in angstrom and must lie between 0.5 and 1000.")
    if not all(5 <= angle <= 175 for angle in parameters[3:]):
        raise ConfigError(f"cell {said}: angles are in degrees and must lie between 5 and 175.")
    if max(parameters[3:]) < SWAPPED <= min(parameters[:3]) <= max(parameters[:3]) <= 150:
        raise ConfigError(f"cell {said}: the lengths come first, then the angles.")
    alpha, beta, gamma = parameters[3:]
    sums = alpha + beta + gamma < 360 and all(2 * angle < alpha + beta + gamma for angle in (alpha, beta, gamma))
    if not sums or not is_valid_lattice(lattice_from_parameters(np.array(parameters[:3]), np.array(parameters[3:]))):
        raise ConfigError(f"cell {said}: no cell has these three angles; check them.")
    if not 0 < tolerance <= MOST_TOLERANCE:
        sentence = f"{{}} must be above 0 and at most {MOST_TOLERANCE}, relative, not {{value}}."
        raise OptionError(sentence, ["cell_tolerance"], tolerance)


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
    """Return the primitive cells that a cell may represent: itself, or its reduction by the centring of a group."""
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
