"""Crystals in the order of their energies: duplicates dropped, lowest energy per atom first within each composition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lcoms.core.errors import ConfigError
from lcoms.core.unique import grouped
from lcoms.oracles.base import Evaluation
from lcoms.oracles.hull import Hull
from lcoms.structure.comparison import same_structure
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import space_group_number

FormationEnergy = Callable[[Composition, float], float | None]


@dataclass(frozen=True, eq=False)
class RankedCrystal:
    """One crystal with its place.

    Attributes:
        name: as given.
        crystal: as given.
        rank: 1 for the lowest of its composition.
        energy_per_atom: eV/atom by the oracle.
        energy_above_lowest: eV/atom above the lowest crystal of its composition.
        space_group: number, at the usual tolerance.
        formation_energy: eV/atom; None where the oracle has no references for its elements.
        e_above_hull: eV/atom; None where no hull was given, or it lacks an element.
        duplicates: names of the crystals of higher energy that are the same structure.
    """

    name: str
    crystal: Crystal
    rank: int
    energy_per_atom: float
    energy_above_lowest: float
    space_group: int
    formation_energy: float | None
    e_above_hull: float | None
    duplicates: tuple[str, ...]


def rank_crystals(
    crystals: Sequence[Crystal],
    evaluations: Sequence[Evaluation],
    *,
    names: Sequence[str] | None = None,
    formation_energy: FormationEnergy | None = None,
    hull: Hull | None = None,
) -> list[RankedCrystal]:
    """Distinct crystals that have an energy, by composition in the order given, then by energy per atom.

    Two crystals are the same when they match at the strict tolerance and their space groups are equal.

    Args:
        crystals: any compositions.
        evaluations: one for each; crystals whose status is not "ok" are left out.
        names: one for each; numbers from 1 where they are not given.
        formation_energy: composition and total energy per atom to formation energy.
        hull: of reference phases by the same oracle.

    Raises:
        ConfigError: the lengths differ.
    """
    names = [str(i) for i in range(1, len(crystals) + 1)] if names is None else names
    if not len(crystals) == len(evaluations) == len(names):
        raise ConfigError(f"{len(crystals)} crystals need as many evaluations and names to be ranked.")
    by_composition: dict[Composition, list[RankedCrystal]] = {}
    for name, crystal, evaluation in zip(names, crystals, evaluations, strict=True):
        if not evaluation.ok:
            continue
        composition, energy = crystal.composition.reduced, evaluation.energy / crystal.n_atoms
        row = RankedCrystal(
            name=name,
            crystal=crystal,
            rank=0,
            energy_per_atom=energy,
            energy_above_lowest=float("nan"),
            space_group=space_group_number(crystal),
            formation_energy=formation_energy(composition, energy) if formation_energy else None,
            e_above_hull=hull.e_above_hull(composition, energy) if hull else None,
            duplicates=(),
        )
        by_composition.setdefault(composition, []).append(row)
    return [row for group in by_composition.values() for row in _ranked(group)]


def _ranked(group: list[RankedCrystal]) -> list[RankedCrystal]:
    """Crystals of one composition, duplicates given to the lowest of their kind."""
    in_order = sorted(group, key=_energy)  # the sort is stable: equal energies stay in the order given
    distinct = [
        replace(first, duplicates=tuple(other.name for other in others))
        for first, *others in grouped(in_order, same_structure)
    ]
    lowest = distinct[0].energy_per_atom
    return [
        replace(row, rank=rank, energy_above_lowest=row.energy_per_atom - lowest)
        for rank, row in enumerate(distinct, 1)
    ]


def _energy(row: RankedCrystal) -> float:
    return row.energy_per_atom
