"""Relative weights of the score and a powder pattern, by a maximum-likelihood fit of both.

    python benchmarks/pattern_prior.py results/validation_candidates.json.gz --patterns results/pattern_fits_val.json.gz

The posterior of a candidate with score s and log-likelihood l of the pattern is proportional to exp(-s / T + c l);
`lcoms.prediction.by_pattern` has the `score_error` of `ranking.json` as T, and c = 1. The rows of predictions have
scores but no patterns, those of patterns have likelihoods but no scores. Therefore T is fitted on the former and c on
the latter, both with cross-validation. Both together are tested, not fitted, on pairs drawn at random: the correct
candidates of a prediction are given the features of a pattern's true crystal, the others those of its rivals.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lcoms.diffraction.weights import load_pattern_weights
from lcoms.evaluate.fitting import read_outcomes
from lcoms.prediction.ranking_file import load_ranking

FOLDS = 10
DRAWS = 20  # patterns for each prediction
TRIED = ((0.02, 1.0), (0.03, 0.3), (0.03, 0.6), (0.03, 1.0), (0.03, 1.4), (0.04, 1.0))  # T and c


class Case(NamedTuple):
    """Candidates of one composition: -s and l, (n, 2), and whether each is correct."""

    terms: NDArray[np.float64]
    right: NDArray[np.bool_]


def predictions(path: Path) -> list[Case]:
    """Return the predictions with the correct candidate among the relaxed ones."""
    found = []
    for outcome in read_outcomes([path]):
        rows = [row for row in outcome["rows"] if row["energy"] is not None]
        scores = np.array([row["score"] for row in rows])
        right = np.array([row["both"] for row in rows], dtype=bool)
        found.append(Case(np.column_stack([scores.min() - scores, np.zeros(len(rows))]), right))
    return [case for case in found if case.right.any()]


def patterns(path: Path) -> list[Case]:
    """Return the patterns with rivals; the true crystal is the first."""
    rows: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    weights = np.array(load_pattern_weights().likelihood)
    logs = [np.array(row["features"]) @ weights for row in rows if len(row["features"]) > 1]
    return [Case(np.column_stack([np.zeros(len(x)), x]), np.arange(len(x)) == 0) for x in logs]


def paired(scored: Sequence[Case], measured: Sequence[Case], random: np.random.Generator) -> list[Case]:
    """Return each prediction combined with `DRAWS` random patterns."""
    found = []
    for case in scored:
        for place in random.integers(len(measured), size=DRAWS):
            logs = measured[place].terms[:, 1]
            chosen = np.where(case.right, logs[0], random.choice(logs[1:], len(case.right)))
            found.append(Case(np.column_stack([case.terms[:, 0], chosen]), case.right))
    return found


def surprise(weights: NDArray[np.float64], cases: Sequence[Case]) -> float:
    """Return the mean negative logarithm of the probability of the correct candidates."""
    logs = [case.terms @ weights for case in cases]
    return float(
        np.mean([
            np.logaddexp.reduce(x) - np.logaddexp.reduce(x[case.right]) for x, case in zip(logs, cases, strict=True)
        ])
    )  # fmt: skip


def fit(cases: Sequence[Case], present: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positive 1 / T and c with the least surprise; a term that no case has keeps its present weight."""

    def loss(logs: NDArray[np.float64]) -> float:
        return surprise(np.exp(logs), cases)

    found = np.exp(minimize(loss, np.log(present), method="Nelder-Mead").x)
    has = np.any([np.ptp(case.terms, axis=0) > 0 for case in cases], axis=0)
    return np.where(has, found, present)


def cross_validated(name: str, cases: Sequence[Case], random: np.random.Generator) -> None:
    """Print the fit and its surprise on unseen cases, next to that of the present weights."""
    fold, present = random.permutation(len(cases)) % FOLDS, np.array([1 / load_ranking().score_error, 1.0])
    by_fold = [fit([case for case, f in zip(cases, fold, strict=True) if f != k], present) for k in range(FOLDS)]
    found = np.array([surprise(by_fold[f], [case]) for case, f in zip(cases, fold, strict=True)])
    now = np.array([surprise(present, [case]) for case in cases])
    weights, less = fit(cases, present), now - found
    print(
        f"{name} ({len(cases)}): T = {1 / weights[0]:.4f} eV/atom, c = {weights[1]:.2f}; surprise {now.mean():.4f}"
        f" at present, {found.mean():.4f} with the fit, less by {less.mean():.4f} +- "
        f"{less.std() / np.sqrt(len(less)):.4f}"
    )


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, help="rows of lcoms evaluate --relax --out")
    parser.add_argument("--patterns", type=Path, required=True, help="rows of patterns.py")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    scored, measured = predictions(asked.predictions), patterns(asked.patterns)
    cross_validated("predictions", scored, random)
    cross_validated("patterns", measured, random)
    pairs = paired(scored, measured, random)
    for temperature, weight in TRIED:
        mean = surprise(np.array([1 / temperature, weight]), pairs)
        alone = surprise(np.array([1 / temperature, weight]), measured)
        print(f"T = {temperature} eV/atom, c = {weight}: surprise {alone:.4f} of patterns, {mean:.4f} of pairs")


if __name__ == "__main__":
    main()
