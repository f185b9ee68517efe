"""Synthetic predictions for the page tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tiny import caesium_chloride, decoded_of, decoded_set, perovskite, proposal_of, relaxed_of, rock_salt, wurtzite

from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.prediction.by_pattern import rank_by_pattern
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate, Decoded, Proposal

DESCENT = tuple(-1 - 0.01 * step for step in range(21))


def proposal(source: str = "mp-22862", formula: str = "KCl", distance: float = 1.5) -> Proposal:
    return proposal_of(source, formula, distance)


def relaxed(decoded: Decoded, formation: float | None, above: float) -> Candidate:
    total = (formation or 0.0) - 3
    energies = tuple(total + 0.5 / (1 + step) for step in range(6))
    found = relaxed_of(decoded, total, formation_energy=formation, energies=energies)
    return Candidate.of_relaxed(found, total, above)


def salt(**changes: object) -> Prediction:
    """Return three candidates of NaCl, whose order is 1, 2, 3 by energy and 2, 3, 1 by volume."""
    decoded = (
        decoded_of(rock_salt(), energy_per_atom=-1.6, proposal=proposal(), n_found=7, descent_energies=DESCENT),
        decoded_of(caesium_chloride(3.4, (11, 17)), energy_per_atom=-1.9, descent_energies=DESCENT),
        decoded_of(wurtzite(3.9, 6.2, numbers=(11, 17)), energy_per_atom=-1.5, proposal=proposal("mp-1", "AgI", 9.0)),
    )
    likely, other = relaxed(decoded[0], -2.02, 0.0), relaxed(decoded[1], -1.97, 0.05)
    stated = (replace(likely, probability=0.83), replace(other, probability=0.06))
    candidates = (*stated, Candidate.of_decoded(decoded[2]))
    made = Prediction(
        decoded[0].crystal.composition.reduced, candidates, replace(decoded_set(*decoded), n_proposals=48),
        PredictionSpec(), "0123abcd", ranked_by=("chgnet:r2scan",), n_duplicates=3,
        failures=("a crystal in space group 186 from mp-1: hopeless",),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def titanate() -> Prediction:
    """Return a prediction with one unrelaxed candidate."""
    decoded = decoded_of(perovskite(), proposal=proposal("random", "", float("nan")))
    spec = PredictionSpec(relaxation=None)
    composition = decoded.crystal.composition.reduced
    return Prediction(composition, (Candidate.of_decoded(decoded),), decoded_set(decoded), spec, "0123abcd")


def overlap_of(prediction: Prediction, n_same: int = 0) -> TrainingOverlap:
    """Return overlaps of candidates near the training data, within it, and far from it."""
    distances = (0.5, 3.0, 12.0)[: len(prediction.candidates)]
    return TrainingOverlap(n_same, 1000, 1.0, 5.0, tuple(Overlap(f"id-{d}", "LiF", d) for d in distances))


def fitted() -> Prediction:
    """Return NaCl with a pattern of rock salt to which its candidates were fitted."""
    pattern = measured_pattern(rock_salt(), read_radiation("CuKa"), Measurement(), np.random.default_rng(1))
    unstated = [replace(candidate, probability=None) for candidate in salt().candidates]
    return salt(candidates=tuple(rank_by_pattern(unstated, PatternFitter(pattern), score_error=0.03)))
