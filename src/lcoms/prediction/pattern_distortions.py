"""Candidates in cells of lower symmetry, if no candidate explains a powder pattern: the pattern determines the strain.

A relaxation keeps the symmetry of a template and loses distortions that the energy models do not favour, such as the
tetragonal one of many cubic Heusler alloys. A distorted crystal is relaxed in the cell that the pattern determines.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from lcoms.core.errors import ConfigError
from lcoms.diffraction.fit import PatternFit, PatternFitter
from lcoms.diffraction.posterior import log_likelihood
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import HIGHEST, explains
from lcoms.prediction.pressure import scaled
from lcoms.prediction.stages import Candidate, Decoded
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC, RELAXED_SYMPREC, Symmetrised, space_group_number

TRIED, TAKEN = 5, 3  # candidates examined, and distorted crystals taken
LEAST_GAIN = 2.0  # of log-likelihood, beyond the cost of the further parameters


def distorted_by_pattern(
    candidates: Sequence[Candidate], fitter: PatternFitter, bundle: WeightBundle
) -> tuple[Decoded, ...]:
    """Return candidates strained as the pattern asks, at their own volumes; none if a probable one explains it."""
    ranked = sorted((one for one in candidates if one.has_energy and one.pattern), key=lambda one: one.score)
    probable = [one for one in ranked if one.score <= ranked[0].score + HIGHEST]
    if any(map(explains, probable)):
        return ()
    found: list[tuple[float, Candidate, Crystal]] = []
    for candidate in probable[:TRIED]:
        gain, fit = _best(candidate, fitter)
        if fit is not None and gain >= LEAST_GAIN:
            found.append((_value(fit), candidate, fit.crystal))
    found.sort(key=lambda one: -one[0])
    return tuple(_decoded(crystal, candidate, bundle) for _, candidate, crystal in found[:TAKEN])


def _best(candidate: Candidate, fitter: PatternFitter) -> tuple[float, PatternFit | None]:
    """Return the gain by the best strain, and its fit."""
    assert candidate.pattern is not None
    try:
        fits = fitter.fit_distorted(candidate.crystal, symprec=RELAXED_SYMPREC)
    except ConfigError:  # a cell with too many planes
        return -inf, None
    best = max(fits, key=_value, default=None)
    return (-inf, None) if best is None else (_value(best) - _value(candidate.pattern.fit), best)


def _value(fit: PatternFit) -> float:
    """Return the log-likelihood less the cost of the free parameters."""
    return log_likelihood(fit) - fit.n_cell


def _decoded(distorted: Crystal, candidate: Candidate, bundle: WeightBundle) -> Decoded:
    """Return a strained crystal on exact sites, so that it stays separate from the one it was made from."""
    volume = candidate.crystal.volume / candidate.crystal.n_atoms * distorted.n_atoms
    crystal = scaled(distorted, volume / distorted.volume)
    group = space_group_number(crystal, symprec=EXACT_SYMPREC)
    return Decoded.as_is(
        Symmetrised(crystal, group, EXACT_SYMPREC), bundle.energies([crystal])[0], candidate.decoded.proposal
    )
