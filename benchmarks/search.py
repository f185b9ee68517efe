"""Benefit of latent descent: success against the number of relaxations, formula alone, for the paper's 26 compounds.

    python benchmarks/search.py --seeds 3 --out search.json --figure search.png

Three sources of crystals are relaxed with the same oracle and the same settings, in the order given by each:

- descent: candidates of `lcoms predict`, in the surrogate's order; descent-20: with 20 steps;
- starts: the same without descent (0 steps);
- random: pyxtal crystals of random space groups and 1 to 4 formula units.

With `--store` the compounds are `-n` ground states of its validation split. With `--surrogate` another surrogate of the
same CD-VAE is used for descent and order; the name of its file is appended to that of the method.

A method has found a compound within k relaxations if the best-ranked of its first k relaxed crystals is the known
ground state (strict matcher and space group). Starts exclude crystals of the compound itself. Rows are stored as they
are obtained, and a run with the same file is resumed where an earlier one stopped.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states, paper_compounds, sample
from lcoms.evaluate.statistics import Share
from lcoms.models.surrogate_file import load_surrogate
from lcoms.oracles.references import load_references
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.propose import composition_seed
from lcoms.prediction.rank import rank_relaxed
from lcoms.prediction.refine import collect, why_unusable
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.prediction.stages import Decoded, Proposal
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number

METHODS = ("descent", "starts", "random")
OTHERS = tuple(f"descent-{steps}" for steps in (5, 20, 50))
COUNTS = (1, 2, 5, 10, 20, 50)
MAX_UNITS = 4
STARTS = 32


def random_crystals(composition: Composition, n: int, seed: int) -> list[Crystal]:
    """Return crystals by pyxtal; space group and number of formula units are redrawn until one exists."""
    from pyxtal import pyxtal

    rng = np.random.default_rng(composition_seed(seed, composition))
    found: list[Crystal] = []
    symbols = composition_symbols(composition)
    while len(found) < n:
        units = int(rng.integers(1, MAX_UNITS + 1))
        counts = [units * count for count in composition.reduced.counts]
        attempt = pyxtal()
        try:
            attempt.from_random(3, int(rng.integers(1, 231)), symbols, counts, random_state=int(rng.integers(2**31)))
        except Exception:  # pyxtal raises many kinds of errors if a group does not suit a composition
            continue
        if attempt.valid:
            found.append(from_pymatgen(attempt.to_pymatgen().get_primitive_structure()))
    return found


def composition_symbols(composition: Composition) -> list[str]:
    """Return the symbols of the elements, in their order."""
    from lcoms.structure.elements import SYMBOLS

    return [SYMBOLS[z] for z in composition.reduced.atomic_numbers]


def crystals_of(method: str, reference: Reference, weights: WeightBundle, n: int, seed: int) -> list[Decoded]:
    """Return at most `n` crystals of a method, in the order in which it would relax them."""
    if method == "random":
        return [as_decoded(crystal) for crystal in random_crystals(reference.composition, n, seed)]
    steps = int(method.partition("-")[2] or (SearchSpec.steps if method == "descent" else 0))
    search = SearchSpec(n_starts=STARTS, steps=steps, exclude_same=True)
    spec = PredictionSpec(search=search, relaxation=None, seed=seed)
    return list(Predictor(weights, spec).decode(reference.composition).crystals[:n])


def as_decoded(crystal: Crystal) -> Decoded:
    """Return a crystal without a proposal, in the form required by the ranking."""
    proposal = Proposal("random", "", float("nan"), crystal.composition.n_formula_units, torch.zeros(0))
    closest = shortest_distance(crystal.lattice, crystal.frac_coords)
    return Decoded(crystal, space_group_number(crystal), 0.1, closest, 0.0, 0.0, (0.0,), 0.0, 0.0, proposal)


def run_one(
    method: str, reference: Reference, weights: WeightBundle, args: argparse.Namespace, seed: int
) -> dict[str, object]:
    """Return the success after each number of relaxations."""
    clock = time.perf_counter()
    decoded = crystals_of(method, reference, weights, args.relaxations, seed)
    generated = time.perf_counter() - clock
    options = RelaxConfig(fmax=RelaxationSpec.fmax, max_steps=RelaxationSpec.max_steps)
    results = relax_crystals([one.crystal for one in decoded], args.oracle, options, processes=args.processes)
    references = load_references(args.oracle)

    def formation_energy(composition: Composition, energy: float) -> float | None:
        return None if references is None else references.formation_energy(composition, energy)

    group = space_group_number(reference.crystal)
    found = {}
    for k in COUNTS:
        relaxed = collect(decoded[:k], results[:k], formation_energy)
        ranked = rank_relaxed(relaxed.usable, weights.ranking.relaxed)
        found[str(k)] = bool(
            ranked and ranked[0].space_group == group and matches(ranked[0].crystal, reference.crystal, STRICT)
        )
    return {
        "method": method + named(args),
        "compound": reference.name,
        "seed": seed,
        "found": found,
        "crystals": len(decoded),
        "failed": sum(why_unusable(result, formation_energy) is not None for result in results),
        "steps": sum(result.n_steps for result in results),
        "seconds_generating": round(generated, 2),
        "seconds": round(time.perf_counter() - clock, 2),
    }


def named(args: argparse.Namespace) -> str:
    """Return the suffix of the method's name."""
    return "" if args.surrogate is None else f" by {args.surrogate.stem}"


def report(rows: list[dict], figure: Path | None) -> None:  # type: ignore[type-arg]
    """Print a table, and write a figure if requested."""
    print(f"{'relaxations':<12}" + "".join(f"{k:>24}" for k in COUNTS))
    shares: dict[str, list[Share]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        if not mine:
            continue
        shares[method] = [Share(sum(row["found"][str(k)] for row in mine), len(mine)) for k in COUNTS]
        print(f"{method:<12} " + "".join(f"{share!s:>24}" for share in shares[method]))
        steps = sum(row["steps"] for row in mine) / max(1, sum(row["crystals"] for row in mine))
        print(f"{'':<12}{steps:.1f} steps a relaxation, {np.mean([row['seconds'] for row in mine]):.1f} s a compound")
    if figure is None:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for marker, (method, values) in zip("os^vDPX*", shares.items(), strict=False):
        axes.plot(COUNTS, [share.successes / share.trials for share in values], marker=marker, label=method)
    axes.set(xscale="log", xlabel="relaxations", ylabel="share of compounds found", ylim=(0, 1.02))
    axes.set_xticks(COUNTS, [str(k) for k in COUNTS])
    axes.legend()
    figure.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(figure, dpi=150)


def main() -> None:
    """Run missing cases and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--relaxations", type=int, default=max(COUNTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS + OTHERS)
    parser.add_argument("--oracle", default=RelaxationSpec.oracle)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--surrogate", type=Path, default=None)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, help="JSON file that keeps the rows")
    parser.add_argument("--figure", type=Path, default=None)
    args = parser.parse_args()
    weights, compounds = WeightBundle.load(args.weights), paper_compounds()
    if args.surrogate is not None:
        weights = replace(weights, surrogate=load_surrogate(args.surrogate)[0])
    if args.store is not None:
        compounds = sample(ground_states(Store.open(args.store), max_atoms=args.max_atoms), args.n, 0)
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    done = {(row["method"], row["compound"], row["seed"]) for row in rows}
    for seed in range(args.seeds):
        for reference in compounds:
            for method in args.methods:
                if (method + named(args), reference.name, seed) in done:
                    continue
                rows.append(run_one(method, reference, weights, args, seed))
                part = args.out.with_name(args.out.name + ".part")
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(rows, indent=0) + "\n")
                part.replace(args.out)
                print(rows[-1], flush=True)
    report(rows, args.figure)


if __name__ == "__main__":
    main()
