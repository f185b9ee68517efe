"""Whether the energy models of a prediction see the neighbours of an element's atoms (`oracles.reach`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lcoms.oracles.reach import element_beyond_reach
from lcoms.structure.crystal import Composition

if TYPE_CHECKING:
    from lcoms.prediction.pipeline import Predictor


def beyond_reach(predictor: Predictor, composition: Composition) -> list[str]:
    """One sentence for each model that relaxes or ranks and does not."""
    return [said for model in predictor.models if (said := element_beyond_reach(model, composition))]
