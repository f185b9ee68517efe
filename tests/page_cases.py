"""Predictions made up for the tests of the page."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny import TINY, caesium_chloride, candidate_of, perovskite, rock_salt, wurtzite

from lcoms.prediction.candidate import Candidate, Relaxation
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.pipeline import PredictConfig, Prediction, RefineConfig
from lcoms.prediction.propose import Start


def start(source: str = "mp-22862", formula: str = "KCl", distance: float = 1.5) -> Start:
    return Start(source, formula, distance, 1, torch.zeros(TINY.latent_dim))


def relaxed(candidate: Candidate, formation: float, above: float) -> Candidate:
    energies = tuple(formation - 3 + 0.5 / (1 + step) for step in range(6))
    relaxation = Relaxation("converged", formation - 3, formation, above, 5, candidate.crystal, energies=energies)
    return replace(candidate, relaxation=relaxation)


def salt(**changes: object) -> Prediction:
    """Three candidates of NaCl; by energy they stand 1, 2, 3, by volume 2, 3, 1."""
    descent = {"descent_energies": tuple(-1 - 0.01 * step for step in range(21))}
    candidates = (
        relaxed(candidate_of(rock_salt(), energy_per_atom=-1.6, start=start(), count=7, **descent), -2.02, 0.0),
        relaxed(candidate_of(caesium_chloride(3.4, (11, 17)), energy_per_atom=-1.9, **descent), -1.97, 0.05),
        candidate_of(wurtzite(3.9, 6.2, numbers=(11, 17)), energy_per_atom=-1.5, start=start("mp-1", "AgI", 9.0)),
    )
    made = Prediction(
        candidates[0].crystal.composition.reduced, candidates, PredictConfig(), "0123abcd", 48, 1, 2, 3,
        refined=RefineConfig(), failures=("candidate 3 in the surrogate's order: hopeless",), confidence=0.83,
    )  # fmt: skip
    return replace(made, **changes)


def titanate() -> Prediction:
    """One candidate that was not relaxed."""
    candidate = candidate_of(perovskite(), start=start("random", "", float("nan")))
    return Prediction(candidate.crystal.composition.reduced, (candidate,), PredictConfig(), "0123abcd", 9, 0, 0, 0)


def overlap_of(prediction: Prediction, n_same: int = 0) -> TrainingOverlap:
    """Candidates that lie near the data, within it, and far from it."""
    distances = (0.5, 3.0, 12.0)[: len(prediction.candidates)]
    return TrainingOverlap(n_same, 1000, 1.0, 5.0, tuple(Overlap(f"id-{d}", "LiF", d) for d in distances))
