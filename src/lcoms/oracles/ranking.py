"""Ranking of crystals by energy: duplicates dropped, lowest energy per atom first within each composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lcoms.core.errors import ConfigError
from lcoms.core.unique import grouped
from lcoms.oracles.base import Evaluation
from lcoms.oracles.hull import Hull
from lcoms.oracles.references import FormationEnergy
from lcoms.structure.comparison import same_structure
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import space_group_number


@dataclass(frozen=True, eq=False)
class RankedCrystal:
    """One crystal with its rank.

    Attributes:
        name: as given.
        crystal: as given.
        rank: 1 for the lowest energy of its composition.
        energy_per_atom: eV/atom by the oracle.
        energy_above_lowest: eV/atom above the lowest crystal of its composition.
        space_group: number, at the default tolerance.
        formation_energy: eV/atom; None if the oracle has no references for its elements.
        e_above_hull: eV/atom; None if no hull was given, or it lacks an element.
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
    """Return the distinct crystals that have an energy, by composition in the given order, then by energy per atom.

    Two crystals are the same if they match at the strict tolerance and their space groups are equal or mirror images.

    Args:
        crystals: of any compositions.
        evaluations: one per crystal; crystals whose status is not "ok" are left out.
        names: one per crystal; numbers from 1 by default.
        formation_energy: function of composition and total energy per atom.
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
    """Return the ranked crystals of one composition, duplicates assigned to the lowest of their kind."""
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
