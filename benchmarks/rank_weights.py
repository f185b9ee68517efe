"""Which weights put the known ground state first? A conditional logit over the candidates of validation compositions.

    lcoms evaluate validation STORE -n 200 --relax --processes 2 --out rows.json
    python benchmarks/rank_weights.py rows.json

The score of a candidate is an energy - the oracle's where it was relaxed, else the surrogate's - and what
`lcoms.search.order.OrderWeights` puts beside it. Printed: how many compositions come out right (strict match and space
group) first and within five by energy alone, and, cross-validated, by each choice of terms, with the weights that a fit
to all rows gives. Weights below zero are set to zero.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from lcoms.search.order import LEAST_SUPPORT
from lcoms.symmetry import space_group_order

TERMS = ("energy", "distance", "symmetry", "count", "support")
CHOICES = ((0,), (0, 4), (0, 3), (0, 2, 4), (0, 2, 3, 4), (0, 1, 2, 3, 4))
FOLDS = 10
RIDGE = 0.3
MOST = 0.5  # eV/atom; energies farther above the lowest say no more
ABSENT = 10**6
Case = tuple[np.ndarray, np.ndarray]


def case(rows: list[dict]) -> Case:  # type: ignore[type-arg]
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
    return np.column_stack([above, terms]), np.array([row["both"] for row in relaxed])


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


def place(one: Case, columns: tuple[int, ...], weights: np.ndarray) -> int:
    """Rank of the right candidate."""
    terms, right = one
    order = right[np.argsort(terms[:, columns] @ weights, kind="stable")]
    return int(np.flatnonzero(order)[0]) + 1 if right.any() else ABSENT


def main() -> None:
    """Read, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    cases = [case(outcome["rows"]) for outcome in json.loads(parser.parse_args().rows.read_text())]
    print(f"{len(cases)} compositions; right among the candidates: {sum(bool(right.any()) for _, right in cases)}")
    fold = np.random.default_rng(0).permutation(len(cases)) % FOLDS
    for columns in CHOICES:
        ranks = np.zeros(len(cases))
        for k in range(FOLDS):
            weights = fitted([one for one, f in zip(cases, fold, strict=True) if f != k], columns)
            for at in np.flatnonzero(fold == k):
                ranks[at] = place(cases[at], columns, weights)
        weights = np.maximum(fitted(cases, columns), 0)
        named = ", ".join(f"{TERMS[c]} {w / weights[0]:.3f}" for c, w in zip(columns, weights, strict=True))
        print(f"first {(ranks == 1).sum():>4}  within five {(ranks <= 5).sum():>4}  {named}")


if __name__ == "__main__":
    main()
