"""Candidates ranked by energy, prototype probability and a powder pattern together.

Each candidate's cell is fitted to the pattern as its crystal system allows (`lcoms.diffraction`). With the score s
(eV/atom), the logarithm l of the pattern's likelihood and n free parameters of the cell, the posterior of candidate
i is proportional to exp(-s_i / T + l_i - n_i). T is the error of a score; `benchmarks/pattern_prior.py` fits it and a
factor before l_i. A parameter costs 1 (Akaike 1974): a distorted crystal fits a little better than the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lcoms.core.errors import ConfigError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.posterior import log_likelihood, verdict
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import read_pattern
from lcoms.prediction.scoring import SCORE_ERROR
from lcoms.prediction.stages import Candidate, PatternMatch

SYMPREC = 0.05  # angstrom; relaxed crystals are on their symmetry to about so much


def rank_by_pattern(candidates: Sequence[Candidate], fitter: PatternFitter) -> list[Candidate]:
    """Candidates with their fits, the most probable first; those that cannot be fitted stand behind.

    The probability is that of each candidate if one of them gave the pattern.
    """
    matched = [_matched(candidate, fitter) for candidate in candidates]
    fitted = [candidate for candidate in matched if candidate.pattern is not None and candidate.has_energy]
    rest = [candidate for candidate in matched if candidate.pattern is None or not candidate.has_energy]
    logs = np.array([
        -c.score / SCORE_ERROR + log_likelihood(c.pattern.fit) - c.pattern.fit.n_cell
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


def read_fitter(pattern: Path | None, wavelength: str | None) -> PatternFitter | None:
    """What fits crystals to the pattern in a file; None where there is none.

    Raises:
        ConfigError: a pattern without a wavelength or the other way round, or a wavelength that is none.
        FileFormatError: the file is no pattern.
    """
    if pattern is None and wavelength is None:
        return None
    if pattern is None:
        raise ConfigError("a wavelength has no effect without a pattern; give --pattern FILE, or leave it out.")
    if wavelength is None:
        raise ConfigError(f"{pattern}: give the wavelength of the measurement, such as --wavelength CuKa.")
    return PatternFitter(read_pattern(pattern, read_radiation(wavelength)))


def pattern_sentence(candidates: Sequence[Candidate]) -> str:
    """What the fits say as a whole; empty where the first explains the pattern and nothing is left over."""
    return verdict([candidate.pattern.fit for candidate in candidates if candidate.pattern is not None])


def _matched(candidate: Candidate, fitter: PatternFitter) -> Candidate:
    try:
        return replace(candidate, pattern=PatternMatch(fitter.fit(candidate.crystal, symprec=SYMPREC), 0.0))
    except ConfigError:  # an element that no table of scattering has
        return candidate
