"""Bayesian optimisation by tree-structured Parzen estimators in the symmetric space, by Optuna.

Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011), as GN-OA uses it (Cheng, Gong & Yin, Nat.
Commun. 13, 1492, 2022): the space group is a category, everything else a uniform number.
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

PENALTY = 999.0  # eV/atom of what is infeasible or failed, as in the original


class OptunaSearcher(Searcher):
    """Proposals of Optuna's estimators, which are seeded anew for each of them.

    Args:
        space: where to search.
        n_start: feasible or not, so many random proposals come before the first of an estimator.
        seed: of everything.

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
        """What the sampler suggests after the outcomes that it knows; it does not wait for open trials."""
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
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every trial
    return optuna.create_study()


def _distributions(space: SymmetricSpace) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers: dict[str, Any] = {name: FloatDistribution(0.0, 1.0) for name in space.names}
    return {**numbers, "space_group": CategoricalDistribution(range(space.n_choices))}
