"""Tests that every searcher must pass, with an energy whose minimum is known.

Atoms are taken as equal spheres: with d the shortest distance and v the volume per atom,

    E = (v / v0 - 1)^2 + (sqrt(2) v)^(1/3) / d - 1  in eV/atom.

The second part is never negative, and 0 only for close packings (Kepler's conjecture, proved by Hales, Ann. Math. 162,
1065, 2005), so close packings of volume v0 have the lowest energy, 0. Body-centred cubic has 0.029, simple cubic 0.122.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lcoms.baselines.searcher import Searcher, SearchResult, run_search
from lcoms.baselines.trial import Answer
from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shortest_distance

MakeSearcher = Callable[[int], Searcher]
"""Makes a new searcher with a seed, always for the same cell."""


@dataclass(frozen=True)
class SearchBatteryConfig:
    """Requirements on a searcher.

    Attributes:
        budget: evaluations within which to find the optimum.
        target: eV/atom; largest accepted energy of the optimum.
        n_short: evaluations in each of the other checks.
        seed: seed of the searcher.

    Raises:
        ConfigError: a check has fewer than 4 evaluations.
    """

    budget: int = 200
    target: float = 0.1
    n_short: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.budget, self.n_short) < 4:
            raise ConfigError("the battery needs at least 4 evaluations for each check.")


@dataclass(frozen=True)
class SearchCheck:
    """One line of the report.

    Attributes:
        name: name of the check.
        passed: whether the searcher passed it.
        note: the measured values, or the error.
    """

    name: str
    passed: bool
    note: str = ""


def packing_energy(crystals: Sequence[Crystal]) -> list[float]:
    """Return the energy of this module in eV/atom, where v0 is the sum of the elements' atomic volumes."""
    return [_energy(crystal) for crystal in crystals]


def packing_energy_relaxed(crystals: Sequence[Crystal]) -> list[Answer]:
    """Return the energies after scaling the cells to v0, with the scaled crystals."""
    scaled = [
        Crystal(c.lattice * np.cbrt(c.composition.usual_volume / c.volume), c.frac_coords, c.atomic_numbers)
        for c in crystals
    ]
    return [Answer(_energy(crystal), crystal) for crystal in scaled]


def run_search_battery(make: MakeSearcher, config: SearchBatteryConfig | None = None) -> list[SearchCheck]:
    """Run all checks; a searcher that raises fails the check."""
    config = config or SearchBatteryConfig()
    report = []
    for name, check in CHECKS.items():
        try:
            report.append(SearchCheck(name, *check(make, config)))
        except Exception as problem:  # any exception of the searcher is a failure
            report.append(SearchCheck(name, False, f"{type(problem).__name__}: {problem}"))
    return report


def _energy(crystal: Crystal) -> float:
    ratio, per_atom = crystal.volume / crystal.composition.usual_volume, crystal.volume / crystal.n_atoms
    shortest = max(shortest_distance(crystal.lattice, crystal.frac_coords), 1e-3)
    return float((ratio - 1) ** 2 + np.cbrt(np.sqrt(2) * per_atom) / shortest - 1)


def _optimum(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    """Check that the optimum is found; the volume is relaxed, so only the packing must be found."""
    result = run_search(make(config.seed), packing_energy_relaxed, budget=config.budget)
    lowest = float(np.nanmin(result.energies)) if np.isfinite(result.energies).any() else np.inf
    found = bool(result.best) and result.best[0].energy_per_atom == lowest
    return found and lowest <= config.target, f"{lowest:.4f} eV/atom after {result.n_evaluations} evaluations"


def _budget(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    asked: list[int] = []

    def energy(crystals: Sequence[Crystal]) -> list[float]:
        asked.append(len(crystals))
        return packing_energy(crystals)

    n = config.n_short - 1  # unlikely to be a whole number of batches
    result = run_search(make(config.seed), energy, budget=n)
    few = run_search(make(config.seed), packing_energy, budget=10 * n, max_infeasible=2)
    kept = sum(asked) == n == result.n_evaluations and few.n_infeasible <= 2
    return kept, f"{sum(asked)} of {n} evaluations, {few.n_infeasible} of 2 infeasible proposals"


def _contents(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    result = run_search(make(config.seed), packing_energy, budget=config.n_short)
    found = {o.crystal.composition.reduced_formula for o in result.best if o.crystal is not None}
    return len(found) == 1, ", ".join(sorted(found))


def _seeds(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    seeds = (config.seed, config.seed, config.seed + 1)
    one, same, other = (run_search(make(seed), packing_energy, budget=config.n_short) for seed in seeds)
    if not identical(one, same):
        return False, "the same seed gave another result"
    return not identical(one, other), "" if not identical(one, other) else "another seed gave the same result"


def _resume(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    """Check that a search killed during an evaluation, and within a line of its file, resumes with the same result."""
    with TemporaryDirectory() as folder:
        whole = run_search(make(config.seed), packing_energy, budget=config.n_short, batch_size=4)
        path = Path(folder) / "search.jsonl"
        left = [config.n_short // 2]

        def energy(crystals: Sequence[Crystal]) -> list[float]:
            left[0] -= len(crystals)
            if left[0] < 0:
                raise InterruptedError
            return packing_energy(crystals)

        try:
            run_search(make(config.seed), energy, budget=config.n_short, batch_size=4, checkpoint=path)
        except InterruptedError:
            path.write_bytes(path.read_bytes()[:-20])
        else:
            return False, "the search did not ask for the energies of its budget"
        again = run_search(make(config.seed), packing_energy, budget=config.n_short, batch_size=4, checkpoint=path)
    return identical(whole, again), "" if identical(whole, again) else "another result after an interruption"


def _state(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    first, second = make(config.seed), make(config.seed)
    run_search(first, packing_energy_relaxed, budget=config.n_short // 2, batch_size=1)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    one, two = (run_search(s, packing_energy_relaxed, budget=config.n_short, batch_size=1) for s in (first, second))
    return identical(one, two), "" if identical(one, two) else "a restored searcher went another way"


def _failures(make: MakeSearcher, config: SearchBatteryConfig) -> tuple[bool, str]:
    def energy(crystals: Sequence[Crystal]) -> list[float]:
        return [value if value < 0.4 else float("nan") for value in packing_energy(crystals)]

    result = run_search(make(config.seed), energy, budget=config.n_short)
    failed = int(np.isnan(result.energies).sum())
    usable = all(np.isfinite(outcome.energy_per_atom) for outcome in result.best)
    barren = run_search(make(config.seed), _nothing, budget=config.n_short)
    return (
        usable and barren.best == () and barren.n_evaluations == config.n_short,
        f"{failed} of {config.n_short} failed",
    )


def _nothing(crystals: Sequence[Crystal]) -> list[float]:
    return [float("nan")] * len(crystals)


def identical(first: SearchResult, second: SearchResult) -> bool:
    """Return whether two searches have the same results to the last bit, apart from the seconds."""
    same = (
        np.array_equal(first.energies, second.energies, equal_nan=True)
        and np.array_equal(first.trials, second.trials)
        and first.infeasible == second.infeasible
        and len(first.best) == len(second.best)
    )
    return same and all(
        a.trial.number == b.trial.number and a.crystal is not None and b.crystal is not None
        and np.array_equal(a.crystal.lattice, b.crystal.lattice)
        and np.array_equal(a.crystal.frac_coords, b.crystal.frac_coords)
        for a, b in zip(first.best, second.best, strict=True)
    )  # fmt: skip


CHECKS: dict[str, Callable[[MakeSearcher, SearchBatteryConfig], tuple[bool, str]]] = {
    "known optimum": _optimum,
    "budget is kept": _budget,
    "contents of the cell": _contents,
    "same seed, same result": _seeds,
    "kill and resume": _resume,
    "state as JSON": _state,
    "failed energies": _failures,
}
