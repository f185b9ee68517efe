"""Bayesian optimisation with tree-structured Parzen estimators in the symmetric space, using Optuna.

Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011), as used by GN-OA (Cheng, Gong & Yin, Nat.
Commun. 13, 1492, 2022): the space group is categorical, all other variables are uniform numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lcoms.baselines.searcher import Searcher
from lcoms.baselines.symmetric_space import SymmetricSpace
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import TPESampler

PENALTY = 999.0  # eV/atom of infeasible or failed proposals, as in the original


class OptunaSearcher(Searcher):
    """Proposals of Optuna's estimators, with a new seed for each proposal.

    Args:
        space: search space.
        n_start: number of random proposals, feasible or not, before the first from an estimator.
        seed: seed of all random numbers.

    Raises:
        ConfigError: Optuna is not installed.
    """

    name = "tpe"

    def __init__(self, space: SymmetricSpace, *, n_start: int = 200, seed: int = 0) -> None:
        super().__init__(
            {
                "composition": space.composition.formula,
                "space": to_dict(space.config),
                "n_start": n_start,
                "seed": seed,
            }
        )
        self._space, self._n_start, self._seed = space, n_start, seed
        self._study = _study()
        self._distributions = _distributions(space)
        self._open: dict[int, Any] = {}

    def propose(self, number: int) -> Trial:
        """Return the sampler's suggestion from the known outcomes; it does not wait for open trials."""
        self._study.sampler = self._sampler(number)
        trial = self._study.ask(self._distributions)
        self._open[number] = trial
        vector = np.array([float(trial.params[name]) for name in self._space.names])
        vector[0] = (trial.params["space_group"] + 0.5) / self._space.n_choices
        return self._space.trial(number, vector)

    def learn(self, outcome: TrialOutcome) -> None:
        value = outcome.energy_per_atom if outcome.ok else PENALTY
        trial = self._open.pop(outcome.trial.number, None)
        if trial is not None:
            self._study.tell(trial, value)
            return
        from optuna.trial import create_trial

        vector = outcome.trial.genes["vector"]
        params: dict[str, Any] = dict(zip(self._space.names, vector, strict=True))
        params["space_group"] = int(vector[0] * self._space.n_choices)
        self._study.add_trial(create_trial(params=params, distributions=self._distributions, value=value))

    def _sampler(self, number: int) -> TPESampler:
        from optuna.samplers import TPESampler

        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        return TPESampler(n_startup_trials=self._n_start, multivariate=False, constant_liar=False, seed=seed)


def _study() -> Study:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError('Optuna is not installed; type: pip install "lcoms[baselines]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports every trial
    return optuna.create_study()


def _distributions(space: SymmetricSpace) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers: dict[str, Any] = {name: FloatDistribution(0.0, 1.0) for name in space.names}
    return {**numbers, "space_group": CategoricalDistribution(range(space.n_choices))}
