"""Which weights put the known ground state first? A conditional logit over the candidates of validation compositions.

    lcoms evaluate validation STORE -n 200 --relax --processes 2 --out rows.json
    python benchmarks/rank_weights.py rows.json

The score of a candidate is an energy - the oracle's where it was relaxed, else the surrogate's - and what
`lcoms.prediction.scoring.OrderWeights` puts beside it. Printed, for each choice of terms and cross-validated: how many
compositions come out right (strict match and space group) first and within five, and the mean negative logarithm of the
probability of the right one; then the weights that a fit to all rows gives, those below zero set to zero. The energy
stands as one term, or as three: for compounds with f electrons, for others with V to Ni, and for the rest.

Last, how often the right one is first in the order that made the rows and in simpler orders, and the share of the gap
between each of those and any of twenty that the order closes.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from lcoms.prediction.scoring import F_ELECTRONS, LEAST_SUPPORT, MAGNETIC
from lcoms.structure.crystal import Composition
from lcoms.structure.symmetry import space_group_order

TERMS = (
    "energy",
    "distance",
    "symmetry",
    "count",
    "support",
    "energy (rest)",
    "energy (V to Ni)",
    "energy (f)",
    "volume",
)
CHOICES = ((0,), (0, 4), (0, 4, 8), (0, 1, 4, 8), (0, 2, 3, 4), (0, 1, 2, 3, 4), (5, 6, 7, 4, 8), (5, 6, 7, 2, 3, 4))
FOLDS = 10
RIDGE = 0.3
MOST = 0.5  # eV/atom; energies farther above the lowest say no more
ABSENT = 10**6
Case = tuple[np.ndarray, np.ndarray]


def case(rows: list[dict], elements: tuple[int, ...]) -> Case:  # type: ignore[type-arg]
    """Terms of each candidate, and whether it is right."""
    relaxed = [row for row in rows if row["energy"] is not None] or rows
    energies = np.array([row["energy"] if row["energy"] is not None else row["surrogate"] for row in relaxed])
    terms = [
        [
            row["latent_distance"],
            -np.log(space_group_order(row["space_group"])),
            -np.log(row["count"]),
            -np.log(row["support"] + LEAST_SUPPORT),
        ]
        for row in relaxed
    ]
    if not relaxed:
        return np.zeros((0, len(TERMS))), np.zeros(0, dtype=bool)
    above = np.minimum(energies - energies.min(), MOST)
    kind = 2 if F_ELECTRONS.intersection(elements) else 1 if MAGNETIC.intersection(elements) else 0
    volumes = np.log([row["volume"] for row in relaxed])
    split = above[:, None] * (np.arange(3) == kind)
    return np.column_stack([above, terms, split, volumes]), np.array([row["both"] for row in relaxed])


def fitted(cases: list[Case], columns: tuple[int, ...]) -> np.ndarray:
    """Weights of some terms that make the right candidates most likely."""
    use = [(terms[:, columns], right) for terms, right in cases if right.any()]
    scale = np.concatenate([terms for terms, _ in use]).std(0) + 1e-9

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = RIDGE / 2 * (w**2).sum(), RIDGE * w
        for terms, right in use:
            x = terms / scale
            p = np.exp(-(x @ w) + (x @ w).min())
            p /= p.sum()
            among = p * right / (p * right).sum()
            value -= np.log((p * right).sum())
            slope += x.T @ (among - p)
        return value, slope

    return minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B").x / scale


def surprise(one: Case, columns: tuple[int, ...], weights: np.ndarray) -> float:
    """Negative logarithm of the probability that the fit gives to the right candidates."""
    terms, right = one
    scores = -(terms[:, columns] @ weights)
    p = np.exp(scores - scores.max())
    return float(-np.log(p[right].sum() / p.sum()))


def place(one: Case, columns: tuple[int, ...], weights: np.ndarray) -> int:
    """Rank of the right candidate."""
    terms, right = one
    order = right[np.argsort(terms[:, columns] @ weights, kind="stable")]
    return int(np.flatnonzero(order)[0]) + 1 if right.any() else ABSENT


def tell_gaps(outcomes: list[dict]) -> None:  # type: ignore[type-arg]
    """Print by which order the right candidate comes first, and what of each gap is closed."""
    orders = {
        "nearest template": lambda row: ABSENT if row["start_distance"] is None else row["start_distance"],
        "lowest energy": lambda row: row["energy"],
        "most votes": lambda row: -row["support"],
    }
    relaxed = [[row for row in o["rows"] if row["energy"] is not None] for o in outcomes]
    relaxed = [rows for rows in relaxed if rows]
    for key, name in (("strict", "strict match"), ("both", "strict match and space group")):
        first = sum(min(rows, key=lambda row: row["score"])[key] for rows in relaxed)
        best = sum(any(row[key] for row in rows) for rows in relaxed)
        print(f"{name}: first {first} of {len(outcomes)}, among all relaxed {best}")
        for order, by in orders.items():
            simple = sum(min(rows, key=by)[key] for rows in relaxed)
            closed = (first - simple) / (best - simple) if best > simple else float("nan")
            print(f"  {order} first: {simple}; {closed:.2f} of the gap is closed")


def main() -> None:
    """Read, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+")
    every = [row for path in parser.parse_args().rows for row in json.loads(path.read_text())]
    outcomes = list({(row["name"], row["seed"]): row for row in every}.values())
    cases = [case(o["rows"], Composition.from_formula(o["formula"]).atomic_numbers) for o in outcomes]
    print(f"{len(cases)} compositions; right among the candidates: {sum(bool(right.any()) for _, right in cases)}")
    fold = np.random.default_rng(0).permutation(len(cases)) % FOLDS
    for columns in CHOICES:
        ranks, surprises = np.zeros(len(cases)), []
        for k in range(FOLDS):
            weights = fitted([one for one, f in zip(cases, fold, strict=True) if f != k], columns)
            for at in np.flatnonzero(fold == k):
                ranks[at] = place(cases[at], columns, weights)
                if cases[at][1].any():
                    surprises.append(surprise(cases[at], columns, weights))
        weights = np.maximum(fitted(cases, columns), 0)
        named = ", ".join(f"{TERMS[c]} {w / weights[0]:.3f}" for c, w in zip(columns, weights, strict=True))
        shares = f"first {(ranks == 1).sum():>4}  within five {(ranks <= 5).sum():>4}"
        print(f"{shares}  surprise {np.mean(surprises):.3f}  {named}")
    tell_gaps(outcomes)


if __name__ == "__main__":
    main()
