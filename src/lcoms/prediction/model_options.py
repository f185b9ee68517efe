"""Which energy models are asked for: one that relaxes, and those that are asked about what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lcoms.core.errors import ConfigError
from lcoms.oracles.registry import DEFAULT_ORACLE, default_further


@dataclass(frozen=True)
class RankingSpec:
    """How candidates are ranked.

    Attributes:
        committee: names of further energy models; the mean of their energies and that of the model that relaxed counts.
    """

    committee: tuple[str, ...] = ()

    def models(self, oracle: str | None) -> tuple[str, ...]:
        """Names of the energy models, that which relaxes first; none where there is no such one.

        Raises:
            ConfigError: there are further models, and nothing is relaxed.
        """
        if oracle is None and self.committee:
            raise ConfigError("a committee ranks relaxed crystals only; add --relax, or leave the committee out.")
        return () if oracle is None else (oracle, *self.committee)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a person may choose of the energy models; None leaves the choice to what is installed.

    Attributes:
        relax: relax the best candidates and rank by energy models; None: where CHGNet is installed.
        oracle: the energy model that relaxes.
        committee: further energy models, whose energies count as much in the order; an empty one for none.
    """

    relax: bool | None = None
    oracle: str | None = None
    committee: tuple[str, ...] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the energy models that this comes to, the one that relaxes first; none without relaxation."""
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
        """Options that name a model, which needs relaxation; None where they do not."""
        return {"oracle": self.oracle, "committee": self.committee or None}
