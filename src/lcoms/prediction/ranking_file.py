"""The weights of the score, fitted on validation compositions, in `ranking.json` of the weights.

`lcoms fit ranking` fits and writes them. Weights of relaxed candidates are specific to the energy models that ranked
them; other energy models use the weights that ship with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcoms.core.config import from_dict, parse_json, to_dict
from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.manifest import record_files
from lcoms.models.weights import RANKING_FILE
from lcoms.prediction.scoring import ENTHALPY_ALONE, KnownWeights, ScoreWeights

FORMAT = 2


@dataclass(frozen=True)
class RankingWeights:
    """Weights of the score before and after relaxation, and their origin.

    Attributes:
        decoded: for the surrogate's order.
        relaxed: for the final order.
        known: for known crystals.
        fitted: the data and the command that gave the numbers, in words.
    """

    decoded: ScoreWeights
    relaxed: ScoreWeights
    known: KnownWeights = field(default_factory=KnownWeights)
    fitted: Mapping[str, str] = field(default_factory=dict)

    def relaxed_at(self, pressure: float) -> ScoreWeights:
        """Return the weights of relaxed candidates; under pressure (GPa) only the enthalpy, as none were fitted."""
        return ENTHALPY_ALONE if pressure else self.relaxed

    def save(self, folder: Path) -> None:
        """Write ranking.json atomically."""
        content = {"format": FORMAT, **to_dict(self)}
        write_whole(folder / RANKING_FILE, json.dumps(content, indent=1) + "\n")
        record_files(folder, [RANKING_FILE])


def load_ranking(folder: Path) -> RankingWeights:
    """Return the score weights in a folder of weights; those that ship with the package if it has none.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    path = folder / RANKING_FILE
    if not path.is_file():
        return load_ranking(_shipped())
    try:
        content: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise WeightsError(f"{path} was made by another version of lcoms; fit it again with lcoms fit ranking.")
        return from_dict(RankingWeights, content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise WeightsError(f"{path} is damaged; fit it again with lcoms fit ranking.") from error


def _shipped() -> Path:
    return Path(__file__).parent.parent / "weights"
