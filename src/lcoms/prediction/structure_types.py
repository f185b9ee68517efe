"""Structure types that a user requires or excludes: named prototypes, or crystals from structure files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import EXACT_LADDER, ExactSites, exact_sites, own_tolerance
from lcoms.structure.io import is_structure_file, read_crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import same_space_group
from lcoms.templates.exact import Template
from lcoms.templates.exact_build import structure_id
from lcoms.templates.prototypes import prototypes_named, relabelled_crystals


@dataclass(frozen=True)
class StructureType:
    """A structure type, as stored in a specification.

    Attributes:
        name: of named prototypes, or of the file from which it was read.
        space_group: number; 0 if the name is sufficient.
        letters: Wyckoff letters of the orbits.
        elements: atomic numbers on them.
        coords: free coordinates of the orbits, one after another.
        cell: lengths and angles of the conventional cell, angstrom and degrees.
    """

    name: str
    space_group: int = 0
    letters: tuple[str, ...] = ()
    elements: tuple[int, ...] = ()
    coords: tuple[float, ...] = ()
    cell: tuple[float, ...] = ()

    def templates(self) -> tuple[Template, ...]:
        """Return its crystals; several prototypes may have one name.

        Raises:
            ConfigError: there is no prototype of that name.
        """
        return _templates(self)

    def templates_for(self, composition: Composition) -> tuple[Template, ...]:
        """Return its crystals with the stoichiometry of a composition."""
        wanted = composition.reduced.stoichiometry
        return tuple(one for one in self.templates() if one.composition.stoichiometry == wanted)


def read_structure_type(text: str, *, files: bool = True) -> StructureType:
    """Return the structure type given as the name of a prototype or of a structure file.

    Args:
        files: whether the text may name a file.

    Raises:
        ConfigError: the text is neither, or the symmetry of the structure cannot be determined.
        FileFormatError: the file cannot be read.
    """
    path = Path(text)
    if not files or not (path.is_file() or is_structure_file(path.name)):
        found = StructureType(text.strip())
        found.templates()
        return found
    crystal = read_crystal(path)
    symprec = own_tolerance(crystal) or EXACT_LADDER[0]
    sites = exact_sites(crystal, symprec=symprec)
    if sites is None:
        raise ConfigError(f"{path}: its symmetry cannot be found, so it defines no structure type.")
    return StructureType(
        path.name,
        sites.space_group,
        tuple(letter for letter, _ in sites.orbits),
        tuple(int(z) for _, z in sites.orbits),
        tuple(round(float(x), 6) for x in sites.coords),
        tuple(round(float(x), 5) for x in (*sites.lengths, *sites.angles)),
    )


def is_of_type(crystal: Crystal, space_group: int, types: Sequence[StructureType]) -> bool:
    """Return whether a crystal in this space group has the structure of one of the types, with elements exchanged."""
    for one in types:
        for template in one.templates_for(crystal.composition):
            if not same_space_group(space_group, template.sites.space_group):
                continue
            if any(matches(crystal, other, STRICT) for other in relabelled_crystals(template, crystal.composition)):
                return True
    return False


def crystals_of_type(
    structure_type: StructureType, composition: Composition, element_volumes: NDArray[np.float64]
) -> Iterator[tuple[Template, Crystal]]:
    """Yield the distinct crystals of a composition that have the type, in cells scaled by the elements' volumes."""
    for template in structure_type.templates_for(composition):
        old = float(element_volumes[template.crystal.atomic_numbers].sum())
        apart: list[Crystal] = []
        for crystal in relabelled_crystals(template, composition):
            scale = np.cbrt(float(element_volumes[crystal.atomic_numbers].sum()) / old)
            scaled = Crystal(crystal.lattice * scale, crystal.frac_coords, crystal.atomic_numbers)
            if not any(matches(scaled, other, STRICT) for other in apart):
                apart.append(scaled)
                yield template, scaled


@lru_cache(maxsize=64)
def _templates(one: StructureType) -> tuple[Template, ...]:
    if not one.space_group:
        return tuple(found.template for found in prototypes_named(one.name))
    if len(one.cell) != 6 or len(one.letters) != len(one.elements):
        raise ConfigError(f"prototype {one.name}: letters, elements and cell are inconsistent.")
    cell = np.array(one.cell, dtype=np.float64)
    orbits = tuple(zip(one.letters, one.elements, strict=True))
    sites = ExactSites(one.space_group, orbits, np.array(one.coords, dtype=np.float64), cell[:3], cell[3:])
    bare = Template(one.name, sites, float("nan"), float("nan"), 0)
    number = structure_id(bare.composition, sites.space_group, orbits)
    return (Template(one.name, sites, float("nan"), float("nan"), number),)
