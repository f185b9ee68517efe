"""Comparison of two crystals: same structure or not, which atoms correspond, how cells and space groups differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import to_pymatgen
from lcoms.structure.matching import LOOSE, STRICT, Tolerance, matches, rmsd
from lcoms.structure.symmetry import same_space_group, space_group_number


@runtime_checkable
class WithGroup(Protocol):
    """A crystal whose space group is known."""

    @property
    def crystal(self) -> Crystal: ...

    @property
    def space_group(self) -> int: ...


def same_structure(first: WithGroup, second: WithGroup) -> bool:
    """Return whether two match strictly, and their space groups are the same or mirror images."""
    return same_space_group(first.space_group, second.space_group) and matches(first.crystal, second.crystal, STRICT)


class Pair(NamedTuple):
    """An atom of the first crystal and the corresponding atom of the second.

    Attributes:
        first, second: indices in the crystals, counted from 1.
        symbol: element.
        distance: distance between them in angstrom, both cells scaled to their mean volume.
    """

    first: int
    second: int
    symbol: str
    distance: float


@dataclass(frozen=True)
class Comparison:
    """Similarities and differences of two crystals.

    Attributes:
        same_composition: whether the reduced formulas are equal.
        strict: whether they match at pymatgen's default tolerances.
        loose: whether they match at the tolerances of match rates.
        rms: root mean square displacement over (volume / atom)^(1/3); None without a match.
        rms_angstrom: rms times the cube root of the mean volume per atom.
        volume_per_atom: of both crystals, cubic angstrom.
        space_groups: numbers of both space groups.
        mapping: a pair for each atom of the larger cell; empty without a match, or if neither cell is a multiple of the
            other.
    """

    same_composition: bool
    strict: bool
    loose: bool
    rms: float | None
    rms_angstrom: float | None
    volume_per_atom: tuple[float, float]
    space_groups: tuple[int, int]
    mapping: tuple[Pair, ...]

    @property
    def same_space_group(self) -> bool:
        """Whether the groups are the same, or mirror images."""
        return same_space_group(*self.space_groups)


def compare(first: Crystal, second: Crystal, *, symprec: float = 0.1) -> Comparison:
    """Compare two crystals.

    Args:
        symprec: tolerance of the symmetry search, angstrom.
    """
    strict, loose = (matches(first, second, tolerance) for tolerance in (STRICT, LOOSE))
    tolerance = STRICT if strict else LOOSE
    rms = rmsd(first, second, tolerance) if loose or strict else None
    volumes = first.volume / first.n_atoms, second.volume / second.n_atoms
    return Comparison(
        same_composition=first.composition.reduced == second.composition.reduced,
        strict=strict,
        loose=loose,
        rms=rms,
        rms_angstrom=None if rms is None else rms * float(np.cbrt(sum(volumes) / 2)),
        volume_per_atom=volumes,
        space_groups=(
            space_group_number(first, symprec=symprec),
            space_group_number(second, symprec=symprec),
        ),
        mapping=_mapping(first, second, tolerance) if rms is not None else (),
    )


def _mapping(first: Crystal, second: Crystal, tolerance: Tolerance) -> tuple[Pair, ...]:
    """Return pairs in the order of the atoms of the larger cell."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    swapped = second.n_atoms > first.n_atoms
    large, small = (second, first) if swapped else (first, second)
    if large.n_atoms % small.n_atoms:
        return ()
    matcher = StructureMatcher(
        tolerance.ltol, tolerance.stol, tolerance.angle_tol, primitive_cell=False, attempt_supercell=True
    )
    found = matcher.get_transformation(to_pymatgen(large), to_pymatgen(small))
    if found is None:
        return ()
    matrix, shift, places = found
    supercell = to_pymatgen(small)
    supercell.add_site_property("place", list(range(small.n_atoms)))
    supercell.make_supercell(matrix)
    size = np.square(np.cbrt((large.volume + supercell.volume) / 2))
    metrics = (lattice @ lattice.T / np.cbrt(abs(np.linalg.det(lattice))) ** 2 * size
               for lattice in (large.lattice, supercell.lattice.matrix))  # fmt: skip
    lengths = sum(metrics) / 2  # independent of the orientations of the cells
    pairs = []
    apart = supercell.frac_coords[places] + shift - large.frac_coords
    apart -= np.round(apart)
    for own, (place, step) in enumerate(zip(places, apart, strict=True)):
        other = int(supercell[int(place)].properties["place"])
        i, j = (other, own) if swapped else (own, other)
        distance = float(np.sqrt(max(step @ lengths @ step, 0.0)))
        pairs.append(Pair(i + 1, j + 1, SYMBOLS[int(large.atomic_numbers[own])], distance))
    return tuple(pairs)
