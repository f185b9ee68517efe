"""The search space of GN-OA: space group, cell, Wyckoff positions and free coordinates, as a vector in [0, 1]^d.

Source: Cheng, Gong & Yin, Nat. Commun. 13, 1492 (2022). The vector holds the space group, the choice of its Wyckoff
positions, the lengths a, b, c and angles of the conventional cell (those that the crystal system fixes are ignored),
and one triple of free coordinates for each orbit. The crystal is given in its primitive cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.baselines.feasibility import FeasibilityConfig, infeasibility
from lcoms.baselines.trial import Trial
from lcoms.core.errors import ConfigError, CrystalError, FormulaError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.description import centring, describe
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, parameters_from_lattice
from lcoms.structure.symmetric_cell import constrained, with_orbits
from lcoms.structure.wyckoff import Orbits, orbit_sizes, primitive_basis, symmetric_cell, wyckoff_positions
from lcoms.structure.wyckoff_choices import WyckoffChoices, wyckoff_choices

Array = NDArray[np.float64]
CELL = ("a", "b", "c", "alpha", "beta", "gamma")
N_FIRST = 2 + len(CELL)
NO_CELL = "no such cell"


@dataclass(frozen=True)
class SpaceConfig:
    """Options of the search space.

    Attributes:
        contents: whether the composition is that of the primitive or of the conventional cell. In the original it is
            the conventional cell, so that rock salt needs four formula units.
        triples: one triple of free coordinates for each orbit, which then has the symmetry of its group, or one for
            each atom, as in the published code, where only positions without free coordinates are symmetric.
        groups: first and last space group number.
        lengths: angstrom; bounds of a, b and c.
        angles: degrees; bounds of the angles.
        feasibility: bounds within which crystals are evaluated.

    Raises:
        ConfigError: a value is out of range.
    """

    contents: Literal["primitive", "conventional"] = "primitive"
    triples: Literal["orbit", "atom"] = "orbit"
    groups: tuple[int, int] = (2, 230)
    lengths: tuple[float, float] = (2.0, 30.0)
    angles: tuple[float, float] = (20.0, 160.0)
    feasibility: FeasibilityConfig = field(default_factory=FeasibilityConfig)

    def __post_init__(self) -> None:
        if self.contents not in ("primitive", "conventional"):
            raise ConfigError(f"contents are those of the primitive or the conventional cell, not {self.contents!r}.")
        if self.triples not in ("orbit", "atom"):
            raise ConfigError(f"triples are one for each orbit or atom, not {self.triples!r}.")
        if not 1 <= self.groups[0] <= self.groups[1] <= 230:
            raise ConfigError(f"space groups run from 1 to 230, not {self.groups[0]} to {self.groups[1]}.")
        if not 0 < self.lengths[0] <= self.lengths[1] or not 0 < self.angles[0] <= self.angles[1] < 180:
            raise ConfigError(
                "lengths and angles must be two positive numbers, the smaller first, and angles below 180."
            )


class SymmetricSpace:
    """The search space for the contents of a cell.

    Attributes:
        groups: space groups that can hold the contents, in order.
        names: name of each number of the vector; the first two are choices, the others are continuous.
        n_choices: number of space groups.

    Raises:
        FormulaError: no space group can hold the contents.
    """

    def __init__(self, composition: Composition, config: SpaceConfig | None = None) -> None:
        self.composition, self.config = composition, config or SpaceConfig()
        first, last = self.config.groups
        self.groups = [number for number in range(first, last + 1) if self._choices(number).n]
        if not self.groups:
            raise FormulaError(
                f"{composition.formula}: none of the space groups {first} to {last} has Wyckoff positions for these "
                "atoms; take other groups or another number of formula units."
            )
        triples = range(1, composition.n_atoms + 1)
        self.names = ("space_group", "wyckoff", *CELL, *(f"{axis}{i}" for i in triples for axis in "xyz"))

    @property
    def n_choices(self) -> int:
        return len(self.groups)

    @property
    def dimension(self) -> int:
        return len(self.names)

    def trial(self, number: int, vector: Float[Array, " d"]) -> Trial:
        """Return the trial of a vector, which is its only gene; without a crystal if that is infeasible."""
        genes = {"vector": vector.tolist()}
        try:
            crystal = self.decode(vector)
        except CrystalError:
            return Trial(number, None, NO_CELL, genes)
        reason = infeasibility(crystal, self.config.feasibility)
        return Trial(number, None if reason else crystal, reason, genes)

    def decode(self, vector: Float[Array, " d"]) -> Crystal:
        """Return the crystal of a vector, feasible or not.

        Raises:
            CrystalError: the angles do not give a valid cell.
        """
        number, orbits = self.symmetry(vector)
        low, high = np.repeat([self.config.lengths, self.config.angles], 3, axis=0).T
        lengths, angles = np.split(low + vector[2:N_FIRST] * (high - low), 2)
        conventional = lattice_from_parameters(*constrained(number, lengths, angles))
        if not is_valid_lattice(conventional):
            raise CrystalError("the angles make no cell.")
        triples = vector[N_FIRST:].reshape(-1, 3)
        if self.config.triples == "orbit":
            return with_orbits(number, orbits, conventional, triples)
        return _with_atoms(number, orbits, conventional, triples, whole=self.config.contents == "conventional")

    def symmetry(self, vector: Float[Array, " d"]) -> tuple[int, Orbits]:
        """Return the space group and orbits of a vector."""
        number = self.groups[_floor(float(vector[0]), len(self.groups))]
        choices = self._choices(number)
        return number, choices.orbits(_floor(float(vector[1]), choices.n))

    def encode(self, crystal: Crystal, *, symprec: float = 0.01) -> Float[Array, " d"] | None:
        """Return a vector of the crystal, up to the choice of cell; None where the space does not contain it.

        Args:
            symprec: angstrom; tolerance of the symmetry search.
        """
        found = describe(crystal, symprec=symprec)
        if found is None or found[0] not in self.groups:
            return None
        number, orbits, lattice, triples = found
        choices = self._choices(number)
        index = choices.index(orbits)
        low, high = np.repeat([self.config.lengths, self.config.angles], 3, axis=0).T
        scaled = (np.concatenate(parameters_from_lattice(lattice)) - low) / np.maximum(high - low, 1e-12)
        if index is None or scaled.min() < 0 or scaled.max() > 1:
            return None
        vector = np.zeros(self.dimension)
        vector[0] = (self.groups.index(number) + 0.5) / len(self.groups)
        vector[1] = (index + 0.5) / choices.n
        vector[2:N_FIRST] = scaled
        if self.config.triples == "atom":
            whole = self.config.contents == "conventional"
            triples = np.repeat(triples, _atoms_of_orbits(number, orbits, whole=whole), axis=0)
        vector[N_FIRST : N_FIRST + triples.size] = triples.ravel()
        return vector if self.symmetry(vector) == (number, orbits) else None  # beyond 2^52 choices are not distinct

    def _choices(self, number: int) -> WyckoffChoices:
        return wyckoff_choices(number, self.composition, self.config.contents == "conventional")


def _with_atoms(number: int, orbits: Orbits, conventional: Array, triples: Array, *, whole: bool) -> Crystal:
    """Return the primitive cell, or the whole conventional one, with one triple for each atom."""
    cell, positions = symmetric_cell(number, orbits), wyckoff_positions(number)
    basis = primitive_basis(number)
    shifts = centring(number) if whole else np.zeros((1, 3))
    frac, numbers = [], []
    row = column = at = 0
    for (letter, z), size in zip(orbits, orbit_sizes(number, orbits), strict=True):
        position = positions[letter]
        for _ in range(size):
            directions = cell.directions[row, :, column : column + position.n_free]
            for shift in shifts:
                point = cell.shifts[row] + directions @ (position.free.T @ triples[at])
                frac.append(point @ basis + shift if whole else point)
                numbers.append(z)
                at += 1
            row += 1
        column += position.n_free
    return Crystal(conventional if whole else basis @ conventional, np.array(frac), np.array(numbers))


def _atoms_of_orbits(number: int, orbits: Orbits, *, whole: bool) -> list[int]:
    """Return the number of atoms of each orbit in the primitive cell, or in the whole conventional one."""
    n = len(centring(number)) if whole else 1
    return [n * size for size in orbit_sizes(number, orbits)]


def _floor(value: float, n: int) -> int:
    """Return the index of the n equal intervals of [0, 1] that contains a value."""
    return min(int(value * n), n - 1)
