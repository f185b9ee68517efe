"""Energies for searches: crystals are relaxed with an oracle."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.baselines.trial import Answer
from lcoms.core.config import to_dict
from lcoms.oracles.base import EnergyOracle
from lcoms.relax.result import RelaxConfig
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Crystal


class RelaxedEnergy:
    """Energies per atom after relaxation with an oracle, and the relaxed crystals.

    Crystals that exploded, or that the oracle could not evaluate, have no energy; those that did not converge have that
    of the lowest crystal on their path.

    Args:
        processes: see `relax_crystals`.

    Attributes:
        name: description of oracle and relaxation.
    """

    def __init__(
        self, oracle: str | EnergyOracle, config: RelaxConfig | None = None, *, processes: int | None = None
    ) -> None:
        self._oracle, self._config, self._processes = oracle, config or RelaxConfig(), processes
        name = oracle if isinstance(oracle, str) else oracle.name
        changed = {key: value for key, value in to_dict(self._config).items() if value != to_dict(RelaxConfig())[key]}
        self.name = f"{name}, relaxed" + "".join(f", {key}={value}" for key, value in changed.items())

    def __call__(self, crystals: Sequence[Crystal]) -> list[Answer]:
        """Return energies in eV/atom, NaN where there is none, with the relaxed crystals."""
        results = relax_crystals(crystals, self._oracle, self._config, processes=self._processes)
        usable = ("converged", "step limit", "hopeless")
        return [
            Answer(result.energy_per_atom if result.status.value in usable else float("nan"), result.crystal)
            for result in results
        ]
