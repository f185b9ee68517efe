"""Named prototypes: which one a crystal is ("rock salt, B1"), and which may be templates for a composition.

The 288 crystals are those of the AFLOW Library of Crystallographic Prototypes (Mehl et al., Computational Materials
Science 136, S1, 2017) that pymatgen includes; `prototypes.json` holds them as exact templates, with their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from itertools import permutations, product
from typing import Any

import numpy as np

from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import ExactSites
from lcoms.structure.matching import STRICT, rmsd
from lcoms.structure.symmetry import STANDARD_SYMPREC, same_space_group, space_group_number
from lcoms.templates.exact import Template
from lcoms.templates.exact_build import structure_id
from lcoms.templates.stoichiometry import elements_in_order


@dataclass(frozen=True, eq=False)
class Prototype:
    """A structure type.

    Attributes:
        mineral: common name, such as "Halite, Rock Salt"; may be empty.
        strukturbericht: Strukturbericht designation, such as B1; may be empty.
        aflow: label in the AFLOW library, such as AB_cF8_225_a_b.
        template: crystal after which it is named.
    """

    mineral: str
    strukturbericht: str
    aflow: str
    template: Template

    @property
    def name(self) -> str:
        """Readable name: "Halite, Rock Salt (B1)", "C11_b (Si2Mo)", or the formula of its crystal with "type"."""
        formula = self.template.composition.reduced_formula
        first = self.mineral or self.strukturbericht or f"{formula} type"
        if self.mineral and self.strukturbericht:
            return f"{first} ({self.strukturbericht})"
        return f"{first} ({formula})" if self.mineral or self.strukturbericht else first


@cache
def prototypes() -> tuple[Prototype, ...]:
    """Return all prototypes."""
    rows: list[dict[str, Any]] = json.loads(files("lcoms.templates").joinpath("prototypes.json").read_text())
    return tuple(_prototype(row) for row in rows)


def prototype_of(crystal: Crystal, *, symprec: float = STANDARD_SYMPREC) -> Prototype | None:
    """Return the best matching prototype of a crystal's space group, at pymatgen's default tolerances, or None.

    Args:
        symprec: angstrom; tolerance for determining the space group.
    """
    stoichiometry = crystal.composition.stoichiometry
    near = [one for one in prototypes() if one.template.composition.stoichiometry == stoichiometry]
    if not near:
        return None
    number = space_group_number(crystal, symprec=symprec)
    best: tuple[float, Prototype] | None = None
    for one in near:
        if not same_space_group(one.template.sites.space_group, number):
            continue
        for relabelled in relabelled_crystals(one.template, crystal.composition):
            apart = rmsd(crystal, relabelled, STRICT)
            if apart is not None and (best is None or apart < best[0]):
                best = (apart, one)
    return None if best is None else best[1]


def prototype_templates(composition: Composition, *, exclude_same: bool = False) -> list[Prototype]:
    """Return the prototypes of the stoichiometry of a composition.

    Args:
        exclude_same: leave out those named after a crystal of the same composition, as a benchmark must.
    """
    target = composition.reduced
    found = [one for one in prototypes() if one.template.composition.stoichiometry == target.stoichiometry]
    return [one for one in found if not (exclude_same and one.template.composition.reduced == target)]


def prototypes_named(name: str) -> list[Prototype]:
    """Return prototypes by mineral name or part of it, Strukturbericht designation, AFLOW label, or formula.

    Raises:
        ConfigError: there is none; the message suggests the closest names.
    """
    wanted = _plain(name)
    found = [one for one in prototypes() if wanted and wanted in _names(one)]
    if not found:
        known = {plain: said for one in prototypes() for plain, said in _names(one).items()}
        close = [known[plain] for plain in get_close_matches(wanted, known, n=3, cutoff=0.6)]
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else "name one, such as B1, rutile, perovskite or AB_cF8_225_a_b."
        )
        raise ConfigError(f"there is no prototype {name!r} and no file of that name; {hint}")
    return found


def _names(prototype: Prototype) -> dict[str, str]:
    """Return names by which a prototype is found: normalised name to name as written."""
    template = prototype.template
    parts = re.split(r",| or |/|;", prototype.mineral)
    said = [prototype.mineral, *parts, prototype.strukturbericht, prototype.aflow, template.composition.reduced_formula]
    return {_plain(one): one.strip() for one in said if _plain(one)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix("type"))


def prototype_row(sites: ExactSites, *, mineral: str, strukturbericht: str, aflow: str) -> dict[str, Any]:
    """Return a prototype in the form of the file."""
    return {
        "mineral": mineral,
        "strukturbericht": strukturbericht,
        "aflow": aflow,
        "space_group": sites.space_group,
        "orbits": [[letter, z] for letter, z in sites.orbits],
        "coords": [round(float(x), 6) for x in sites.coords],
        "cell": [round(float(x), 5) for x in (*sites.lengths, *sites.angles)],
    }


def _prototype(row: dict[str, Any]) -> Prototype:
    orbits = tuple((str(letter), int(z)) for letter, z in row["orbits"])
    cell = np.array(row["cell"], dtype=np.float64)
    sites = ExactSites(int(row["space_group"]), orbits, np.array(row["coords"], dtype=np.float64), cell[:3], cell[3:])
    template = Template(row["aflow"], sites, float("nan"), float("nan"), 0)
    number = structure_id(template.composition, sites.space_group, orbits)
    template = Template(row["aflow"], sites, float("nan"), float("nan"), number)
    return Prototype(row["mineral"], row["strukturbericht"], row["aflow"], template)


def relabelled_crystals(template: Template, composition: Composition) -> Iterator[Crystal]:
    """Yield the template's crystal with the elements of a composition, in all assignments that keep the counts."""
    old, crystal = template.composition.reduced, template.crystal
    count_of = dict(zip(old.atomic_numbers, old.counts, strict=True))
    target = composition.reduced
    groups = [
        (
            [z for z in elements_in_order(old) if count_of[z] == count],
            [z for z, n in zip(target.atomic_numbers, target.counts, strict=True) if n == count],
        )
        for count in sorted(set(old.counts))
    ]
    for ways in product(*(permutations(new) for _, new in groups)):
        to = np.zeros(128, dtype=np.int64)
        for (before, _), after in zip(groups, ways, strict=True):
            to[before] = after
        yield Crystal(crystal.lattice, crystal.frac_coords, to[crystal.atomic_numbers])
