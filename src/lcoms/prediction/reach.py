"""Check that the energy models of a prediction reach the neighbours of an element's atoms (`oracles.reach`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lcoms.oracles.reach import element_beyond_reach
from lcoms.structure.crystal import Composition

if TYPE_CHECKING:
    from lcoms.prediction.pipeline import Predictor


def beyond_reach(predictor: Predictor, composition: Composition) -> list[str]:
    """Return one sentence for each model that relaxes or ranks and does not reach them."""
    models = () if predictor.energy_models is None else predictor.energy_models.models
    return [said for model in models if (said := element_beyond_reach(model, composition))]
