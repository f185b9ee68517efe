"""What the user already knows: space group, crystal system, volume or density; and candidates that contradict it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.prediction.spec import ConstraintSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import space_group_symbol
from lcoms.structure.wyckoff_choices import wyckoff_choices

SYSTEMS = {
    "triclinic": (1, 2),
    "monoclinic": (3, 15),
    "orthorhombic": (16, 74),
    "tetragonal": (75, 142),
    "trigonal": (143, 167),
    "hexagonal": (168, 194),
    "cubic": (195, 230),
}
DALTON = 1.66053907  # g/cm^3 in a dalton per cubic angstrom
LEAST_VOLUME, MOST_VOLUME = 2.0, 200.0  # cubic angstrom an atom; no crystal is outside


@dataclass(frozen=True)
class Contradictions:
    """How many candidates were left out for which reason."""

    space_group: int = 0
    volume: int = 0

    def sentences(self) -> list[str]:
        """One for each reason."""
        said = []
        if self.space_group:
            said.append(f"{self.space_group} candidates of other space groups were left out.")
        if self.volume:
            said.append(f"{self.volume} candidates of other volumes were left out.")
        return said


def read_space_groups(texts: Sequence[str]) -> tuple[int, ...]:
    """Numbers of space groups given as numbers or Hermann-Mauguin symbols.

    Raises:
        ConfigError: one of them is no space group.
    """
    import gemmi

    numbers = []
    for text in texts:
        name = text.strip()
        if name.isdecimal() and 1 <= int(name[:4]) <= 230:
            numbers.append(int(name))
            continue
        found = None if name.isdecimal() else gemmi.find_spacegroup_by_name(name.replace("_", ""))
        if found is None:
            raise ConfigError(f"{text!r} is no space group; give a number from 1 to 230 or a symbol such as Pnma.")
        numbers.append(int(found.number))
    return tuple(dict.fromkeys(numbers))


def groups_of_system(name: str) -> tuple[int, ...]:
    """Numbers of the space groups of a crystal system.

    Raises:
        ConfigError: there is no such system.
    """
    if name.strip().lower() not in SYSTEMS:
        raise ConfigError(f"{name!r} is no crystal system; choose one of {', '.join(SYSTEMS)}.")
    first, last = SYSTEMS[name.strip().lower()]
    return tuple(range(first, last + 1))


def groups_asked(space_groups: Sequence[str], crystal_system: str | None) -> tuple[int, ...]:
    """Numbers of the space groups that are named and lie in the crystal system; none where nothing is asked.

    Raises:
        ConfigError: a name is none, or no group that is named lies in the system.
    """
    groups = read_space_groups(space_groups)
    system = () if crystal_system is None else groups_of_system(crystal_system)
    if not groups or not system:
        return groups or system
    both = tuple(group for group in groups if group in system)
    if not both:
        named = ", ".join(space_groups)
        raise ConfigError(f"space group {named} is not {crystal_system}; leave one of the two out.")
    return both


def volume_of_density(density: float, composition: Composition) -> float:
    """Cubic angstrom of a formula unit, from g/cm^3."""
    from ase.data import atomic_masses

    reduced = composition.reduced
    mass = sum(float(atomic_masses[z]) * n for z, n in zip(reduced.atomic_numbers, reduced.counts, strict=True))
    return mass * DALTON / density


def check_constraints(constraints: ConstraintSpec, composition: Composition, largest: int) -> None:
    """Whether any crystal of a composition can satisfy them.

    Args:
        largest: atoms in the largest cell that is tried.

    Raises:
        FormulaError: no cell of these sizes holds the composition in the space group, or the volume is absurd.
    """
    reduced, formula = composition.reduced, composition.reduced_formula
    groups = constraints.space_groups
    if groups and not any(_holds(group, reduced, largest) for group in groups):
        symbols = " or ".join(f"{space_group_symbol(group)} ({group})" for group in groups[:3])
        raise FormulaError(
            f"{formula}: no cell of up to {largest} atoms holds this composition in {symbols}; choose another space "
            "group, or a larger --max-atoms."
        )
    target = target_volume(constraints, composition)
    if target is not None and not LEAST_VOLUME <= target / reduced.n_atoms <= MOST_VOLUME:
        raise FormulaError(
            f"{formula}: {target:.0f} cubic angstrom for a formula unit of {reduced.n_atoms} atoms is no volume of a "
            "crystal; --volume counts one formula unit, --density is in g/cm^3."
        )


def target_volume(constraints: ConstraintSpec, composition: Composition) -> float | None:
    """Cubic angstrom of a formula unit that is asked for; None where none is."""
    if constraints.density is not None:
        return volume_of_density(constraints.density, composition)
    return constraints.volume


def satisfying(
    candidates: Sequence[Candidate], constraints: ConstraintSpec, composition: Composition
) -> tuple[list[Candidate], Contradictions]:
    """Candidates that satisfy the constraints, and how many of the others contradict which."""
    groups, target = constraints.space_groups, target_volume(constraints, composition)
    inside = [c for c in candidates if not groups or c.space_group in groups]
    fitting = [c for c in inside if target is None or _fits(c.crystal, target, constraints.tolerance)]
    return fitting, Contradictions(len(candidates) - len(inside), len(inside) - len(fitting))


def _holds(group: int, composition: Composition, largest: int) -> bool:
    units = range(1, largest // composition.n_atoms + 1)
    return any(wyckoff_choices(group, composition.scaled(u), conventional=False).n for u in units)


def _fits(crystal: Crystal, target: float, tolerance: float) -> bool:
    per_unit = crystal.volume / crystal.composition.n_formula_units
    return abs(per_unit / target - 1) <= tolerance
