"""How much work a prediction may take: settings of search and refinement that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from lcoms.core.config import from_dict
from lcoms.core.errors import ConfigError
from lcoms.oracles.registry import default_second_oracle
from lcoms.prediction.pipeline import PredictConfig, RefineConfig

NO_SECOND_ORACLE = "none"


class Effort(NamedTuple):
    """Fields of `PredictConfig` and of `RefineConfig` that differ from their defaults."""

    search: Mapping[str, Any]
    refinement: Mapping[str, Any]


EFFORTS: Mapping[str, Effort] = {
    "fast": Effort(
        {"n_starts": 10, "within": {"coded_tries": 1, "tries": 6, "more_tries": 4}}, {"n_relax": 5, "explore": {"n": 0}}
    ),
    "normal": Effort({}, {}),
    "thorough": Effort(
        {"n_starts": 75, "within": {"coded_tries": 4, "beside_codes": True, "kept": 2}},
        {"n_relax": 60, "explore": {"n": 40, "drawn": 400}},
    ),
}


def configs_for(
    effort: str, *, search: Mapping[str, Any] | None = None, refinement: Mapping[str, Any] | None = None
) -> tuple[PredictConfig, RefineConfig]:
    """The settings of an effort, with some of them chosen otherwise; None stands for what the effort says.

    "none" means no second oracle; where nothing is said it is `default_second_oracle`.

    Raises:
        ConfigError: there is no such effort or setting, or a setting makes no sense.
    """
    if effort not in EFFORTS:
        raise ConfigError(f"there is no effort {effort!r}; choose one of {', '.join(EFFORTS)}.")
    own = [{k: v for k, v in (given or {}).items() if v is not None} for given in (search, refinement)]
    usual = EFFORTS[effort]
    refined = from_dict(RefineConfig, {**usual.refinement, **own[1]})
    second = own[1].get("second_oracle", default_second_oracle(refined.oracle))
    refined = replace(refined, second_oracle="" if second in (NO_SECOND_ORACLE, refined.oracle) else second)
    return from_dict(PredictConfig, {**usual.search, **own[0]}), refined
