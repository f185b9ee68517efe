"""The second stage: from proposals to decoded crystals (latent descent, decoding, symmetry, duplicates, order)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lcoms.models.composition import element_fractions
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import NONE_LEFT_OUT, Contradictions, groups_in_effect, promising
from lcoms.prediction.decoder import Constraint, Decode, decode_latents
from lcoms.prediction.descend import DescentResult, descend
from lcoms.prediction.propose import composition_seed
from lcoms.prediction.random_symmetric import SymmetricDraw, best_apart, draw_crystals
from lcoms.prediction.spec import ConstraintSpec, PredictionSpec
from lcoms.prediction.stages import Decoded, Proposal
from lcoms.structure.comparison import same_structure
from lcoms.structure.crystal import Composition
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.symmetry import NEAR_LADDER, TOLERANCE_LADDER, Symmetrised, symmetrise

MIN_DISTANCE = 0.7  # angstrom; H-H bonds are 0.74
MOST_GROUPS = 6  # requested groups within which a latent without a template is decoded


@dataclass(frozen=True, eq=False)
class DecodedSet:
    """All decoded crystals of one composition, and counts of those discarded.

    Attributes:
        crystals: distinct crystals in the order of their score.
        direct: known crystals and templates of large cells, used without decoding and always relaxed.
        random_symmetric: random symmetric crystals; candidates only after relaxation.
        left_out: prototype probability of cells too large to try, and number of atoms in the most probable of them.
        known_passed_over: number of known crystals of the composition that were not taken directly: high above the
            hull, too large or too many.
        known_of_other_sizes: number of those left out because of the requested numbers of formula units.
        contradicting: numbers of decoded crystals discarded because they contradict the constraints.
        n_proposals: number of descents.
        n_invalid: number of descents without a valid crystal.
        n_too_close: number of crystals with atoms closer than `MIN_DISTANCE`.
        n_duplicates: number of crystals equal to a better one.
    """

    composition: Composition
    crystals: tuple[Decoded, ...]
    random_symmetric: tuple[Decoded, ...]
    n_proposals: int
    n_invalid: int
    n_too_close: int
    n_duplicates: int
    direct: tuple[Decoded, ...] = ()
    left_out: tuple[float, int] = (0.0, 0)
    known_passed_over: int = 0
    known_of_other_sizes: int = 0
    contradicting: Contradictions = NONE_LEFT_OUT


def nothing_decoded(composition: Composition) -> DecodedSet:
    """Return a set without crystals."""
    return DecodedSet(composition.reduced, (), (), 0, 0, 0, 0)


def decode(
    proposals: Sequence[Proposal],
    composition: Composition,
    bundle: WeightBundle,
    spec: PredictionSpec,
    generator: torch.Generator,
) -> DecodedSet:
    """Descend from the proposals and decode the resulting latents."""
    search = spec.search
    cells = [composition.scaled(proposal.n_formula_units) for proposal in proposals]
    z0 = torch.stack([proposal.latent for proposal in proposals])
    features = element_fractions(composition).expand(len(proposals), -1)
    start = z0.to(bundle.device), features.to(bundle.device)
    descent = descend(bundle.surrogate, *start, steps=search.steps, step_size=search.step_size).cpu()
    asked = _commonest(spec.constraints, composition, bundle)
    constraints = [_constraints(p, asked) if search.symmetry else [] for p in proposals]
    known = spec.constraints.known_cell if search.symmetry else None
    found = decode_latents(bundle, descent.z, cells, constraints, generator, config=search.decoder, known=known)
    kept = [(row, one) for row, some in enumerate(found) for one in some]
    apart = [(row, d) for row, d in kept if shortest_distance(d.crystal.lattice, d.crystal.frac_coords) >= MIN_DISTANCE]
    decoded = _symmetrised(apart, proposals, descent, bundle)
    distinct = in_score_order(drop_duplicates(sorted(decoded, key=_score)), bundle)
    wanted, contradicting = promising(distinct, spec.constraints, composition, pressure=spec.pressure)
    return DecodedSet(
        composition=composition.reduced,
        crystals=tuple(wanted),
        random_symmetric=tuple(_random_symmetric(proposals, wanted[: spec.n_decoded], composition, bundle, spec)),
        n_proposals=len(proposals),
        n_invalid=sum(not some for some in found),
        n_too_close=len(kept) - len(apart),
        n_duplicates=len(decoded) - len(distinct),
        contradicting=contradicting,
    )


def drop_duplicates(crystals: Sequence[Decoded]) -> list[Decoded]:
    """Return the crystals without duplicates of an earlier one, which counts them."""
    distinct: list[Decoded] = []
    for crystal in crystals:
        for place, other in enumerate(distinct):
            if same_structure(crystal, other):
                distinct[place] = other.with_others(crystal)
                break
        else:
            distinct.append(crystal)
    return distinct


def _commonest(constraints: ConstraintSpec, composition: Composition, bundle: WeightBundle) -> list[int]:
    """Return the `MOST_GROUPS` most frequent groups among the templates that are requested and that the cell allows."""
    groups, cell = groups_in_effect(constraints, composition), constraints.known_cell
    if not groups and cell is None:
        return []
    frequencies = np.bincount(bundle.library.space_groups, minlength=231)
    likely = sorted(groups or range(1, 231), key=lambda group: -int(frequencies[group]))
    return list(islice((group for group in likely if cell is None or cell.lattices(group)), MOST_GROUPS))


def _constraints(proposal: Proposal, asked: Sequence[int]) -> list[Constraint]:
    """Return the groups to decode a latent within: that of its template, else those requested, else none."""
    p = proposal
    if p.space_group:
        return [Constraint(p.space_group, 1.0, p.wyckoff_sequence, p.sites, p.cell_code, p.orbits)]
    return [Constraint(group) for group in asked]


def _symmetrised(
    decodes: Sequence[tuple[int, Decode]], proposals: Sequence[Proposal], descent: DescentResult, bundle: WeightBundle
) -> list[Decoded]:
    """Return decoded crystals, each given with the row of its proposal, symmetrised and with energies."""
    symmetric = [
        symmetrise(one.crystal, ladder=NEAR_LADDER if one.space_group else TOLERANCE_LADDER) for _, one in decodes
    ]
    energies = bundle.energies([s.crystal for s in symmetric])
    weights = bundle.ranking.decoded
    decoded = []
    for (row, one), s, energy in zip(decodes, symmetric, energies, strict=True):
        decoded.append(
            Decoded(
                crystal=s.crystal,
                space_group=s.space_group,
                symprec=s.symprec,
                shortest_distance=shortest_distance(s.crystal.lattice, s.crystal.frac_coords),
                energy_per_atom=energy,
                latent_energy=float(descent.energies[row]),
                descent_energies=tuple(descent.energy_path[:, row].tolist()),
                latent_distance=one.distance,
                score=energy + weights.distance * one.distance,
                proposal=proposals[row],
            )
        )
    return decoded


def in_score_order(crystals: Sequence[Decoded], bundle: WeightBundle) -> list[Decoded]:
    """Return the crystals best first, their scores including all duplicates merged into each."""
    weights = bundle.ranking.decoded
    scored = [replace(d, score=weights.score(d.energy_per_atom, d)) for d in crystals]
    return sorted(scored, key=_score)


def _random_symmetric(
    proposals: Sequence[Proposal],
    decoded: Sequence[Decoded],
    composition: Composition,
    bundle: WeightBundle,
    spec: PredictionSpec,
) -> list[Decoded]:
    """Return the random symmetric crystals of lowest surrogate energy, in cells of the same sizes as the proposals."""
    config = spec.search.random_symmetric
    if not config.n:
        return []
    volumes = [d.crystal.volume / d.crystal.n_atoms for d in decoded]
    usual = float(np.median(volumes)) if volumes else composition.usual_volume / composition.n_atoms
    units = Counter(proposal.n_formula_units for proposal in proposals)
    cells = [(composition.scaled(u), float(n), usual * composition.scaled(u).n_atoms) for u, n in sorted(units.items())]
    random = np.random.default_rng([composition_seed(spec.seed, composition), 1])
    library = bundle.library
    frequencies = np.bincount(library.space_groups[library.n_atoms <= bundle.max_atoms], minlength=231)
    if groups := groups_in_effect(spec.constraints, composition):
        frequencies[np.setdiff1d(np.arange(len(frequencies)), groups)] = 0
    known = spec.constraints.known_cell
    draws = draw_crystals(cells, frequencies, config, random, lattices=None if known is None else known.lattices_of)
    energies = bundle.energies([draw.crystal for draw in draws])
    chosen = best_apart(draws, energies, config)
    latents = bundle.encode([draws[at].crystal for at in chosen])
    return [_undescended(draws[at], energies[at], latent) for at, latent in zip(chosen, latents, strict=True)]


def _undescended(draw: SymmetricDraw, energy: float, latent: Tensor) -> Decoded:
    """Return a random symmetric crystal, which no descent led to, as a decoded one."""
    crystal = draw.crystal
    units = crystal.composition.n_formula_units
    found = Symmetrised(crystal, draw.space_group, NEAR_LADDER[0])
    proposal = Proposal("symmetric", "", float("nan"), units, latent, draw.space_group)
    return Decoded.as_is(found, energy, proposal, n_found=0)


def _score(decoded: Decoded) -> float:
    return decoded.score
