"""Does the surrogate select good crystals among random symmetric ones? Their energies by CHGNet, against chance.

    python benchmarks/selection.py STORE -n 60 --out selection.json
    python benchmarks/selection.py STORE -n 60 --surrogate RUN/surrogate.safetensors --out other.json

For validation compositions of up to ten atoms, 100 random symmetric crystals in cells of the known volume are drawn,
and their unrelaxed energies computed. The surrogate selects eight; chance is the mean over random selections of eight.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states, sample
from lcoms.models.surrogate_file import load_surrogate
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.random_symmetric import RandomSymmetricSpec, draw_crystals

DRAWN, SELECTED, DRAWS_BY_CHANCE = 100, 8, 200
LEAST = 20  # drawn crystals
HIGHEST = 10.0  # eV/atom above the lowest; a few energies of absurd crystals would outweigh all others


def measure(reference: Reference, bundles: dict[str, WeightBundle], oracle: EnergyOracle) -> dict[str, Any] | None:
    """Return the energies of the selected crystals, eV/atom above the lowest drawn; None if too few can be drawn."""
    crystal, config = reference.crystal, RandomSymmetricSpec(n=SELECTED, drawn=DRAWN)
    random = np.random.default_rng(0)
    frequencies = np.bincount(next(iter(bundles.values())).library.space_groups, minlength=231)
    draws = draw_crystals([(crystal.composition, 1.0, crystal.volume)], frequencies, config, random)
    crystals = [draw.crystal for draw in draws]
    energies = np.array(oracle.energies(crystals)) / crystal.n_atoms
    good = np.isfinite(energies)
    if good.sum() < LEAST:
        return None
    crystals = [one for one, fine in zip(crystals, good, strict=True) if fine]
    heights = np.clip(energies[good] - energies[good].min(), 0, HIGHEST)
    chance = [heights[random.permutation(len(heights))[:SELECTED]] for _ in range(DRAWS_BY_CHANCE)]
    row = {"formula": reference.composition.reduced_formula, "n": len(heights)}
    row["chance"] = [float(np.mean([some.min() for some in chance])), float(heights.mean())]
    for name, bundle in bundles.items():
        scores = np.array(bundle.energies(crystals))
        selected = heights[np.argsort(scores)[:SELECTED]]
        row[name] = [float(selected.min()), float(selected.mean()), float(spearmanr(scores, heights)[0])]
    return row


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--surrogate", type=Path, help="also measure this surrogate, with the latents of the package")
    parser.add_argument("--out", type=Path, default=Path("selection.json"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bundles = {"surrogate": WeightBundle.load()}
    if asked.surrogate is not None:
        bundles["other"] = replace(bundles["surrogate"], surrogate=load_surrogate(asked.surrogate)[0])
    references = sample(ground_states(Store.open(asked.store), max_atoms=10), asked.n, asked.seed)
    oracle = make_oracle(DEFAULT_ORACLE)
    rows = [row for one in references if (row := measure(one, bundles, oracle)) is not None]
    asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(
        f"{len(rows)} compositions; lowest and mean energy of {SELECTED} crystals (eV/atom), Spearman with the energy"
    )
    for name in ("chance", *bundles):
        values = np.array([row[name] for row in rows])
        print(f"  {name:10}", "  ".join(f"{mean:.3f}" for mean in values.mean(axis=0)))


if __name__ == "__main__":
    main()
