"""How well does a powder pattern tell the right crystal from others? And the weights of `lcoms.diffraction.posterior`.

    python benchmarks/patterns.py measure FILE.parquet --split train -n 300 --out train.json
    python benchmarks/patterns.py measure FILE.parquet --split val -n 200 --out val.json
    python benchmarks/patterns.py fit train.json --report val.json --out src/lcoms/diffraction/pattern_weights.json

FILE has the columns formula, numbers, frac_coords, lattice, n_atoms, e_above_hull and split, as `lcoms data ingest`
takes them. Patterns are simulated of ground states of validation compositions, with Poisson noise, a background with
a hump, a zero shift, preferred orientation in half of them and 10 % of an impurity in half of them. Against them stand
the true crystal with its cell strained by 1 to 3 % in each direction and its atoms moved by 0.05 angstrom, both as its
symmetry allows, the other crystals of the composition, and crystals of the same stoichiometry with the elements
exchanged, at the volume of the true one give or take 5 %.
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
from scipy.optimize import minimize

from lcoms.core.errors import LcomsError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.lines import allowed_strains
from lcoms.diffraction.posterior import Features, features
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.evaluate.statistics import Share
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import primitive_standard

MOST_ATOMS = 20
ON_HULL = 0.03  # eV/atom
N_TEMPLATES = 10
MOST_POLYMORPHS = 8
RADIATIONS = ("CuKa", "CuKa", "CuKa", "CoKa", "MoKa", "CuKa1", "0.5", "neutron 1.54")
RIDGE = 0.001
CHOICE = ("misfit", "unexplained")  # of the features, those that tell candidates apart; more did not help
CHOICES = (
    ("misfit", "unexplained"),
    ("misfit", "angle", "unexplained"),
    ("misfit", "angle", "unexplained", "absent"),
    ("misfit", "angle", "unexplained", "volume", "shape"),
    ("misfit", "angle", "unexplained", "absent", "volume", "shape"),
    Features._fields,
)  # of those that tell whether a crystal explains the pattern, one is chosen by folds of the training patterns
FOLDS = 5
MOVED = 0.05  # angstrom, root mean square; what a relaxation errs by


class Table(NamedTuple):
    """Crystals by stoichiometry, and the ground states of a split, which are measured."""

    by_class: dict[tuple[int, ...], list[Crystal]]
    measured: list[Crystal]


def read_table(path: Path, split: str) -> Table:
    """Crystals of up to 20 atoms."""
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
    """The cell changed by 1 to 3 % in each direction that the symmetry lets differ."""
    cell = primitive_standard(crystal)
    wanted = np.diag(random.uniform(0.01, 0.03, 3) * random.choice([-1, 1], 3))
    allowed = allowed_strains(cell.crystal.lattice, cell.rotations)
    strain = np.einsum("m,mij->ij", np.einsum("mij,ij->m", allowed, wanted), allowed)
    moved = cell.crystal.frac_coords + _allowed_shift(cell.crystal, random)
    return Crystal(cell.crystal.lattice @ (np.eye(3) + strain), moved, cell.crystal.atomic_numbers)


def _allowed_shift(crystal: Crystal, random: np.random.Generator) -> NDArray[np.float64]:
    """Fractional shifts of all atoms, MOVED angstrom before what the symmetry forbids is taken out."""
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
    """The template with the elements of the target, at its volume per atom give or take 5 %."""
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


def rivals(truth: Crystal, table: Table, random: np.random.Generator) -> list[Crystal]:
    """Other crystals of the composition, and substituted ones; none matches the true one strictly."""
    formula = truth.composition.reduced
    alike = table.by_class[truth.composition.stoichiometry]
    same = [c for c in alike if c is not truth and c.composition.reduced == formula][:MOST_POLYMORPHS]
    others = [c for c in alike if c.composition.reduced != formula]
    chosen = random.choice(len(others), min(2 * N_TEMPLATES, len(others)), replace=False)
    made = [substituted(others[i], truth, random) for i in chosen]
    found: list[Crystal] = []
    for crystal in [*same, *made]:
        if len(found) >= MOST_POLYMORPHS + N_TEMPLATES:
            break
        if not matches(crystal, truth, STRICT) and not any(matches(crystal, other, STRICT) for other in found):
            found.append(crystal)
    return found


def measurement(random: np.random.Generator, wavelength: float, *, impure: bool) -> Measurement:
    """Angles that reach spacings of about 1.1 angstrom, and disturbances."""
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
        others = rivals(truth, table, random)
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
                "rwp": [fit.rwp for fit in fits],
                "unexplained": [len(fit.unexplained) for fit in fits],
                "features": [list(features(fit)) for fit in fits],
            }
        )
        asked.out.write_text(json.dumps(rows))
        if number % 20 == 19:
            tell(rows, None)


def tell(rows: list[dict[str, Any]], weights: NDArray[np.float64] | None) -> None:
    """How often the right crystal is first."""
    weights = np.array([-1.0, *[0.0] * (len(Features._fields) - 1)]) if weights is None else weights
    for name, chosen in (
        ("all", rows),
        ("pure", [row for row in rows if not row["impurity"]]),
        ("10 % impurity", [row for row in rows if row["impurity"]]),
    ):
        first = sum(int(np.argmax(np.array(row["features"]) @ weights)) == 0 for row in chosen)
        times = 1000 * np.median([row["seconds"] for row in chosen]) if chosen else 0
        print(f"{name:14} right crystal first {Share(first, len(chosen))}  {times:.0f} ms a candidate", flush=True)


def fit(asked: argparse.Namespace) -> None:
    """Features chosen by folds of the training patterns, weights fitted on all of them, both tried on the others."""
    rows = read_rows(asked.rows)
    losses = {chosen: folded_loss(rows, chosen) for chosen in CHOICES}
    for chosen, loss in losses.items():
        print(f"{loss:.4f} log loss of folds with {', '.join(chosen)}")
    chosen = min(losses, key=losses.__getitem__)
    weights = fitted(rows, chosen)
    for path in (asked.rows, *asked.report):
        print(f"{path.name}: weights of {asked.rows.name} with {', '.join(chosen)}")
        tell(read_rows(path), weights.likelihood)
        tell_explained(read_rows(path), weights)
    content = {
        "made_by": f"benchmarks/patterns.py fit, {len(rows)} simulated patterns of training compositions",
        "likelihood": named(weights.likelihood),
        "explained": named(weights.explained),
        "intercept": round(weights.intercept, 4),
    }
    asked.out.write_text(json.dumps(content, indent=1) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Patterns with at least one rival."""
    return [row for row in json.loads(path.read_text()) if len(row["features"]) > 1]


def named(weights: NDArray[np.float64]) -> dict[str, float]:
    """By the features' names, those that are not 0."""
    pairs = zip(Features._fields, weights.round(4).tolist(), strict=True)
    return {name: value for name, value in pairs if value or name in ("misfit", "angle", "unexplained")}


class Weights(NamedTuple):
    """As `lcoms.diffraction.posterior.PatternWeights`, as arrays."""

    likelihood: NDArray[np.float64]
    explained: NDArray[np.float64]
    intercept: float


def folded_loss(rows: list[dict[str, Any]], chosen: tuple[str, ...]) -> float:
    """Mean log loss of "explained" on each fifth of the patterns, with weights of the others."""
    losses = []
    for at in range(FOLDS):
        weights = fitted([row for i, row in enumerate(rows) if i % FOLDS != at], chosen)
        right, wrong = cases(rows[at::FOLDS], weights.likelihood)
        for x, sign in ((right, 1), (wrong, -1)):
            losses += np.logaddexp(0, -sign * (x @ weights.explained + weights.intercept)).tolist()
    return float(np.mean(losses))


def fitted(rows: list[dict[str, Any]], explaining: tuple[str, ...]) -> Weights:
    """Weights of the choice among candidates, and of the log-odds that the best one is right; none is positive.

    Args:
        explaining: features that tell whether a crystal explains the pattern.
    """
    tables = [np.array(row["features"]) for row in rows]
    size = np.concatenate(tables).std(0) + 1e-9

    def choice(w: NDArray[np.float64]) -> float:
        scores = [(x / size) @ w for x in tables]
        return float(np.mean([np.logaddexp.reduce(s) - s[0] for s in scores]) + RIDGE * w @ w)

    def allowed(names: tuple[str, ...]) -> list[tuple[float | None, float]]:
        return [(None, 0.0) if name in names else (0.0, 0.0) for name in Features._fields]

    n = tables[0].shape[1]
    likelihood = minimize(choice, -0.1 * np.ones(n), bounds=allowed(CHOICE)).x / size
    right, wrong = cases(rows, likelihood)
    x = np.concatenate([right, wrong]) / size
    sign = np.concatenate([np.ones(len(right)), -np.ones(len(wrong))])

    def odds(w: NDArray[np.float64]) -> float:
        return float(np.mean(np.logaddexp(0, -sign * (x @ w[:-1] + w[-1]))) + RIDGE / 4 * w[:-1] @ w[:-1])

    found = minimize(odds, np.zeros(n + 1), bounds=[*allowed(explaining), (None, None)]).x
    return Weights(likelihood, found[:-1] / size, float(found[-1]))


def cases(
    rows: list[dict[str, Any]], likelihood: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features of the true crystals, and of the best of the others."""
    right = np.array([row["features"][0] for row in rows])
    wrong = np.array([max(row["features"][1:], key=lambda x: float(np.array(x) @ likelihood)) for row in rows])
    return right, wrong


def tell_explained(rows: list[dict[str, Any]], weights: Weights) -> None:
    """How often it is said rightly that the best crystal does, or does not, explain the pattern."""
    right, wrong = cases(rows, weights.likelihood)
    kept = sum(x @ weights.explained + weights.intercept > 0 for x in right)
    said = sum(x @ weights.explained + weights.intercept <= 0 for x in wrong)
    print(f"  true crystal among them: explained {Share(int(kept), len(right))}")
    print(f"  true crystal withheld: said that none explains it {Share(int(said), len(wrong))}", flush=True)


def main() -> None:
    """Measure or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    first = parts.add_parser("measure")
    first.add_argument("table", type=Path)
    first.add_argument("-n", type=int, default=200)
    first.add_argument("--split", choices=("train", "val"), default="val")
    first.add_argument("--seed", type=int, default=0)
    first.add_argument("--out", type=Path, required=True)
    first.set_defaults(run=measure)
    second = parts.add_parser("fit")
    second.add_argument("rows", type=Path)
    second.add_argument("--report", type=Path, nargs="*", default=[], help="further rows to try the weights on")
    second.add_argument("--out", type=Path, required=True)
    second.set_defaults(run=fit)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
