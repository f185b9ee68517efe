"""The third stage: decoded crystals relaxed with an energy model and symmetrised again.

The surrogate's order decides which crystals are worth relaxing; the energy models decide which of them is best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from statistics import median

from lcoms.oracles.references import FormationEnergy
from lcoms.prediction.stages import Decoded, Relaxed
from lcoms.relax.result import RelaxResult, Trajectory
from lcoms.structure.crystal import Crystal
from lcoms.structure.exact_sites import moved_by_symmetry
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import NEAR_LADDER, Symmetrised, operations_per_atom, symmetrise

LOWEST_FORMATION_ENERGY = -6.0  # eV/atom; known compounds stay above -5
LARGEST_GAIN = 0.5  # eV/atom by which a random symmetric crystal may lie below all others
LARGEST_DISPUTE = 1.0  # eV/atom; largest deviation of two models' energy difference from its median over all crystals
LOOSE_LADDER = (0.3, 0.2)  # angstrom; tolerances at which a more symmetric crystal is searched for and tested
SHORT_OF_SITE = 0.01  # angstrom; largest distance of a relaxed atom from its symmetric site
AS_LOW = 0.002  # eV/atom; energy that a crystal may lose by becoming more symmetric
EXACT_AS_LOW = 0.0005  # eV/atom; the same if the template has the distortion and the relaxation started from it

Relax = Callable[[Sequence[Crystal]], Sequence[RelaxResult]]
FurtherEnergies = Callable[[Sequence[Crystal]], Sequence[tuple[float, ...]]]
"""Function from crystals to their energies, eV, by each further model; NaN if one fails."""


@dataclass(frozen=True, eq=False)
class RelaxedSet:
    """All relaxations of one composition.

    Attributes:
        chosen: decoded crystals that were relaxed.
        usable: relaxations that can be ranked.
        failed: decoded crystals whose relaxation failed, with the result.
        failures: one sentence for each relaxation that is not ranked.
        n_relaxations: number of crystals relaxed.
        n_oracle_calls: number of energy evaluations.
    """

    chosen: tuple[Decoded, ...]
    usable: tuple[Relaxed, ...]
    failed: tuple[Relaxed, ...] = ()
    failures: tuple[str, ...] = ()
    n_relaxations: int = 0
    n_oracle_calls: int = 0

    def followed_by(self, other: RelaxedSet) -> RelaxedSet:
        """Return these relaxations and then those of another set of the same composition."""
        return RelaxedSet(
            chosen=self.chosen + other.chosen,
            usable=self.usable + other.usable,
            failed=self.failed + other.failed,
            failures=self.failures + other.failures,
            n_relaxations=self.n_relaxations + other.n_relaxations,
            n_oracle_calls=self.n_oracle_calls + other.n_oracle_calls,
        )


def collect(
    chosen: Sequence[Decoded],
    results: Sequence[RelaxResult],
    formation_energy: FormationEnergy,
    further_energies: FurtherEnergies | None = None,
) -> RelaxedSet:
    """Return the relaxations of decoded crystals, sorted into those that can be ranked and those that cannot.

    Args:
        results: one for each crystal, in order.
        formation_energy: function from composition and total energy per atom to formation energy.
        further_energies: energies by further models; None: there are none.
    """
    usable, failed, failures = [], [], []
    for decoded, result in zip(chosen, results, strict=True):
        reason = why_unusable(result, formation_energy)
        if reason is None:
            usable.append(_relaxed(decoded, result, formation_energy))
        elif decoded.n_found:  # a random symmetric crystal is no candidate before it is relaxed
            failed.append(_not_relaxed(decoded, result))
            where = f"space group {decoded.space_group} from {decoded.proposal.source}"
            failures.append(f"a crystal in {where}: {reason}")
    usable, gains = _trusted(usable)
    failures += [
        f"a random symmetric crystal: {gain:.1f} eV/atom below all others, an unphysical minimum of the energy model."
        for gain in gains
    ]
    if further_energies is not None:
        usable, gaps = _undisputed(_with_energies(usable, further_energies))
        failures += [
            f"a relaxed crystal: the energy models differ by {gap:.1f} eV/atom; one of them is wrong about it."
            for gap in gaps
        ]
    calls = sum(result.n_steps + 1 for result in results)
    return RelaxedSet(tuple(chosen), tuple(usable), tuple(failed), tuple(failures), len(results), calls)


def with_further(
    relaxed: RelaxedSet,
    further: Sequence[tuple[Crystal, RelaxResult]],
    formation_energy: FormationEnergy,
    further_energies: FurtherEnergies | None = None,
) -> RelaxedSet:
    """Return the set with several of its crystals relaxed further, if they remain the same crystals.

    A crystal whose relaxation failed, lost symmetry or no longer matches itself strictly is kept unchanged. Over many
    steps, rounding errors grow at a saddle of the relaxing energy model, which the other models need not have; and
    along soft modes, such as the shear of layers, crystals drift to other minima than those of the known crystals.

    Args:
        further: relaxed crystals of the set, and the results of their further relaxation.
    """
    after = {id(crystal): result for crystal, result in further if why_unusable(result, formation_energy) is None}
    better: dict[int, Relaxed] = {}
    for place, one in enumerate(relaxed.usable):
        if id(one.crystal) in after:
            new = _relaxed(one.decoded, after[id(one.crystal)], formation_energy)
            if symmetry_of(new) >= symmetry_of(one) and matches(one.crystal, new.crystal, STRICT):
                path, steps = (*one.energies, *new.energies[1:]), one.n_steps + new.n_steps
                better[place] = replace(new, energies=path, n_steps=steps)
    told = list(better.values())
    if further_energies is not None:
        told = _with_energies(told, further_energies)
    usable = list(relaxed.usable)
    for place, new in zip(better, told, strict=True):
        usable[place] = new
    calls = sum(result.n_steps + 1 for _, result in further)
    return replace(relaxed, usable=tuple(usable), n_oracle_calls=relaxed.n_oracle_calls + calls)


def why_unusable(result: RelaxResult, formation_energy: FormationEnergy) -> str | None:
    """Return why a relaxation cannot be ranked; None if it can.

    Learned potentials have unphysical minima: crystals far from all training data, with absurd energies.
    """
    if not result.usable:
        return result.reason or result.status.value
    energy = formation_energy(result.crystal.composition, result.without_pressure)
    if energy is not None and energy < LOWEST_FORMATION_ENERGY:
        return f"a formation energy of {energy:.1f} eV/atom, which no compound has: an unphysical minimum."
    return None


def more_symmetric(
    results: Sequence[RelaxResult], relax: Relax, began: Sequence[Decoded] | None = None
) -> list[tuple[RelaxResult, int]]:
    """Return relaxations; one that ended near a more symmetric crystal is replaced by that crystal's, if as low.

    Each is given with the number of energy evaluations that it took, including those of a second relaxation.

    A relaxation that started without symmetry ends slightly before the minimum, so its crystal may have the symmetry
    only within a tolerance that would prove nothing by itself.

    Args:
        began: crystals from which the relaxations started; the distortion of those on exact sites may be real.
    """
    exact = [False] * len(results) if began is None else [one.is_exact for one in began]
    near: dict[int, Crystal] = {}
    for at, result in enumerate(results):
        if result.usable:
            loosely = symmetrise(result.crystal, ladder=LOOSE_LADDER)
            closely = symmetrise(result.crystal, ladder=NEAR_LADDER)
            if symmetry_of(loosely) > symmetry_of(closely):
                near[at] = loosely.crystal
    better = [(result, result.n_steps + 1) for result in results]
    for at, again in zip(near, relax(list(near.values())) if near else [], strict=True):
        lost = EXACT_AS_LOW if exact[at] else AS_LOW
        kept, n_evaluations = better[at]
        if again.usable and again.energy_per_atom <= kept.energy_per_atom + lost:
            kept = _one_after_the_other(kept, again)
        better[at] = kept, n_evaluations + again.n_steps + 1
    return better


def symmetry_of(found: Symmetrised | Relaxed) -> float:
    """Return the symmetry operations per atom of the primitive cell, lost translations included."""
    return operations_per_atom(found.crystal, found.space_group)


def _one_after_the_other(first: RelaxResult, second: RelaxResult) -> RelaxResult:
    """Return the second relaxation, preceded by the steps and energies of the first."""
    trajectory = second.trajectory
    if first.trajectory is not None and trajectory is not None:
        ratio = second.crystal.n_atoms / first.crystal.n_atoms
        before = tuple(energy * ratio for energy in first.trajectory.energies)
        trajectory = Trajectory((*before, *trajectory.energies))
    return replace(second, n_steps=first.n_steps + second.n_steps, trajectory=trajectory)


def _relaxed(decoded: Decoded, result: RelaxResult, formation_energy: FormationEnergy) -> Relaxed:
    symmetric = symmetrise(result.crystal, ladder=_ladder(decoded, result.crystal))
    per_atom = result.energy / result.crystal.n_atoms
    return Relaxed(
        decoded=decoded,
        crystal=symmetric.crystal,
        space_group=symmetric.space_group,
        symprec=symmetric.symprec,
        shortest_distance=shortest_distance(symmetric.crystal.lattice, symmetric.crystal.frac_coords),
        status=result.status.value,
        energy_per_atom=per_atom,
        formation_energy=None if result.pressure else formation_energy(decoded.crystal.composition, per_atom),
        further_energies=(),
        energies=_path(result),
        n_steps=result.n_steps,
        pressure=result.pressure,
    )


def _ladder(decoded: Decoded, crystal: Crystal) -> tuple[float, ...]:
    """Return the tolerances for the symmetry of a relaxed crystal.

    A crystal on exact sites keeps its own symmetry: a looser tolerance is used only if it moves the atoms by less than
    the distance that relaxations leave them from their sites.
    """
    if not decoded.is_exact:
        return NEAR_LADDER
    own = [t for t in NEAR_LADDER if (m := moved_by_symmetry(crystal, symprec=t)) is not None and m[0] <= SHORT_OF_SITE]
    return (*own, decoded.symprec)


def _not_relaxed(decoded: Decoded, result: RelaxResult) -> Relaxed:
    """Return a decoded crystal unchanged, with the result of its failed relaxation."""
    return Relaxed(
        decoded=decoded,
        crystal=decoded.crystal,
        space_group=decoded.space_group,
        symprec=decoded.symprec,
        shortest_distance=decoded.shortest_distance,
        status=result.status.value,
        energy_per_atom=nan,
        formation_energy=None,
        further_energies=(),
        energies=_path(result),
        n_steps=result.n_steps,
    )


def _path(result: RelaxResult) -> tuple[float, ...]:
    """Return the energies along the relaxation, eV/atom; empty if they were not kept."""
    path = () if result.trajectory is None else result.trajectory.energies
    return tuple(energy / result.crystal.n_atoms for energy in path)


def _with_energies(relaxed: Sequence[Relaxed], further_energies: FurtherEnergies) -> list[Relaxed]:
    """Return the relaxations with the energies of their crystals by the further models."""
    found = further_energies([one.crystal for one in relaxed])
    return [
        replace(one, further_energies=tuple(e / one.crystal.n_atoms + one.pressure_volume for e in energies))
        for one, energies in zip(relaxed, found, strict=True)
    ]


def _trusted(relaxed: Sequence[Relaxed]) -> tuple[list[Relaxed], list[float]]:
    """Return relaxations without random symmetric crystals too far below all others, and how far these lie below."""
    lowest = min((one.energy_per_atom for one in relaxed if one.decoded.n_found), default=-inf)
    gains = [lowest - one.energy_per_atom if not one.decoded.n_found else -inf for one in relaxed]
    kept = [one for one, gain in zip(relaxed, gains, strict=True) if gain <= LARGEST_GAIN]
    return kept, [gain for gain in gains if gain > LARGEST_GAIN]


def _undisputed(relaxed: Sequence[Relaxed]) -> tuple[list[Relaxed], list[float]]:
    """Return the relaxations for which two models differ by about the usual amount, and the deviations of the others.

    An unphysical minimum of one model is not one of the other. A model without an energy of one crystal is skipped.
    """
    kept = list(relaxed)
    disputes: list[float] = []
    for place in range(len(relaxed[0].further_energies) if relaxed else 0):
        gaps = [one.energy_per_atom - one.further_energies[place] for one in kept]
        if len(gaps) < 3 or not all(map(isfinite, gaps)):
            continue
        usual = median(gaps)
        apart = [abs(gap - usual) for gap in gaps]
        kept = [one for one, gap in zip(kept, apart, strict=True) if gap <= LARGEST_DISPUTE]
        disputes += [gap for gap in apart if gap > LARGEST_DISPUTE]
    return kept, disputes
