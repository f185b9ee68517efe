"""The order of relaxed crystals, with the weights and the known crystals of a bundle."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.in_cell import nearest_cell_first
from lcoms.prediction.rank import rank_relaxed
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate, Relaxed
from lcoms.templates.structure_probability import ALL_ALIKE


def in_order(relaxed: Sequence[Relaxed], bundle: WeightBundle, spec: PredictionSpec) -> list[Candidate]:
    """Return the distinct relaxed crystals of one composition, the most likely ground state first."""
    structures = ALL_ALIKE
    if relaxed and not spec.pressure:
        composition = relaxed[0].crystal.composition
        structures = bundle.structures(composition, exclude_same=spec.search.exclude_same)
    ranked = rank_relaxed(relaxed, bundle.ranking.relaxed_at(spec.pressure), structures)
    return nearest_cell_first(ranked, spec.constraints.known_cell, score_error=bundle.ranking.score_error)
