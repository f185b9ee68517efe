"""How well does a powder pattern distinguish the correct crystal from others?

    python benchmarks/patterns.py FILE.parquet --split train -n 190 --seed 1 --out train.json
    python benchmarks/patterns.py FILE.parquet --split val -n 160 --out val.json
    python benchmarks/pattern_weights.py train.json --report val.json

FILE has the columns formula, numbers, frac_coords, lattice, n_atoms, e_above_hull and split, as read by `lcoms data
ingest`. Patterns of ground states of the split are simulated with Poisson noise, a background with a hump, a zero
shift, preferred orientation in half of them and 10 % of an impurity in half of them. The crystals fitted to each are
the true one with its cell strained by 1 to 3 % in each direction and its atoms moved by 0.05 angstrom, both as its
symmetry allows, the other crystals of the composition, and crystals of the same stoichiometry with the elements
exchanged, at the volume of the true one give or take 5 %: four random ones, and those of `SCREENED` that have lines
where the pattern has them, as in a prediction.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import spglib
from numpy.typing import NDArray

from lcoms.core.errors import LcomsError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.lines import allowed_strains
from lcoms.diffraction.posterior import features
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.diffraction.weights import Features
from lcoms.evaluate.statistics import Share
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import primitive_standard

MOST_ATOMS = 20
ON_HULL = 0.03  # eV/atom
N_RANDOM, N_TEMPLATES = 4, 10
SCREENED = 80  # crystals from which the best templates are chosen by the pattern
MOST_POLYMORPHS = 8
RADIATIONS = ("CuKa", "CuKa", "CuKa", "CoKa", "MoKa", "CuKa1", "0.5", "neutron 1.54")
MOVED = 0.05  # angstrom, root mean square; typical error of a relaxation


class Table(NamedTuple):
    """Crystals by stoichiometry, and the ground states of a split, whose patterns are simulated."""

    by_class: dict[tuple[int, ...], list[Crystal]]
    measured: list[Crystal]


def read_table(path: Path, split: str) -> Table:
    """Return crystals of up to 20 atoms."""
    columns = ["formula", "numbers", "frac_coords", "lattice", "n_atoms", "e_above_hull", "split"]
    by_class: dict[tuple[int, ...], list[Crystal]] = {}
    best: dict[str, tuple[float, Crystal]] = {}
    for row in pq.read_table(path, columns=columns).to_pylist():
        if row["n_atoms"] > MOST_ATOMS or row["n_atoms"] < 2 or max(row["numbers"]) > 94:
            continue
        crystal = Crystal(
            np.reshape(row["lattice"], (3, 3)), np.reshape(row["frac_coords"], (-1, 3)), np.array(row["numbers"])
        )
        by_class.setdefault(crystal.composition.stoichiometry, []).append(crystal)
        above = row["e_above_hull"]
        if row["split"] == split and above is not None and above < best.get(row["formula"], (ON_HULL, crystal))[0]:
            best[row["formula"]] = above, crystal
    return Table(by_class, [crystal for _, crystal in best.values()])


def strained(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """Return the crystal with a strain of 1 to 3 % and displacements, both as its symmetry allows."""
    cell = primitive_standard(crystal)
    wanted = np.diag(random.uniform(0.01, 0.03, 3) * random.choice([-1, 1], 3))
    allowed = allowed_strains(cell.crystal.lattice, cell.rotations)
    strain = np.einsum("m,mij->ij", np.einsum("mij,ij->m", allowed, wanted), allowed)
    moved = cell.crystal.frac_coords + _allowed_shift(cell.crystal, random)
    return Crystal(cell.crystal.lattice @ (np.eye(3) + strain), moved, cell.crystal.atomic_numbers)


def _allowed_shift(crystal: Crystal, random: np.random.Generator) -> NDArray[np.float64]:
    """Return fractional shifts of all atoms: MOVED angstrom, without the part that the symmetry forbids."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    found = spglib.get_symmetry(cell, symprec=0.01)
    shift = random.normal(0, MOVED / np.sqrt(3), (crystal.n_atoms, 3)) @ np.linalg.inv(crystal.lattice)
    mean = np.zeros_like(shift)
    for turn, along in zip(found["rotations"], found["translations"], strict=True):
        images = crystal.frac_coords @ turn.T + along
        apart = images[:, None] - crystal.frac_coords[None]
        apart = np.linalg.norm((apart - np.round(apart)) @ crystal.lattice, axis=-1)
        mean[apart.argmin(1)] += shift @ turn.T / len(found["rotations"])
    return mean


def substituted(template: Crystal, target: Crystal, random: np.random.Generator) -> Crystal:
    """Return the template with the elements of the target, at its volume per atom give or take 5 %."""
    have, want = template.composition.reduced, target.composition.reduced
    counts = dict(zip(have.atomic_numbers, have.counts, strict=True))
    needed = dict(zip(want.atomic_numbers, want.counts, strict=True))
    fits = [
        order
        for order in permutations(want.atomic_numbers)
        if all(counts[a] == needed[b] for a, b in zip(have.atomic_numbers, order, strict=True))
    ]
    order = fits[random.integers(len(fits))]
    exchange = dict(zip(have.atomic_numbers, order, strict=True))
    per_atom = target.volume / target.n_atoms * random.uniform(0.95, 1.05)
    scale = np.cbrt(per_atom * template.n_atoms / template.volume)
    numbers = np.array([exchange[int(z)] for z in template.atomic_numbers])
    return Crystal(template.lattice * scale, template.frac_coords, numbers)


def rivals(truth: Crystal, table: Table, fitter: PatternFitter, random: np.random.Generator) -> list[Crystal]:
    """Return other crystals of the composition, and substituted ones; none matches the true one strictly."""
    formula = truth.composition.reduced
    alike = table.by_class[truth.composition.stoichiometry]
    same = [c for c in alike if c is not truth and c.composition.reduced == formula][:MOST_POLYMORPHS]
    others = [c for c in alike if c.composition.reduced != formula]
    chosen = random.choice(len(others), min(SCREENED, len(others)), replace=False)
    made = [substituted(truth, truth, random), *(substituted(others[i], truth, random) for i in chosen)]
    best = sorted(made[N_RANDOM:], key=fitter.screen, reverse=True)
    found: list[Crystal] = []
    for crystal in [*same, *made[:N_RANDOM], *best]:
        if len(found) >= MOST_POLYMORPHS + N_TEMPLATES:
            break
        if not matches(crystal, truth, STRICT) and not any(matches(crystal, other, STRICT) for other in found):
            found.append(crystal)
    return found


def measurement(random: np.random.Generator, wavelength: float, *, impure: bool) -> Measurement:
    """Return a range of angles that reaches spacings of about 1.1 angstrom, and disturbances."""
    last = 2 * np.degrees(np.arcsin(min(0.95, wavelength / 2 / random.uniform(0.95, 1.4))))
    return Measurement(
        first=float(2 * np.degrees(np.arcsin(wavelength / 2 / 9))),
        last=float(last),
        step=float(last / 4500),
        width=float(random.uniform(0.08, 0.5) * last / 90),
        eta=float(random.uniform(0.2, 0.9)),
        counts=float(10 ** random.uniform(2.5, 4.5)),
        background=float(10 ** random.uniform(-2, -0.5)),
        zero_shift=float(random.normal(0, 0.06) * last / 90),
        thermal=float(random.uniform(0.3, 1.5)),
        texture=float(np.exp(random.normal(0, 0.35))) if random.random() < 0.5 else 1.0,
        impurity=0.1 if impure else 0.0,
    )


def measure(asked: argparse.Namespace) -> None:
    """Fit all candidates to all patterns, and write the features."""
    table = read_table(asked.table, asked.split)
    random = np.random.default_rng(asked.seed)
    order = random.permutation(len(table.measured))[: asked.n]
    rows: list[dict[str, Any]] = []
    for number, place in enumerate(order):
        truth = table.measured[place]
        radiation = read_radiation(RADIATIONS[random.integers(len(RADIATIONS))])
        impure = bool(random.random() < 0.5)
        how = measurement(random, radiation.mean, impure=impure)
        impurity = table.measured[random.integers(len(table.measured))]
        try:
            pattern = measured_pattern(truth, radiation, how, random, impurity=impurity)
            fitter = PatternFitter(pattern)
        except LcomsError as error:
            print(f"{truth.composition.formula}: {error}")
            continue
        others = rivals(truth, table, fitter, random)
        n_same = sum(c.composition.reduced == truth.composition.reduced for c in others)
        clock = time.perf_counter()
        fits = fitter.fit_all([strained(truth, random), *others])
        seconds = (time.perf_counter() - clock) / len(fits)
        rows.append(
            {
                "formula": truth.composition.reduced_formula,
                "n_atoms": truth.n_atoms,
                "radiation": radiation.name,
                "impurity": how.impurity,
                "texture": how.texture,
                "seconds": seconds,
                "n_same": n_same,
                "rwp": [round(fit.rwp, 5) for fit in fits],
                "rwp_net": [round(fit.rwp_net, 5) for fit in fits],
                "rwp_net_itself": round(fitter.fit(truth).rwp_net, 5),
                "unexplained": [len(fit.unexplained) for fit in fits],
                "features": [[round(value, 5) for value in features(fit)] for fit in fits],
            }
        )
        asked.out.write_text(json.dumps(rows))
        if number % 20 == 19:
            tell(rows, None)


def tell(rows: list[dict[str, Any]], weights: NDArray[np.float64] | None) -> None:
    """Print how often the correct crystal is first."""
    weights = np.array([-1.0, *[0.0] * (len(Features._fields) - 1)]) if weights is None else weights
    for name, chosen in (
        ("all", rows),
        ("pure", [row for row in rows if not row["impurity"]]),
        ("10 % impurity", [row for row in rows if row["impurity"]]),
    ):
        first = sum(int(np.argmax(np.array(row["features"]) @ weights)) == 0 for row in chosen)
        times = 1000 * np.median([row["seconds"] for row in chosen]) if chosen else 0
        print(f"{name:14} right crystal first {Share(first, len(chosen))}  {times:.0f} ms a candidate", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--split", choices=("train", "val"), default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
