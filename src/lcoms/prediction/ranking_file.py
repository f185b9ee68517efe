"""The weights of the score, fitted on validation compositions, in `ranking.json` of the weights.

`lcoms fit ranking` fits and writes them. Weights of relaxed candidates are specific to the energy models that ranked
them; other energy models use the weights that ship with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path

from lcoms.core.bounds import require
from lcoms.core.config import from_dict, to_dict
from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError
from lcoms.core.fitted import SHIPPED, fitted_file, read_fitted
from lcoms.models.manifest import record_files
from lcoms.models.weights import RANKING_FILE
from lcoms.prediction.scoring import ENTHALPY_ALONE, KnownWeights, ScoreWeights

FORMAT = 3


@dataclass(frozen=True)
class RankingWeights:
    """Weights of the score before and after relaxation, and their origin.

    Attributes:
        decoded: for the surrogate's order.
        unrelaxed: for the choice of the crystals to relax, by their energies before relaxation.
        relaxed: for the final order.
        known: for known crystals.
        score_error: standard deviation of a score when weighed against a powder pattern or a cell, eV/atom.
        fitted: the data and the command that gave the numbers, in words.
    """

    decoded: ScoreWeights
    unrelaxed: ScoreWeights
    relaxed: ScoreWeights
    known: KnownWeights
    score_error: float
    fitted: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self, positive=["score_error"])
        if not isfinite(self.score_error):
            raise ConfigError("score_error must be finite.")

    def relaxed_at(self, pressure: float) -> ScoreWeights:
        """Return the weights of relaxed candidates; under pressure (GPa) only the enthalpy, as none were fitted."""
        return ENTHALPY_ALONE if pressure else self.relaxed

    def save(self, folder: Path) -> None:
        """Write ranking.json atomically."""
        content = {"format": FORMAT, **to_dict(self)}
        write_whole(folder / RANKING_FILE, json.dumps(content, indent=1) + "\n")
        record_files(folder, [RANKING_FILE])


def load_ranking(folder: Path = SHIPPED) -> RankingWeights:
    """Return the score weights in a folder of weights; those that ship with the package if it has none.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    remedy = "take it out of the folder and fit it again with lcoms fit ranking"
    parse = partial(from_dict, RankingWeights)
    return read_fitted(fitted_file(folder, RANKING_FILE), parse, version=FORMAT, remedy=remedy)
