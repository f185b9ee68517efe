"""What the user already knows about a crystal, and the candidates that contradict it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TypeVar

from lcoms.core.errors import ConfigError
from lcoms.prediction.pressure import LEAST_RATIO
from lcoms.prediction.spec import ConstraintSpec
from lcoms.prediction.stages import Candidate, Decoded
from lcoms.prediction.structure_types import is_of_type
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.space_group_names import number_of_group
from lcoms.structure.symmetry import MIRROR

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
VOLUME_BEFORE = 0.15  # relative; additional volume tolerance for decoded crystals, before relaxation


@dataclass(frozen=True)
class Contradictions:
    """Number of candidates left out for each reason."""

    space_group: int = 0
    volume: int = 0
    cell: int = 0
    prototype: int = 0
    excluded: int = 0
    energy: int = 0

    def __add__(self, other: Contradictions) -> Contradictions:
        return Contradictions(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def sentences(self) -> list[str]:
        """Return one sentence for each reason."""
        reasons = {
            "of other space groups": self.space_group,
            "of other volumes": self.volume,
            "with other cells": self.cell,
            "of other prototypes": self.prototype,
            "of excluded prototypes": self.excluded,
            "too high in energy": self.energy,
        }
        return [
            f"{n} candidate{'s' if n > 1 else ''} {reason} {'were' if n > 1 else 'was'} left out."
            for reason, n in reasons.items()
            if n
        ]


NONE_LEFT_OUT = Contradictions()


def read_space_groups(texts: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of space groups given as numbers or symbols, as `number_of_group` reads them.

    Raises:
        ConfigError: one of them is not a space group.
    """
    numbers = []
    for text in texts:
        number = number_of_group(text)
        if not number:
            raise ConfigError(f"{text!r} is not a space group; give a number from 1 to 230 or a symbol such as Pnma.")
        numbers.append(number)
    return tuple(dict.fromkeys(numbers))


def groups_of_system(name: str) -> tuple[int, ...]:
    """Return the numbers of the space groups of a crystal system.

    Raises:
        ConfigError: there is no such crystal system.
    """
    if name.strip().lower() not in SYSTEMS:
        raise ConfigError(f"{name!r} is not a crystal system; choose one of {', '.join(SYSTEMS)}.")
    first, last = SYSTEMS[name.strip().lower()]
    return tuple(range(first, last + 1))


def groups_asked(space_groups: Sequence[str], crystal_system: str | None) -> tuple[int, ...]:
    """Return the numbers of the named space groups that belong to the crystal system; empty if neither is given.

    Raises:
        ConfigError: a name is invalid, or no named group belongs to the crystal system.
    """
    groups = read_space_groups(space_groups)
    system = () if crystal_system is None else groups_of_system(crystal_system)
    if not groups or not system:
        return groups or system
    both = tuple(group for group in groups if group in system)
    if not both:
        named = ", ".join(space_groups)
        raise ConfigError(f"space group {named} is not {crystal_system}; omit one of the two.")
    return both


def volume_of_density(density: float, composition: Composition) -> float:
    """Return the volume of a formula unit (cubic angstrom) at a density in g/cm^3."""
    from ase.data import atomic_masses

    reduced = composition.reduced
    mass = sum(float(atomic_masses[z]) * n for z, n in zip(reduced.atomic_numbers, reduced.counts, strict=True))
    return mass * DALTON / density


def target_volume(constraints: ConstraintSpec, composition: Composition) -> float | None:
    """Return the requested volume of a formula unit (cubic angstrom), or None."""
    if constraints.density is not None:
        return volume_of_density(constraints.density, composition)
    return constraints.volume


def groups_in_effect(constraints: ConstraintSpec, composition: Composition) -> tuple[int, ...]:
    """Return the space groups requested by number and by structure type; empty if any is allowed."""
    groups = constraints.space_groups
    if not constraints.prototypes:
        return groups
    types = {
        group
        for asked in constraints.prototypes
        for one in asked.templates_for(composition)
        for group in (one.sites.space_group, MIRROR.get(one.sites.space_group))
        if group is not None
    }
    return tuple(sorted(types.intersection(groups) if groups else types))


def promising(
    crystals: Sequence[Decoded], constraints: ConstraintSpec, composition: Composition, *, pressure: float = 0.0
) -> tuple[list[Decoded], Contradictions]:
    """Return decoded crystals that may satisfy the constraints once relaxed, those in a requested space group first.

    Relaxation changes cells by a few percent and may raise the symmetry, but does not lead to another structure.

    Args:
        pressure: GPa; decoded crystals have volumes of zero pressure, the requested volume is that at the pressure.
    """
    cell, target = constraints.known_cell, target_volume(constraints, composition)
    kept, contrary = _parted(crystals, lambda one: cell is None or cell.fits(one.crystal, relaxed=False))
    volume, least = constraints.tolerance + VOLUME_BEFORE, LEAST_RATIO if pressure else 1.0
    kept, other = _parted(kept, lambda one: target is None or _fits(one.crystal, target, volume, least=least))
    excluded = constraints.exclude_prototypes
    kept, alike = _parted(kept, lambda one: not is_of_type(one.crystal, one.space_group, excluded))
    groups = groups_in_effect(constraints, composition)
    inside, outside = _parted(kept, lambda one: not groups or one.space_group in groups)
    return [*inside, *outside], Contradictions(cell=len(contrary), volume=len(other), excluded=len(alike))


def satisfying(
    candidates: Sequence[Candidate], constraints: ConstraintSpec, composition: Composition
) -> tuple[list[Candidate], Contradictions]:
    """Return the candidates that satisfy the constraints, and the number that contradict each constraint."""
    groups, target, cell = constraints.space_groups, target_volume(constraints, composition), constraints.known_cell
    wanted, excluded = constraints.prototypes, constraints.exclude_prototypes
    kept, groupless = _parted(candidates, lambda one: not groups or one.space_group in groups)
    kept, volume = _parted(kept, lambda one: target is None or _fits(one.crystal, target, constraints.tolerance))
    kept, contrary = _parted(kept, lambda one: cell is None or cell.fits(one.crystal, relaxed=True))
    kept, other = _parted(kept, lambda one: not wanted or is_of_type(one.crystal, one.space_group, wanted))
    kept, alike = _parted(kept, lambda one: not is_of_type(one.crystal, one.space_group, excluded))
    kept, high = _parted(kept, lambda one: _is_low(one, constraints.max_e_above))
    return kept, Contradictions(len(groupless), len(volume), len(contrary), len(other), len(alike), len(high))


Item = TypeVar("Item")


def _parted(items: Sequence[Item], keep: Callable[[Item], bool]) -> tuple[list[Item], list[Item]]:
    kept = [(item, keep(item)) for item in items]
    return [item for item, good in kept if good], [item for item, good in kept if not good]


def _is_low(candidate: Candidate, most: float | None) -> bool:
    """Return whether the energy is at most `most` above the hull, or above the lowest candidate if no hull is known."""
    if most is None:
        return True
    above = candidate.energy_above_lowest if candidate.e_above_hull is None else candidate.e_above_hull
    return above <= most


def _fits(crystal: Crystal, target: float, tolerance: float, *, least: float = 1.0) -> bool:
    """Return whether the volume of a formula unit, times a ratio from `least` to 1, is the target."""
    ratio = crystal.volume / crystal.composition.n_formula_units / target
    return 1 - tolerance <= ratio and ratio * least <= 1 + tolerance
