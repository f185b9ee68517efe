"""Random symmetric crystals, for structures that no template has.

They have random space groups, by their frequency among the training crystals, random Wyckoff positions and coordinates,
and cells of the usual volume. The conservative surrogate, which has learned to distrust bad crystals, selects those
worth an energy evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from lcoms.core.bounds import require
from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import covalent_radius
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, volume
from lcoms.structure.symmetric_cell import constrained, with_orbits
from lcoms.structure.wyckoff import Orbits, primitive_basis
from lcoms.structure.wyckoff_choices import wyckoff_choices

IMAGES = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.float64)
FIRST_GROUP = 2  # P-1; P1 has no symmetry
DRAWS = 30  # draws per requested crystal
SHAPE = 0.35  # standard deviation of the logarithm of a cell length
VOLUME = 0.1  # standard deviation of the logarithm of the volume


KnownLattices = Callable[[int, Composition], Sequence[NDArray[np.float64]]]
"""Returns the primitive lattices that a crystal of a space group and contents may have."""


@dataclass(frozen=True)
class RandomSymmetricSpec:
    """Options for random symmetric crystals.

    Attributes:
        n: number of crystals that are relaxed; 0 for none.
        drawn: number of crystals from which the surrogate selects them.
        max_atoms: atoms in the largest cell; random coordinates in larger ones rarely give good crystals.
        max_alike: largest number with one space group and the same Wyckoff positions.
        evenness: space groups are drawn by their frequency to this power.
        closest: smallest allowed distance of two atoms relative to the sum of their covalent radii.
    """

    n: int = 0
    drawn: int = 150
    max_atoms: int = 10
    max_alike: int = 2
    evenness: float = 0.5
    closest: float = 0.75

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["max_alike"],
            not_negative=["n", "drawn", "max_atoms", "evenness", "closest"],
        )


@dataclass(frozen=True, eq=False)
class SymmetricDraw:
    """A random crystal, and the space group and orbits that it was drawn with."""

    crystal: Crystal
    space_group: int
    orbits: Orbits


def draw_crystals(
    cells: Sequence[tuple[Composition, float, float]],
    frequencies: Int[NDArray[np.int64], " n_groups"],
    config: RandomSymmetricSpec,
    random: np.random.Generator,
    *,
    lattices: KnownLattices | None = None,
) -> list[SymmetricDraw]:
    """Return random symmetric primitive cells without short distances, possibly fewer than requested.

    Args:
        lattices: gives the primitive lattices of a space group and contents; None: any.
        cells: contents, weight and usual volume (cubic angstrom) of each cell.
        frequencies: of the space groups among known crystals, indexed by their number.
    """
    fitting = [(c, weight, size) for c, weight, size in cells if c.n_atoms <= config.max_atoms and weight > 0]
    if not fitting or not config.n:
        return []
    total = sum(weight for _, weight, _ in fitting)
    drawn: list[SymmetricDraw] = []
    for composition, weight, size in fitting:
        n = max(1, round(config.drawn * weight / total))
        some = _draws(composition, size, frequencies, config, random, lattices)
        drawn += [one for _, one in zip(range(n), some, strict=False)]
    return drawn


def best_apart(draws: Sequence[SymmetricDraw], energies: Sequence[float], config: RandomSymmetricSpec) -> list[int]:
    """Return the indices of the draws of lowest energy, at most `max_alike` of one space group and orbits."""
    alike: Counter[tuple[int, Orbits, int]] = Counter()
    chosen: list[int] = []
    for at in np.argsort(np.asarray(energies), kind="stable").tolist():
        if len(chosen) == config.n:
            break
        kind = (draws[at].space_group, draws[at].orbits, draws[at].crystal.n_atoms)
        if np.isfinite(energies[at]) and alike[kind] < config.max_alike:
            alike[kind] += 1
            chosen.append(at)
    return chosen


def _draws(
    composition: Composition,
    size: float,
    frequencies: Int[NDArray[np.int64], " n_groups"],
    config: RandomSymmetricSpec,
    random: np.random.Generator,
    lattices: KnownLattices | None,
) -> Iterator[SymmetricDraw]:
    """Yield crystals with the contents of one cell, for a limited number of attempts."""
    groups = [
        g
        for g in np.flatnonzero(frequencies).tolist()
        if g >= FIRST_GROUP
        and wyckoff_choices(g, composition, conventional=False).n
        and (lattices is None or lattices(g, composition))
    ]
    if not groups:
        return
    shares = frequencies[groups].astype(np.float64) ** config.evenness
    for number in random.choice(groups, DRAWS * config.drawn, p=shares / shares.sum()).tolist():
        choices = wyckoff_choices(number, composition, conventional=False)
        orbits = choices.orbits(int(random.integers(min(choices.n, 2**62))))
        conventional = _conventional(number, random, [] if lattices is None else lattices(number, composition))
        if not is_valid_lattice(conventional):
            continue
        try:
            crystal = with_orbits(number, orbits, conventional, random.random((len(orbits), 3)))
        except CrystalError:
            continue
        if lattices is None:
            crystal = _scaled(crystal, size * np.exp(random.normal(0, VOLUME)))
        if closeness(crystal) >= config.closest:
            yield SymmetricDraw(crystal, number, orbits)


def _conventional(
    number: int, random: np.random.Generator, known: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return one of the known primitive lattices in its conventional form, or a random one of any size."""
    if known:
        return np.asarray(np.linalg.inv(primitive_basis(number)) @ known[int(random.integers(len(known)))])
    lengths, angles = np.exp(random.normal(0, SHAPE, 3)), random.uniform(60, 120, 3)
    return lattice_from_parameters(*constrained(number, lengths, angles))


def _scaled(crystal: Crystal, size: float) -> Crystal:
    """Return the crystal scaled to a cell of the given volume."""
    scale = np.cbrt(size / volume(crystal.lattice))
    return Crystal(crystal.lattice * scale, crystal.frac_coords % 1.0, crystal.atomic_numbers)


def closeness(crystal: Crystal) -> float:
    """Return the smallest distance of atoms or images in adjacent cells relative to the sum of their covalent radii."""
    radii = np.array([covalent_radius(int(z)) for z in crystal.atomic_numbers])
    apart = crystal.frac_coords[:, None] - crystal.frac_coords
    vectors = ((apart - np.round(apart))[:, :, None] + IMAGES) @ crystal.lattice
    distances = np.linalg.norm(vectors, axis=-1)
    distances[np.arange(len(radii)), np.arange(len(radii)), len(IMAGES) // 2] = np.inf
    return float((distances.min(-1) / (radii[:, None] + radii)).min())
