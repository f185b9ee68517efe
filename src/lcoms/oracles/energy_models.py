"""Several energy models as one: mean energies, forces and stresses, and the spread between the models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.oracles.base import EnergyOracle, Evaluation, evaluate_all
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Composition, Crystal


class EnergyModels(EnergyOracle):
    """The energy models of a prediction: the first relaxes, all of them rank.

    Their mean is an energy model itself, which can be used for relaxation and cached like any single model. The models
    have different zeros of energy; that of the mean is their mean, so that energy differences between crystals of one
    composition are meaningful.

    Args:
        models: at least one; the first determines the batch size.

    Raises:
        ConfigError: no model was given.
    """

    def __init__(self, models: Sequence[EnergyOracle]) -> None:
        if not models:
            raise ConfigError("give at least one energy model.")
        self.models = tuple(models)
        self.name = ", ".join(model.name for model in models)
        self.batch_size = models[0].batch_size
        self.provenance = tuple(text for model in models for text in model.provenance)
        cutoffs = [model.cutoff for model in models if model.cutoff is not None]
        self.cutoff = min(cutoffs, default=None)

    @classmethod
    def named(cls, names: Sequence[str]) -> EnergyModels:
        """Make the models with these names.

        Raises:
            OracleError: one does not exist or is not installed.
        """
        return cls([make_oracle(name) for name in names])

    @property
    def first(self) -> EnergyOracle:
        """The model used for relaxation."""
        return self.models[0]

    @property
    def further(self) -> tuple[EnergyOracle, ...]:
        """The other models, which only evaluate relaxed crystals."""
        return self.models[1:]

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        records = zip(*(evaluate_all(model, crystals) for model in self.models), strict=True)
        return [_mean(some, crystal.n_atoms) for some, crystal in zip(records, crystals, strict=True)]

    def check(self, compositions: Iterable[Composition]) -> None:
        every = list(compositions)
        for model in self.models:
            model.check(every)

    def energies_by_model(self, crystals: Sequence[Crystal]) -> list[tuple[float, ...]]:
        """Return, for each crystal, its energy (eV) by each model; NaN where a model fails."""
        return _by_crystal(self.models, crystals)

    def further_energies(self, crystals: Sequence[Crystal]) -> list[tuple[float, ...]]:
        """Return the same for the further models; an empty tuple per crystal if there are none."""
        return _by_crystal(self.further, crystals)

    def spread(self, crystals: Sequence[Crystal]) -> Float[NDArray[np.float64], " n"]:
        """Return the standard deviation over the models, eV/atom, of energies relative to the mean over the crystals.

        Meant for crystals of one composition. NaN where a model fails; the mean is over the crystals where none does.
        """
        if not crystals:
            return np.zeros(0)
        sizes = np.array([crystal.n_atoms for crystal in crystals], dtype=np.float64)
        columns = np.array(self.energies_by_model(crystals), dtype=np.float64).reshape(len(crystals), -1)
        per_atom = columns / sizes[:, None]
        complete = np.isfinite(per_atom).all(axis=1)
        mean = per_atom[complete].mean(axis=0) if complete.any() else np.nan
        return np.asarray((per_atom - mean).std(axis=1), dtype=np.float64)


def _mean(records: Sequence[Evaluation], n_atoms: int) -> Evaluation:
    failed = next((record for record in records if not record.ok), None)
    if failed is not None:
        return Evaluation.failed(failed.status, n_atoms)
    n = len(records)
    return Evaluation(
        sum(record.energy for record in records) / n,
        np.sum([record.forces for record in records], axis=0) / n,
        np.sum([record.stress for record in records], axis=0) / n,
    )


def _by_crystal(models: Sequence[EnergyOracle], crystals: Sequence[Crystal]) -> list[tuple[float, ...]]:
    columns = [model.energies(crystals) for model in models]
    return [tuple(column[at] for column in columns) for at in range(len(crystals))]


@lru_cache(maxsize=2)
def models_of(names: tuple[str, ...]) -> EnergyModels | None:
    """Return the energy models with these names, cached; None if no name is given.

    Raises:
        OracleError: one does not exist or is not installed.
    """
    return EnergyModels.named(names) if names else None
