"""Candidates ranked jointly by energy, prototype probability and a powder pattern.

Each candidate's cell is fitted to the pattern within its crystal system (`lcoms.diffraction`). With the score s
(eV/atom), the log-likelihood l of the pattern and n free cell parameters, the posterior of candidate i is proportional
to exp(-s_i / T + l_i - n_i). T is the error of a score; `benchmarks/pattern_prior.py` fits it and a factor on l_i. Each
parameter costs 1 (Akaike 1974), because a distorted crystal fits slightly better than the correct one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lcoms.core.errors import ConfigError
from lcoms.diffraction import posterior
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.posterior import log_likelihood, verdict
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import read_pattern
from lcoms.diffraction.weights import PatternWeights
from lcoms.prediction.stages import Candidate, PatternMatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import RELAXED_SYMPREC, same_space_group, space_group_number

HIGHEST = 0.3  # eV/atom above the lowest score: no known crystal of 171 validation predictions lies higher than 0.19


def rank_by_pattern(
    candidates: Sequence[Candidate], fitter: PatternFitter, unrelaxed: Sequence[Crystal] = (), *, score_error: float
) -> list[Candidate]:
    """Return the candidates with their fits, most probable first; those that cannot be fitted come last.

    The probabilities assume that one of the candidates gave the pattern.

    Args:
        unrelaxed: crystals in cells that fit the pattern. A relaxed cell can be too far from the measured one to be
            refined, that of a layered compound by more than 5 %, so a candidate is fitted from those that have its
            structure, too.
        score_error: standard deviation T of a score, eV/atom.
    """
    matched = [_matched(candidate, fitter, unrelaxed) for candidate in candidates]
    fitted = [candidate for candidate in matched if candidate.pattern is not None and candidate.has_energy]
    rest = [candidate for candidate in matched if candidate.pattern is None or not candidate.has_energy]
    logs = np.array([
        -c.score / score_error + log_likelihood(c.pattern.fit) - c.pattern.fit.n_cell
        for c in fitted
        if c.pattern is not None
    ])  # fmt: skip
    shares = np.exp(logs - logs.max(initial=-np.inf)) if len(logs) else logs
    shares = shares / shares.sum() if len(logs) else shares
    told = [
        replace(c, pattern=replace(c.pattern, probability=float(share)))
        for c, share in zip(fitted, shares, strict=True)
        if c.pattern is not None
    ]
    order = np.argsort(-shares, kind="stable").tolist()
    return [*(told[at] for at in order), *rest]


def read_fitter(pattern: Path | None, wavelength: str | None, weights: PatternWeights) -> PatternFitter | None:
    """Return a fitter of the pattern in a file; None if no pattern is given.

    Args:
        weights: of the features of its fits.

    Raises:
        ConfigError: a pattern without a wavelength or vice versa, or an invalid wavelength.
        FileFormatError: the file is not a powder pattern.
    """
    if pattern is None and wavelength is None:
        return None
    if pattern is None:
        raise ConfigError("a wavelength has no effect without a pattern; give --pattern FILE, or omit it.")
    if wavelength is None:
        raise ConfigError(f"{pattern}: give the wavelength of the measurement, such as --wavelength CuKa.")
    return PatternFitter(read_pattern(pattern, read_radiation(wavelength)), weights)


def explains(candidate: Candidate) -> bool:
    """Return whether a candidate explains the pattern."""
    return candidate.pattern is not None and posterior.explains(candidate.pattern.fit)


def pattern_sentence(candidates: Sequence[Candidate]) -> str:
    """Return what the fits say about the ranked candidates; empty if rank 1 explains the whole pattern."""
    first = candidates[0] if candidates else None
    if first is not None and first.pattern is not None and explains(first):
        return verdict([first.pattern.fit])
    others = [rank for rank, one in enumerate(candidates, 1) if one.has_energy and explains(one)]
    if first is None or not others:
        fits = [candidate.pattern.fit for candidate in candidates if candidate.pattern is not None]
        return verdict(fits)
    alike = [one.is_relaxed == first.is_relaxed for one in candidates]  # other scores cannot be compared
    lowest = min(one.score for one, comparable in zip(candidates, alike, strict=True) if comparable)
    probable = [rank for rank in others if alike[rank - 1] and candidates[rank - 1].score <= lowest + HIGHEST]
    rank = (probable or others)[0]
    change = candidates[rank - 1].score - first.score
    where = f"with a score {abs(change):.2f} eV/atom {'higher' if change >= 0 else 'lower'}"
    if not probable:
        how = where if alike[rank - 1] else "was not relaxed"
        return f"No probable crystal explains the pattern; rank {rank} does, but {how}."
    return f"Rank 1 does not explain the pattern; rank {rank} does, {where}."


def _matched(candidate: Candidate, fitter: PatternFitter, unrelaxed: Sequence[Crystal]) -> Candidate:
    same = [
        crystal
        for crystal in unrelaxed
        if matches(crystal, candidate.crystal, STRICT)
        and same_space_group(space_group_number(crystal), candidate.space_group)
    ]
    try:
        fits = [fitter.fit(crystal, symprec=RELAXED_SYMPREC) for crystal in (candidate.crystal, *same)]
    except ConfigError:  # a cell with too many planes
        return candidate
    return replace(candidate, pattern=PatternMatch(max(fits, key=log_likelihood), 0.0))
