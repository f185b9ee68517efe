"""Templates with the new elements on their exact sites: in addition to decoded crystals, and alone for larger cells.

A decode may miss the sites of its template, and a crystal decoded with slightly too high a symmetry keeps it. The exact
sites of a crystal that was relaxed by its source avoid both problems, and such crystals relax in a few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import groups_in_effect, promising
from lcoms.prediction.decode import DecodedSet, in_score_order
from lcoms.prediction.known import Direct
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Decoded, Proposal
from lcoms.structure.comparison import same_structure
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import EXACT_SYMPREC, Symmetrised
from lcoms.templates.placing import ChosenTemplate, substitute


def with_direct_crystals(decoded: DecodedSet, direct: Direct, bundle: WeightBundle, spec: PredictionSpec) -> DecodedSet:
    """Return the set with crystals that need no decoding: those always relaxed, and likely templates on exact sites.

    A decoded crystal that is the same structure takes over the exact sites.
    """
    groups = groups_in_effect(spec.constraints, decoded.composition)
    likely = [one for one in direct.likely if not groups or one.template.sites.space_group in groups]
    made = on_exact_sites(decoded.composition, likely, bundle, spec.search.direct)
    new = [one for one in made if not any(same_structure(one, other) for other in direct.crystals)]
    exact, contradicting = promising(new, spec.constraints, decoded.composition, pressure=spec.pressure)
    scored = in_score_order(with_exact_sites(decoded.crystals, exact), bundle)
    ordered, _ = promising(scored, spec.constraints, decoded.composition, pressure=spec.pressure)
    return replace(
        decoded,
        crystals=tuple(ordered),
        direct=direct.crystals,
        contradicting=decoded.contradicting + direct.contradicting + contradicting,
        left_out=(direct.left_out, direct.larger),
        known_passed_over=direct.passed_over,
        known_of_other_sizes=direct.other_sizes,
    )


def on_exact_sites(
    composition: Composition, templates: Sequence[ChosenTemplate], bundle: WeightBundle, n: int
) -> list[Decoded]:
    """Return at most n distinct crystals on the exact sites of the first templates.

    Templates of one structure may differ in their free coordinates, as pyrite and solid carbon dioxide do, or by small
    distortions, as the tungsten trioxides do. After the first, the probability of each is reduced by its additional
    chemical distance.
    """
    if bundle.templates is None:
        return []
    chosen, crystals = _unlike(composition, templates, bundle.templates.element_volumes, n)
    every = bundle.encode([*crystals, *(one.template.crystal for one in chosen)])
    latents, before = every[: len(crystals)], every[len(crystals) :]
    energies = bundle.energies(crystals, latents=latents)
    nearest: dict[int, float] = {}
    made = []
    for one, crystal, latent, own, energy in zip(chosen, crystals, latents, before, energies, strict=True):
        sites, farther = one.template.sites, one.distance - nearest.setdefault(one.template.structure, one.distance)
        left = exp(-bundle.library.similarity.sharpness * max(farther, 0.0))
        proposal = Proposal(
            source=one.template.id,
            formula=one.template.composition.reduced_formula,
            distance=one.distance,
            n_formula_units=one.n_formula_units,
            latent=own,
            space_group=sites.space_group,
            prototype_probability=left * one.prototype_probability,
            orbits=sites.orbits,
        )
        decoded = Decoded.as_is(Symmetrised(crystal, sites.space_group, EXACT_SYMPREC), energy, proposal)
        learned = crystal.n_atoms <= bundle.max_atoms  # the networks were not trained on larger cells
        made.append(replace(decoded, latent_distance=float((latent - own).norm())) if learned else decoded)
    return made


def _unlike(
    composition: Composition, templates: Sequence[ChosenTemplate], element_volumes: NDArray[np.float64], n: int
) -> tuple[list[ChosenTemplate], list[Crystal]]:
    """Return the first n templates that give distinct crystals, and these crystals."""
    chosen: list[ChosenTemplate] = []
    crystals: list[Crystal] = []
    made: dict[tuple[int, int], list[Crystal]] = {}
    for one in templates:
        if len(chosen) == n:
            break
        crystal = substitute(composition, one.template, element_volumes)
        alike = made.setdefault((one.template.structure, one.template.sites.space_group), [])
        if not any(matches(crystal, other, STRICT) for other in alike):
            alike.append(crystal)
            chosen.append(one)
            crystals.append(crystal)
    return chosen, crystals


def with_exact_sites(decoded: Sequence[Decoded], exact: Sequence[Decoded]) -> list[Decoded]:
    """Return decoded crystals, moved to exact sites if an exact crystal is the same, then the other exact crystals."""
    left, found = list(exact), []
    for one in decoded:
        same = next((other for other in left if same_structure(one, other)), None)
        if same is None:
            found.append(one)
            continue
        left.remove(same)
        crystal, group, shortest = same.crystal, same.space_group, same.shortest_distance
        found.append(replace(one, crystal=crystal, space_group=group, symprec=same.symprec, shortest_distance=shortest))
    return [*found, *left]
