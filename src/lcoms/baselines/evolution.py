"""Evolutionary search with the operators of ASE's genetic algorithm: cut and splice, strain, permutation, rattle.

Operators from `ase-ga`: Vilhelmsen & Hammer, Phys. Rev. Lett. 108, 126101 (2012); for variable cells, Glass, Oganov &
Hansen, Comput. Phys. Commun. 175, 713 (2006), and Lonie & Zurek, Comput. Phys. Commun. 182, 372 (2011). Parents are
drawn with probabilities proportional to the fitness of the first of these,

    f = (1 - tanh(2 rho - 1)) / 2,  rho = (E - E_min) / (E_max - E_min)

over the population, which holds the lowest crystals found so far, without duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lcoms.baselines.feasibility import FeasibilityConfig, infeasibility
from lcoms.baselines.searcher import Searcher
from lcoms.baselines.trial import Trial, TrialOutcome
from lcoms.core.bounds import require
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_ase, to_ase
from lcoms.structure.lattice import niggli_reduce
from lcoms.structure.random_crystal import random_crystal

if TYPE_CHECKING:
    from ase import Atoms

SAME_ENERGY, SAME_VOLUME = 1e-3, 0.01  # eV/atom and relative volume: crystals that differ by less are duplicates
BOUNDS = {"phi": [20, 160], "chi": [20, 160], "psi": [20, 160], "a": [1.5, 60], "b": [1.5, 60], "c": [1.5, 60]}
NO_OFFSPRING = "no offspring"


@dataclass(frozen=True)
class EvolutionConfig:
    """Parameters of an evolutionary search.

    Attributes:
        population: number of crystals that may be parents.
        n_start: number of random crystals before the first offspring.
        fresh: fraction of random crystals among later proposals.
        splice, strain, permutation, rattle: relative frequencies of the operators.
        strain_size: smallest and largest standard deviation of the strains, drawn log-uniformly.
        rattle_size: angstrom; smallest and largest limit of an atom's move along an axis, drawn log-uniformly.
        closest: smallest distance between two atoms of an offspring over the sum of their covalent radii.
        batch_size: trials requested at once.
        feasibility: bounds within which crystals are evaluated.

    Raises:
        ConfigError: a value is out of range.
    """

    population: int = 20
    n_start: int = 40
    fresh: float = 0.1
    splice: float = 0.5
    strain: float = 0.2
    permutation: float = 0.15
    rattle: float = 0.15
    strain_size: tuple[float, float] = (0.02, 0.3)
    rattle_size: tuple[float, float] = (0.05, 0.8)
    closest: float = 0.5
    batch_size: int = 8
    feasibility: FeasibilityConfig = field(default_factory=FeasibilityConfig)

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["population", "n_start", "batch_size"],
            positive=["strain", "closest"],
            not_negative=["splice", "permutation", "rattle"],
        )
        if not 0 <= self.fresh <= 1:
            raise ConfigError(f"fresh is a share of the crystals, from 0 to 1, not {self.fresh}.")
        if not all(0 < low <= high for low, high in (self.strain_size, self.rattle_size)):
            raise ConfigError("strain_size and rattle_size must be two positive numbers, the smaller first.")


class _Parent(NamedTuple):
    energy: float
    crystal: Crystal


class EvolutionSearcher(Searcher):
    """Evolutionary search: offspring of the lowest crystals so far.

    Args:
        composition: contents of the cell.
        seed: seed of all random numbers.

    Raises:
        ConfigError: ase-ga is not installed.
    """

    name = "evolution"

    def __init__(self, composition: Composition, config: EvolutionConfig | None = None, *, seed: int = 0) -> None:
        config = config or EvolutionConfig()
        if find_spec("ase_ga") is None:
            raise ConfigError('ase-ga is not installed; type: pip install "lcoms[baselines]"')
        super().__init__({"composition": composition.formula, "evolution": to_dict(config), "seed": seed})
        self.batch_size = config.batch_size
        self._composition, self._config, self._seed = composition, config, seed
        self._population: list[_Parent] = []

    def propose(self, number: int) -> Trial:
        """Return a random crystal, or an offspring of the known crystals; it does not wait for open trials."""
        random = np.random.default_rng([self._seed, number])
        if number < self._config.n_start or random.random() < self._config.fresh or len(self._population) < 2:
            crystal, origin = random_crystal(self._composition, random), "random"
        else:
            made, origin = self._offspring(random)
            if made is None:
                return Trial(number, None, NO_OFFSPRING, {"origin": origin})
            crystal = made
        reason = infeasibility(crystal, self._config.feasibility)
        return Trial(number, None if reason else crystal, reason, {"origin": origin})

    def learn(self, outcome: TrialOutcome) -> None:
        """Add a crystal to the population if it is among the lowest; of duplicates the lower one is kept."""
        if not outcome.ok or outcome.crystal is None:
            return
        new = _Parent(outcome.energy_per_atom, _reduced(outcome.crystal))
        twin = next((i for i, other in enumerate(self._population) if _alike(new, other)), None)
        if twin is not None:
            new = min(new, self._population.pop(twin), key=lambda parent: parent.energy)
        self._population = sorted([*self._population, new], key=lambda parent: parent.energy)
        del self._population[self._config.population :]

    def _offspring(self, random: np.random.Generator) -> tuple[Crystal | None, str]:
        """Return a crystal from a random operator, or None where the operator fails, and the operator's name."""
        energies = np.array([parent.energy for parent in self._population])
        fitness = 0.5 * (1 - np.tanh(2 * (energies - energies[0]) / max(energies[-1] - energies[0], 1e-12) - 1))
        chosen = random.choice(len(energies), size=2, replace=False, p=fitness / fitness.sum())
        # The operators need the interface of NumPy's legacy generator.
        legacy = np.random.RandomState(random.integers(2**32))
        strain, rattle = (
            float(np.exp(random.uniform(*np.log(size))))
            for size in (self._config.strain_size, self._config.rattle_size)
        )
        operators = self._operators(strain, rattle, legacy)
        shares = np.array([share for _, share, _ in operators])
        name, _, operator = operators[int(random.choice(len(operators), p=shares / shares.sum()))]
        child, _ = operator.get_new_individual([_atoms(self._population[i].crystal, int(i)) for i in chosen])
        return (None if child is None else _sorted(from_ase(child))), name

    def _operators(self, strain: float, rattle: float, legacy: np.random.RandomState) -> list[tuple[str, float, Any]]:
        """Return name, frequency and operator of those that suit the cell, with the given strain and rattle sizes."""
        from ase import Atoms
        from ase_ga.cutandsplicepairing import CutAndSplicePairing
        from ase_ga.standardmutations import PermutationMutation, RattleMutation, StrainMutation
        from ase_ga.utilities import CellBounds, closest_distances_generator

        config, n = self._config, self._composition.n_atoms
        apart = closest_distances_generator(self._composition.atomic_numbers, config.closest)
        bounds = CellBounds(bounds=BOUNDS)
        found: list[tuple[str, float, Any]] = [
            ("strain", config.strain, StrainMutation(apart, cellbounds=bounds, stddev=strain, rng=legacy))
        ]
        if n > 1:
            splice = CutAndSplicePairing(
                Atoms(pbc=True), n, apart, number_of_variable_cell_vectors=3, cellbounds=bounds, rng=legacy
            )
            found += [
                ("splice", config.splice, splice),
                ("rattle", config.rattle, RattleMutation(apart, n, rattle_strength=rattle, rng=legacy)),
            ]
        if len(self._composition.atomic_numbers) > 1:
            found.append(("permutation", config.permutation, PermutationMutation(n, blmin=apart, rng=legacy)))
        return found


def _atoms(crystal: Crystal, identity: int) -> Atoms:
    atoms = to_ase(crystal)
    atoms.info["confid"] = identity
    return atoms


def _reduced(crystal: Crystal) -> Crystal:
    """Return the crystal in its reduced cell, so that cells of parents can be mixed, with sorted atoms."""
    lattice, frac_coords, _ = niggli_reduce(crystal.lattice, crystal.frac_coords)
    return _sorted(Crystal(lattice, frac_coords, crystal.atomic_numbers))


def _sorted(crystal: Crystal) -> Crystal:
    order = np.argsort(crystal.atomic_numbers, kind="stable")
    return Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order])


def _alike(first: _Parent, second: _Parent) -> bool:
    ratio = first.crystal.volume / second.crystal.volume
    return abs(first.energy - second.energy) < SAME_ENERGY and abs(ratio - 1) < SAME_VOLUME
