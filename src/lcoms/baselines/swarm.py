"""Particle swarm optimisation in the symmetric space.

Source: Kennedy & Eberhart (1995) with an inertia weight (Shi & Eberhart 1998), and parameters of GN-OA (Cheng, Gong &
Yin, Nat. Commun. 13, 1492, 2022):

    v <- w v + c1 r1 (p - x) + c2 r2 (g - x),  x <- x + v, kept in [0, 1]

with p the best position of the particle, g that of the swarm, and r1, r2 uniform random numbers for each dimension. The
space group and its choice of Wyckoff positions are read from intervals of equal width, so that all dimensions are
treated equally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.baselines.searcher import Searcher
from lcoms.baselines.symmetric_space import SymmetricSpace
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.bounds import require
from lcoms.core.config import to_dict


@dataclass(frozen=True)
class SwarmConfig:
    """Parameters of a swarm.

    Attributes:
        size: number of particles.
        inertia: w.
        own, common: c1 and c2.

    Raises:
        ConfigError: there are no particles, or a parameter is negative.
    """

    size: int = 200
    inertia: float = 0.8
    own: float = 0.5
    common: float = 0.5

    def __post_init__(self) -> None:
        require(self, "swarm", at_least_one=["size"], not_negative=["inertia", "own", "common"])


class SwarmSearcher(Searcher):
    """A swarm that moves when the outcomes of all its particles have been told.

    Args:
        space: search space.
        seed: seed of all random numbers.
    """

    name = "pso"

    def __init__(self, space: SymmetricSpace, config: SwarmConfig | None = None, *, seed: int = 0) -> None:
        config = config or SwarmConfig()
        super().__init__(
            {
                "composition": space.composition.formula,
                "space": to_dict(space.config),
                "swarm": to_dict(config),
                "seed": seed,
            }
        )
        self.batch_size = config.size
        self._space, self._config, self._seed = space, config, seed
        shape = (config.size, space.dimension)
        self._now, self._velocity, self._own = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._lowest = np.full(config.size, math.inf)
        self._common: Float[NDArray[np.float64], " d"] | None = None
        self._n_told = 0

    def propose(self, number: int) -> Trial | None:
        """Return the next position of a particle; None until all outcomes of the last move have been told."""
        if number // self._config.size * self._config.size > self._n_told:
            return None
        vector, _ = self._moved(number)
        return self._space.trial(number, vector)

    def learn(self, outcome: TrialOutcome) -> None:
        """Move the particle; the swarm's best position is updated when all have moved."""
        number, energy = outcome.trial.number, outcome.energy_per_atom
        particle = number % self._config.size
        self._now[particle], self._velocity[particle] = self._moved(number)
        if outcome.ok and energy < self._lowest[particle]:
            self._lowest[particle], self._own[particle] = energy, self._now[particle]
        self._n_told = number + 1
        if self._n_told % self._config.size == 0 and np.isfinite(self._lowest).any():
            self._common = self._own[self._lowest.argmin()].copy()

    def _moved(self, number: int) -> tuple[Float[NDArray[np.float64], " d"], Float[NDArray[np.float64], " d"]]:
        """Return position and velocity of a trial's particle; random until the swarm has found an energy."""
        random, config = np.random.default_rng([self._seed, number]), self._config
        if self._common is None:
            return random.random(self._space.dimension), random.uniform(-1.0, 1.0, self._space.dimension)
        particle = number % config.size
        now = self._now[particle]
        own = self._own[particle] if math.isfinite(self._lowest[particle]) else now
        r1, r2 = random.random((2, self._space.dimension))
        velocity = (
            config.inertia * self._velocity[particle]
            + config.own * r1 * (own - now)
            + config.common * r2 * (self._common - now)
        )
        return np.clip(now + velocity, 0.0, 1.0), velocity
