"""A predicted crystal, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, nan

from lcoms.prediction.propose import Start
from lcoms.prediction.scoring import OrderWeights
from lcoms.structure.crystal import Crystal


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What an energy oracle made of a candidate.

    Attributes:
        status: how the relaxation ended.
        energy_per_atom: total energy by the oracle, eV/atom; NaN where it failed.
        formation_energy: eV/atom, against elements relaxed with the same oracle; None where a reference is missing.
        energy_above_lowest: eV/atom above the lowest candidate of this prediction, the mean of both oracles where there
            are two.
        n_steps: of the relaxation.
        decoded: the crystal before it.
        e_above_hull: eV/atom above the hull of reference phases, negative below it; None where none were given.
        energies: total energies at each evaluation, eV/atom, the decoded crystal first.
        second_energy: total energy of the relaxed crystal by the second oracle, eV/atom; NaN where there is
            none or it failed.
    """

    status: str
    energy_per_atom: float
    formation_energy: float | None
    energy_above_lowest: float
    n_steps: int
    decoded: Crystal
    e_above_hull: float | None = None
    energies: tuple[float, ...] = ()
    second_energy: float = nan


@dataclass(frozen=True, eq=False)
class Candidate:
    """One predicted crystal.

    Attributes:
        crystal: primitive cell on exact symmetry; relaxed where `relaxation` tells so.
        energy_per_atom: formation energy predicted by the surrogate for the decoded crystal, eV/atom.
        latent_energy: formation energy the surrogate promised where descent ended, eV/atom.
        start_energy: formation energy predicted at the start, eV/atom.
        latent_distance: from the latent decoded to that of the crystal that came out.
        score: what candidates are ranked by, eV/atom: an energy plus the weighted latent_distance, less the weighted
            logarithms of the order of the space group, of the count and of the support.
        space_group: number in the International Tables.
        symprec: angstrom; tolerance at which the symmetry was found.
        shortest_distance: angstrom.
        count: how many starts led to this crystal; explored crystals are no starts.
        others: those starts, but for `start`.
        relaxation: None for candidates that were not relaxed.
        descent_energies: formation energies predicted at the start and after each step of latent descent, eV/atom.
    """

    crystal: Crystal
    energy_per_atom: float
    latent_energy: float
    start_energy: float
    latent_distance: float
    score: float
    space_group: int
    symprec: float
    shortest_distance: float
    start: Start
    count: int
    relaxation: Relaxation | None = None
    others: tuple[Start, ...] = ()

    @property
    def support(self) -> float:
        """Share of the votes for the structures of the starts that led here; 0 for starts without a library entry."""
        voted = [start for start in (self.start, *self.others) if isfinite(start.support)]
        return float(sum({(s.space_group, s.pattern, s.orbits, s.n_formula_units): s.support for s in voted}.values()))

    def score_with(self, weights: OrderWeights, energy: float, *, above: float = 0.0) -> float:
        """What it is ranked by, eV/atom, with an energy of one's choice that lies so far above the lowest."""
        return weights.score(
            energy,
            elements=self.crystal.composition.atomic_numbers,
            latent_distance=self.latent_distance,
            space_group=self.space_group,
            count=self.count,
            support=self.support,
            volume_per_atom=self.crystal.volume / self.crystal.n_atoms,
            above=above,
        )

    def with_others(self, other: Candidate) -> Candidate:
        """This crystal, and all starts that led to it or an equal one; a descent to it is told where there was one."""
        told = self if self.count or not other.count else _told_of(self, other)
        return replace(told, count=self.count + other.count, others=(*self.others, other.start, *other.others))

    descent_energies: tuple[float, ...] = ()


def _told_of(crystal: Candidate, descent: Candidate) -> Candidate:
    """A candidate with the crystal of one and the way to it of another; all starts stay with the first."""
    return replace(
        crystal,
        energy_per_atom=descent.energy_per_atom,
        latent_energy=descent.latent_energy,
        start_energy=descent.start_energy,
        latent_distance=descent.latent_distance,
        descent_energies=descent.descent_energies,
    )
