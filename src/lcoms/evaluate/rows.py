"""One row per candidate of an evaluated prediction: features for a ranking, and whether it is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from lcoms.evaluate.references import Reference
from lcoms.prediction.stages import Candidate
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import EXACT_SYMPREC, same_space_group
from lcoms.structure.symmetry_search import LOOSEST
from lcoms.structure.wyckoff import wyckoff_orbits


@dataclass(frozen=True)
class Row:
    """One candidate of an outcome, with features for a ranking.

    Attributes:
        decoded_rank: rank in the surrogate's order; None if only the random symmetric search gave it.
        score: by which the candidates were ranked, eV/atom.
        energy: by the oracle, eV/atom above the lowest; None if not relaxed.
        surrogate: formation energy by the surrogate, eV/atom.
        volume: cubic angstrom per atom.
        prototype_probability: share of similar templates that have its structure.
        template_distance: chemical distance of the template; None if there is none.
        strict, both: whether it matches the reference strictly, and strictly with the same space group.
        energies: total energies by each energy model, the relaxing one first, eV/atom; empty if not relaxed, None if
            one failed.
        orbits: Wyckoff letter and element of each orbit, as "a:Na b:Cl"; empty if the symmetry search fails.
        orbits_space_group: number of the group that these letters refer to; 0 if the search fails.
        probability: that it is the known ground state; None if none is stated.
        known_height: height above the hull of its source, eV/atom, of the crystal of the training data that it is; None
            if it is none of them.
    """

    decoded_rank: int | None
    score: float
    energy: float | None
    surrogate: float
    latent_distance: float
    space_group: int
    n_found: int
    n_atoms: int
    volume: float
    prototype_probability: float
    template_distance: float | None
    strict: bool
    both: bool
    energies: tuple[float | None, ...] = ()
    orbits: str = ""
    orbits_space_group: int = 0
    known_height: float | None = None
    probability: float | None = None


def rows_of(
    reference: Reference, before: Sequence[Candidate], after: Sequence[Candidate], group: int
) -> tuple[Row, ...]:
    """Return the candidates in the final order, compared with the reference.

    Args:
        before: candidates in the surrogate's order.
        after: candidates in the final order.
        group: space group of the reference.
    """
    place = {id(c.crystal): rank for rank, c in enumerate(before, 1)}
    rows = []
    for c in after:
        strict = matches(c.crystal, reference.crystal, STRICT)
        symprec = min(c.symprec or EXACT_SYMPREC, LOOSEST)  # the crystal is exact; the search never ends above
        number, orbits = wyckoff_orbits(c.crystal, symprec=symprec) or (0, ())
        rows.append(
            Row(
                decoded_rank=place.get(id(c.decoded.crystal)),
                score=c.score,
                energy=c.energy_above_lowest if isfinite(c.energy_above_lowest) else None,
                surrogate=c.decoded.energy_per_atom,
                latent_distance=c.decoded.latent_distance,
                space_group=c.space_group,
                n_found=c.n_found,
                n_atoms=c.crystal.n_atoms,
                volume=c.crystal.volume / c.crystal.n_atoms,
                prototype_probability=c.prototype_probability,
                template_distance=c.proposal.distance if isfinite(c.proposal.distance) else None,
                strict=strict,
                both=strict and same_space_group(c.space_group, group),
                energies=_energies(c),
                orbits=" ".join(f"{letter}:{SYMBOLS[z]}" for letter, z in orbits),
                orbits_space_group=number,
                known_height=None if c.known is None else c.known.height,
                probability=c.probability,
            )
        )
    return tuple(rows)


def _energies(candidate: Candidate) -> tuple[float | None, ...]:
    relaxed = candidate.relaxed
    every = () if relaxed is None else relaxed.model_energies
    return tuple(energy if isfinite(energy) else None for energy in every)
