"""The tasks of the benchmark, the starts, and the judge that evaluates the answers of every method.

Track `paper`: composition and number of atoms are those of the known primitive cell; methods that need a start get a
random cell relaxed to the nearest minimum, the same one for all. Track `formula`: only the formula is given.
Source of the protocol: Qi et al., Latent Conservative Objective Models (2023), section 3, with a learned potential
instead of density functional theory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, NamedTuple

import numpy as np

from lcoms.benchmark.rows import Judged, Known, exact_crystal
from lcoms.core.bounds import require
from lcoms.core.errors import LcomsError
from lcoms.evaluate.judging import TOO_SLOW, OutOfTime, time_limit
from lcoms.evaluate.references import Reference
from lcoms.evaluate.validity import MIN_DISTANCE
from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.oracles.references import References, load_references
from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.prediction.propose import composition_seed
from lcoms.prediction.refine import LOWEST_FORMATION_ENERGY
from lcoms.relax.result import RelaxConfig, RelaxResult
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal, crystal_to_dict
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import LOOSE, STRICT, matches, rmsd
from lcoms.structure.random_crystal import random_crystal
from lcoms.structure.symmetry import same_space_group, space_group_number

Track = Literal["paper", "formula"]
TRACKS: tuple[Track, ...] = ("paper", "formula")
PAPER_GROUP = "26 compounds"
START_DRAWS = 10  # random cells tried for a start
COMPARISON_SECONDS = 30.0  # after which the comparison of two crystals is given up


@dataclass(frozen=True)
class BenchmarkConfig:
    """Options for running and judging methods.

    Attributes:
        judge: oracle that gives all energies in the tables.
        start: oracle that relaxes starts; empty: the judge.
        steps: number of steps of descents.
        points: number of points along a descent that are decoded and judged, including both ends; 0: none.
        budget: number of energy evaluations in a search with MEGNet.
        tpe_budget: the same with tree-structured Parzen estimators, whose time grows with the square of it.
        relaxations: number of relaxations in a search with the judge's relaxed energies.
        dft: oracle of the search by density functional theory.
        dft_relaxations: number of relaxations in that search.
        max_units: formula units in the largest cell that searches try if only the formula is given.
        effort: of the whole pipeline.
        relax: options for relaxing starts, answers and known structures.
        search_relax: options for relaxations in searches.

    Raises:
        ConfigError: a number is invalid.
    """

    judge: str = DEFAULT_ORACLE
    start: str = ""
    steps: int = 50
    points: int = 0
    budget: int = 1000
    tpe_budget: int = 200
    relaxations: int = 50
    dft: str = "gpaw"
    dft_relaxations: int = 20
    max_units: int = 4
    effort: str = "normal"
    relax: RelaxConfig = field(default_factory=lambda: RelaxConfig(fmax=0.01, max_steps=500))
    search_relax: RelaxConfig = field(default_factory=lambda: RelaxConfig(fmax=0.1, max_steps=100))

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["budget", "tpe_budget", "relaxations", "dft_relaxations", "max_units"],
            not_negative=["steps", "points"],
        )


@dataclass(frozen=True, eq=False)
class Task:
    """One compound on one track.

    Attributes:
        group: the set of compounds it belongs to.
    """

    track: Track
    reference: Reference
    group: str = PAPER_GROUP

    @property
    def cell(self) -> Composition:
        """Contents of the known primitive cell."""
        return self.reference.crystal.composition


class Start(NamedTuple):
    """A start and the time taken to make it."""

    crystal: Crystal
    seconds: float


def make_start(task: Task, seed: int, oracle: EnergyOracle, config: RelaxConfig) -> Start:
    """Return a random cell with the known number of atoms, relaxed to the nearest minimum.

    Draws that explode, that the oracle cannot handle or for which it is wrong are replaced, up to ten times.

    Raises:
        LcomsError: none of them could be relaxed.
    """
    clock, random = time.perf_counter(), np.random.default_rng(composition_seed(seed, task.cell))
    references = load_references(oracle.name)
    for _ in range(START_DRAWS):
        (result,) = relax_crystals([random_crystal(task.cell, random)], oracle, config)
        reason = why_not(result) or why_unphysical(result.crystal, result.energy_per_atom, references)
        if not reason:
            return Start(exact_crystal(result.crystal), time.perf_counter() - clock)
    raise LcomsError(f"none of {START_DRAWS} random cells could be relaxed; the last one: {reason}.")


def why_not(result: RelaxResult) -> str:
    """Return why a relaxation gives no energy; empty if it does."""
    return "" if result.usable else result.reason or result.status.value


def why_unphysical(crystal: Crystal, energy: float | None, references: References | None) -> str:
    """Return why an oracle's energy of a crystal (eV/atom) is not credible; empty if it is."""
    shortest = shortest_distance(crystal.lattice, crystal.frac_coords)
    if shortest < MIN_DISTANCE:
        return f"atoms come as close as {shortest:.2f} angstrom"
    if energy is None or references is None:
        return ""
    formation = references.formation_energy(crystal.composition, energy)
    if formation is not None and formation < LOWEST_FORMATION_ENERGY:
        return f"a formation energy of {formation:.1f} eV/atom, which no compound has; the judge is wrong about it"
    return ""


class Judge:
    """Judge that evaluates, relaxes, and compares with known structures.

    Args:
        config: options of relaxations.

    Attributes:
        oracle: gives the energies.
    """

    def __init__(self, oracle: str | EnergyOracle, config: RelaxConfig) -> None:
        self.oracle = make_oracle(oracle) if isinstance(oracle, str) else oracle
        self.config = config
        self._references = load_references(self.oracle.name)
        self._known: dict[tuple[str, str], Known | None] = {}

    def known(self, task: Task) -> Known | None:
        """Return the known structure relaxed; None if the relaxation failed."""
        key = (task.group, task.reference.name)
        if key not in self._known:
            crystal = task.reference.crystal
            result = self.relax(crystal)
            energy = None if why_not(result) else result.energy_per_atom
            formation = None if energy is None else self._formation(crystal.composition, energy)
            same = energy is not None and matches(result.crystal, crystal, STRICT)
            found = Known(energy, formation, space_group_number(crystal), same)
            self._known[key] = None if energy is None else found
        return self._known[key]

    def relax(self, crystal: Crystal) -> RelaxResult:
        """Relax a crystal to the nearest minimum."""
        return relax_crystals([crystal], self.oracle, self.config)[0]

    def look(self, crystals: Sequence[Crystal], reference: Reference) -> list[Judged]:
        """Judge crystals without relaxing them."""
        judged = []
        for crystal, result in zip(crystals, evaluate_all(self.oracle, crystals), strict=True):
            energy = result.energy / crystal.n_atoms if result.ok else None
            judged.append(self._judged(crystal, energy, "" if result.ok else result.status, reference))
        return judged

    def look_relaxed(self, crystal: Crystal, reference: Reference) -> tuple[Judged, str]:
        """Relax and judge a crystal; also return how the relaxation ended."""
        result = self.relax(crystal)
        energy = result.energy_per_atom if isfinite(result.energy) else None
        return self._judged(result.crystal, energy, why_not(result), reference), result.status.value

    def _judged(self, crystal: Crystal, energy: float | None, note: str, reference: Reference) -> Judged:
        formation = None if energy is None else self._formation(crystal.composition, energy)
        note = note or why_unphysical(crystal, energy, self._references)
        group = space_group_number(crystal)
        rms, strict, trouble = compare(crystal, reference.crystal)
        same = same_space_group(group, space_group_number(reference.crystal))
        return Judged(crystal_to_dict(crystal), energy, formation, group, rms, strict, same, note or trouble)

    def _formation(self, composition: Composition, energy: float) -> float | None:
        return None if self._references is None else self._references.formation_energy(composition, energy)


def compare(crystal: Crystal, known: Crystal) -> tuple[float | None, bool, str]:
    """Return rms at the loose tolerances, whether they match at the strict ones, and why a comparison failed."""
    try:
        with time_limit(COMPARISON_SECONDS):
            return rmsd(crystal, known, LOOSE), matches(crystal, known, STRICT), ""
    except OutOfTime:
        return None, False, TOO_SLOW
    except Exception as error:  # whatever pymatgen raises for a strange cell
        return None, False, f"cannot be compared: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
