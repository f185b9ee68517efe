"""Choice of energy models: one that relaxes, and further ones that evaluate the relaxed crystals."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lcoms.core.errors import ConfigError, OptionError
from lcoms.oracles.registry import DEFAULT_ORACLE, default_further

MODEL_KEYS = {"relaxation.oracle": "oracle", "ranking.committee": "committee"}
"""Names of `ModelOptions` by the keys of the specification."""


@dataclass(frozen=True)
class RankingSpec:
    """Options of the ranking.

    Attributes:
        committee: names of further energy models; candidates are ranked by the mean energy of these and the relaxing
            model.
    """

    committee: tuple[str, ...] = ()

    def models(self, oracle: str | None) -> tuple[str, ...]:
        """Return the names of the energy models, the relaxing one first; empty if there is none.

        Raises:
            ConfigError: there are further models but nothing is relaxed, or one is named twice.
        """
        if oracle is None and self.committee:
            sentence = "{} ranks only relaxed crystals; relax, or omit it."
            raise OptionError(sentence, ["ranking.committee"])
        names = () if oracle is None else (oracle, *self.committee)
        if twice := [name for at, name in enumerate(names) if name in names[:at]]:
            raise ConfigError(f"{twice[0]} is named twice and would count twice; name each energy model once.")
        return names


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """User options for the energy models; None leaves the choice to what is installed.

    Attributes:
        relax: relax the best candidates and rank by energy models; None: if CHGNet is installed.
        oracle: energy model for relaxation.
        committee: further energy models, with equal weight in the ranking; an empty one for none.
    """

    relax: bool | None = None
    oracle: str | None = None
    committee: tuple[str, ...] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the resulting energy models, the relaxing one first; empty without relaxation."""
        relax = self.relax
        if relax is None:
            relax = find_spec("chgnet") is not None or self.oracle is not None
        if not relax:
            return ()
        oracle = self.oracle or DEFAULT_ORACLE
        further = default_further(oracle) if self.committee is None else self.committee
        return (oracle, *(name for name in further if name != oracle))

    @property
    def named(self) -> dict[str, Any]:
        """Options that name a model, which needs relaxation; None if they name none."""
        return {"oracle": self.oracle, "committee": self.committee or None}
