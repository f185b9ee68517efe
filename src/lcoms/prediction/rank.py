"""The fourth stage: relaxed crystals merged by structure, scored and ordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, nan

from lcoms.oracles.hull import Hull, Phase
from lcoms.prediction.refine import AS_LOW, symmetry_of
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.stages import Candidate, Decoded, Relaxed
from lcoms.structure.crystal import Composition
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import EXACT_SYMPREC, same_space_group
from lcoms.templates.structure_probability import ALL_ALIKE, StructureProbabilities

SAME_ENERGY = 0.01  # eV/atom; possible difference between relaxations that stopped early


def rank_decoded(decoded: Sequence[Decoded]) -> list[Candidate]:
    """Return decoded crystals as candidates, in the order of their scores."""
    return sorted((Candidate.of_decoded(one) for one in decoded), key=lambda candidate: candidate.score)


def rank_relaxed(
    relaxed: Sequence[Relaxed],
    weights: ScoreWeights,
    structures: StructureProbabilities = ALL_ALIKE,
) -> list[Candidate]:
    """Return distinct crystals, lowest score first; n_found is summed over those that relaxed to the same structure.

    The limit on energies applies only if random symmetric crystals were relaxed as well: otherwise it is rare that all
    templates are wrong and only the energy decides.

    Args:
        structures: probabilities of the structures from known crystals.
    """
    untemplated = any(not one.decoded.n_found for one in relaxed)
    distinct = merge_relaxed(relaxed)
    order = weights if untemplated else replace(weights, excess=0.0)
    energies = mean_energies(distinct)
    lowest = min(energies, default=nan)
    shares = [structures.of(one.crystal, symprec=one.symprec or EXACT_SYMPREC) for one in distinct]
    scored = [
        Candidate.of_relaxed(one, order.score(energy, one.decoded, above=energy - lowest, share=share), energy - lowest)
        for one, energy, share in zip(distinct, energies, shares, strict=True)
    ]
    return sorted(scored, key=lambda candidate: candidate.score)


def mean_energies(relaxed: Sequence[Relaxed]) -> list[float]:
    """Return the mean energy of each crystal (eV/atom) over the models that have an energy of every crystal.

    Models have different energy zeros, so means over different subsets of models could not be compared.
    """
    columns = list(zip(*(one.model_energies for one in relaxed), strict=True))
    whole = [*columns[:1], *(column for column in columns[1:] if all(map(isfinite, column)))]
    return [sum(row) / len(whole) for row in zip(*whole, strict=True)]


def ranking_models(relaxed: Sequence[Relaxed], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the models, the relaxing one first, whose energies enter `mean_energies`."""
    columns = list(zip(*(one.model_energies for one in relaxed), strict=True))
    further = zip(names[1:], columns[1:], strict=False)
    return (*names[:1], *(name for name, column in further if all(map(isfinite, column))))


def merge_relaxed(relaxed: Sequence[Relaxed]) -> list[Relaxed]:
    """Return one crystal for each structure: of those that match, the most symmetric, then the lowest in energy.

    A relaxation stops slightly before the minimum, so one structure is obtained with slightly different symmetries and
    with energies that differ by up to SAME_ENERGY. A crystal more than AS_LOW below a more symmetric one that it
    matches is stabilised by its distortion and is a separate structure. The proposal shown is the chemically nearest of
    those that led to the structure.
    """
    distinct: list[Relaxed] = []
    for one in sorted(relaxed, key=lambda r: (-symmetry_of(r), r.energy_per_atom)):
        for place, other in enumerate(distinct):
            near = -AS_LOW <= one.energy_per_atom - other.energy_per_atom <= SAME_ENERGY
            if near and _may_be_one(one, other) and matches(one.crystal, other.crystal, STRICT):
                decoded = other.decoded.with_others(one.decoded).nearest_proposal_first()
                distinct[place] = replace(other, decoded=decoded)
                break
        else:
            distinct.append(one)
    return distinct


def _may_be_one(one: Relaxed, other: Relaxed) -> bool:
    """Return False if a crystal on exact sites has kept another symmetry: its distortion is real, however small."""
    exact = one.decoded.is_exact or other.decoded.is_exact
    return not exact or same_space_group(one.space_group, other.space_group)


def with_hull(candidates: Sequence[Candidate], hull: Hull) -> tuple[Candidate, ...]:
    """Return the candidates, each relaxed one with its position relative to a hull."""
    return tuple(
        replace(c, hull=hull.place(c.crystal.composition.reduced, r.energy_per_atom))
        if (r := c.relaxed) is not None and r.usable
        else c
        for c in candidates
    )


def lowest_phase(composition: Composition, candidates: Sequence[Candidate]) -> Phase | None:
    """Return the lowest relaxed candidate as a reference phase; None if nothing was relaxed."""
    energies = [c.relaxed.energy_per_atom for c in candidates if c.relaxed is not None and c.relaxed.usable]
    return Phase(composition.reduced, min(energies)) if energies else None
