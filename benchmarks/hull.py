"""Energies above the shipped hull compared with those of the source, for validation crystals.

    python benchmarks/hull.py STORE --out benchmarks/results/hull.json

Crystals are drawn from those of the validation split whose height is given by the source. They are evaluated in the
geometry of the source and lowered like the phases, or relaxed with --relax. Two heights are reported: above the hull of
all phases that ship, and above the hull without phases of the crystal's own composition, as for an unknown compound.
The latter may be negative and then counts as zero, because the source's hull includes the crystal itself. A crystal is
stable if it lies no more than --stable above the hull.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lcoms import __version__
from lcoms.core.disk import write_whole
from lcoms.data.store import Store
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.hull import Hull
from lcoms.oracles.references import load_references
from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.phases import PhaseTable
from lcoms.relax import relax_crystals
from lcoms.structure.crystal import Crystal
from lcoms.train.phases import LIGHT

LARGEST = 40  # atoms


def draw(store: Store, n: int, seed: int) -> list[int]:
    """Return rows of validation crystals of compounds with a height in the source."""
    heights = store.columns("e_above_hull")["e_above_hull"]
    rows = [row for row in store.select(split="val", max_atoms=LARGEST).tolist() if np.isfinite(heights[row])]
    rows = [row for row in rows if len(store[row].composition.counts) > 1]
    return sorted(np.random.default_rng(seed).permutation(rows)[:n].tolist())


def energies_of(crystals: list[Crystal], oracle: EnergyOracle, *, relax: bool) -> list[float]:
    """Return energies in eV/atom; NaN if there is none."""
    if relax:
        return [result.energy_per_atom for result in relax_crystals(crystals, oracle, LIGHT)]
    return [energy / crystal.n_atoms for energy, crystal in zip(oracle.energies(crystals), crystals, strict=True)]


def measure(crystal: Crystal, energy: float, table: PhaseTable, oracle: str) -> dict[str, Any]:
    """Return the heights of one crystal, and the seconds taken by the first of them."""
    unit, clock = crystal.composition.reduced, time.perf_counter()
    references = load_references(oracle)
    phases = table.inside(unit)
    place = Hull(phases, references).place(unit, energy)
    seconds = time.perf_counter() - clock
    others = Hull([phase for phase in phases if phase.composition != unit], references).place(unit, energy)
    return {
        "shipped": None if place is None else place.e_above_hull,
        "others": None if others is None else others.e_above_hull,
        "own_phase_ships": any(phase.composition == unit for phase in phases),
        "seconds": round(seconds, 4),
    }


def summary(rows: list[dict[str, Any]], key: str, stable: float) -> dict[str, float]:
    """Return mean absolute error, median error, and how often both agree on the stability of a crystal."""
    have = [row for row in rows if row[key] is not None]
    ours = np.array([row[key] for row in have])
    source = np.array([row["source"] for row in have])
    errors = np.maximum(ours, 0) - source
    return {
        "n": len(have),
        "mae": float(np.abs(errors).mean()),
        "median_absolute": float(np.median(np.abs(errors))),
        "mean": float(errors.mean()),
        "stable_agrees": float(((ours <= stable) == (source <= stable)).mean()),
        "stable_by_source": float((source <= stable).mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--relax", action="store_true")
    parser.add_argument("--stable", type=float, default=0.02, help="eV/atom")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    table, store = WeightBundle.load(given.weights).phases, Store.open(given.store)
    if table is None:
        raise SystemExit("the weights have no phases; make them with lcoms fit hull")
    rows = draw(store, given.n, given.seed)
    crystals = [replace(store[row]) for row in rows]
    oracle = make_oracle(DEFAULT_ORACLE)
    lowered = 0.0 if given.relax else float(table.metadata.get("lowered", 0.0))  # as the phases were
    energies = [energy - lowered for energy in energies_of(crystals, oracle, relax=given.relax)]
    columns = store.columns("material_id", "e_above_hull")
    told = [
        {
            "id": str(columns["material_id"][row]),
            "formula": crystal.composition.reduced_formula,
            "source": float(columns["e_above_hull"][row]),
            **measure(crystal, energy, table, oracle.name),
        }
        for row, crystal, energy in zip(rows, crystals, energies, strict=True)
        if np.isfinite(energy)
    ]
    sums = {key: summary(told, key, given.stable) for key in ("shipped", "others")}
    for key, figures in sums.items():
        print(key, {name: round(value, 4) for name, value in figures.items()})
    print(f"seconds a formula: median {np.median([r['seconds'] for r in told]):.3f}")
    if given.out is not None:
        content = {"lcoms_version": __version__, "relaxed": given.relax, "stable": given.stable, "summary": sums}
        write_whole(given.out, json.dumps({**content, "n_phases": len(table), "rows": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
