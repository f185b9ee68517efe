r"""Fit of the weights of `lcoms.diffraction.weights` to the rows of `patterns.py`, and its performance.

    python benchmarks/pattern_weights.py train.json --report val.json --measured FOLDER --but CdS \
        --weights src/lcoms/weights

FOLDER contains measured patterns NAME.csv (copper K-alpha) and their structures NAME.cif. They are added as correct
crystals to the fit of whether a crystal explains the pattern, because measured intensities have larger errors than
simulated ones.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import gzip
import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from patterns import tell
from scipy.optimize import minimize

from lcoms.core.disk import write_whole
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.posterior import explained_probability, features
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import read_pattern
from lcoms.diffraction.weights import FORMAT, PATTERN_FILE, Features
from lcoms.evaluate.statistics import Share
from lcoms.models.manifest import record_files
from lcoms.structure.io import read_crystal

RIDGE = 0.001
CHOICE = ("positions", "intensities", "unexplained")  # features that distinguish candidates; more did not help
CHOICES = (
    ("angle", "absent", "shape", "unexplained"),
    ("intensities", "unexplained"),
    ("angle", "intensities", "unexplained"),
    ("angle", "absent", "intensities", "unexplained"),
    ("angle", "absent", "intensities", "positions", "unexplained"),
    ("angle", "absent", "intensities", "shape", "unexplained"),
    Features._fields,
)  # sets of features for whether a crystal explains the pattern; one is selected by folds of the training patterns
LACKING = 1.0  # smallest weight of unexplained lines there; nearly all training patterns are of a single crystal
COUNT_OF_REAL = 8  # with fewer, the measured pattern of Al2O3 would be called unexplained
FOLDS = 5
AS_GOOD = 1.05  # times the Rwp of the true crystal, up to which another fits its pattern equally well


def fit(asked: argparse.Namespace) -> None:
    """Select features by folds of the training patterns, fit weights on all of them, and test both on the others."""
    rows = read_rows(asked.rows)
    real = [] if asked.measured is None else measured(asked.measured, asked.but)
    losses = {chosen: folded_loss(rows, chosen, real) for chosen in CHOICES}
    for chosen, loss in losses.items():
        print(f"{loss:.4f} log loss of folds with {', '.join(chosen)}")
    chosen = min(losses, key=losses.__getitem__)
    weights = fitted(rows, chosen, real)
    for path in (asked.rows, *asked.report):
        print(f"{path.name}: weights of {asked.rows.name} with {', '.join(chosen)}")
        tell(read_rows(path), weights.likelihood)
        tell_explained(read_rows(path), weights, asked.least)
    content = {
        "format": FORMAT,
        "made_by": f"benchmarks/pattern_weights.py, {len(rows)} simulated patterns of training compositions"
        + (f" and {len(real)} measured ones" if real else ""),
        "likelihood": named(weights.likelihood),
        "explained": named(weights.explained),
        "intercept": round(weights.intercept, 4),
        "least": asked.least,
    }
    if asked.weights is not None:
        write_whole(asked.weights / PATTERN_FILE, json.dumps(content, indent=1) + "\n")
        record_files(asked.weights, [PATTERN_FILE])


def measured(folder: Path, but: Sequence[str]) -> list[list[float]]:
    """Return features of true structures fitted to their measured patterns, except those that are only printed."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        fit = PatternFitter(read_pattern(path, read_radiation("CuKa"))).fit(read_crystal(path.with_suffix(".cif")))
        print(f"{path.stem}: Rwp {fit.rwp:.3f}, cosine {fit.cosine:.3f}, explained {explained_probability(fit):.2f}")
        found += [] if path.stem in but else [list(features(fit))]
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the patterns with at least one rival."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [row for row in json.loads(text) if len(row["features"]) > 1]


def named(weights: NDArray[np.float64]) -> dict[str, float]:
    """Return the nonzero weights by the names of their features."""
    pairs = zip(Features._fields, weights.round(4).tolist(), strict=True)
    return {name: value for name, value in pairs if value or name in ("misfit", "angle", "unexplained")}


class Weights(NamedTuple):
    """The content of `lcoms.diffraction.weights.PatternWeights` as arrays."""

    likelihood: NDArray[np.float64]
    explained: NDArray[np.float64]
    intercept: float


def folded_loss(rows: list[dict[str, Any]], chosen: tuple[str, ...], real: list[list[float]]) -> float:
    """Return the mean log loss of "explained" on each fifth of the patterns, with weights from the others."""
    losses = []
    for at in range(FOLDS):
        weights = fitted([row for i, row in enumerate(rows) if i % FOLDS != at], chosen, real)
        right, wrong = cases(rows[at::FOLDS], weights.likelihood)
        for x, sign in ((right, 1), (wrong, -1)):
            losses += np.logaddexp(0, -sign * (x @ weights.explained + weights.intercept)).tolist()
    return float(np.mean(losses))


def fitted(rows: list[dict[str, Any]], explaining: tuple[str, ...], real: list[list[float]]) -> Weights:
    """Return weights for the choice among candidates, and for the log-odds that the best one is correct; none positive.

    The best of the others has most of the lines in nearly all patterns; `LACKING` represents crystals with few lines.

    Args:
        explaining: features that indicate whether a crystal explains the pattern.
        real: features of further correct crystals, each of which counts `COUNT_OF_REAL` times.
    """
    tables = [np.array(row["features"]) for row in rows]
    size = np.concatenate(tables).std(0) + 1e-9

    def choice(w: NDArray[np.float64]) -> float:
        scores = [(x / size) @ w for x in tables]
        return float(np.mean([np.logaddexp.reduce(s) - s[0] for s in scores]) + RIDGE * w @ w)

    def allowed(names: tuple[str, ...], least: float = 0.0) -> list[tuple[float | None, float]]:
        most = dict.fromkeys(names, 0.0) | {"unexplained": -least * float(size[Features._fields.index("unexplained")])}
        return [(None, most[name]) if name in names else (0.0, 0.0) for name in Features._fields]

    n = tables[0].shape[1]
    likelihood = minimize(choice, -0.1 * np.ones(n), bounds=allowed(CHOICE)).x / size
    right, wrong = cases(rows, likelihood)
    right = np.concatenate([right, *[np.array(real)] * COUNT_OF_REAL]) if real else right
    x = np.concatenate([right, wrong]) / size
    sign = np.concatenate([np.ones(len(right)), -np.ones(len(wrong))])

    def odds(w: NDArray[np.float64]) -> float:
        return float(np.mean(np.logaddexp(0, -sign * (x @ w[:-1] + w[-1]))) + RIDGE / 4 * w[:-1] @ w[:-1])

    found = minimize(odds, np.zeros(n + 1), bounds=[*allowed(explaining, LACKING), (None, None)]).x
    return Weights(likelihood, found[:-1] / size, float(found[-1]))


def cases(
    rows: list[dict[str, Any]], likelihood: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features of the true crystals, and of the best of the others."""
    right = np.array([row["features"][0] for row in rows])
    wrong = np.array([max(row["features"][1:], key=lambda x: float(np.array(x) @ likelihood)) for row in rows])
    return right, wrong


def tell_explained(rows: list[dict[str, Any]], weights: Weights, least: float) -> None:
    """Print how often the verdict that the best crystal does, or does not, explain the pattern is correct."""
    right, wrong = cases(rows, weights.likelihood)
    least = log(least / (1 - least))
    kept = right @ weights.explained + weights.intercept >= least
    said = wrong @ weights.explained + weights.intercept < least
    better = np.array([not as_good(row, weights.likelihood) for row in rows])
    print(f"  true crystal among them: explained {Share(int(kept.sum()), len(right))}")
    print(f"  true crystal withheld: said that none explains it {Share(int(said.sum()), len(wrong))}")
    print(f"    where none is as good as the true one {Share(int(said[better].sum()), int(better.sum()))}", flush=True)


def as_good(row: dict[str, Any], likelihood: NDArray[np.float64]) -> bool:
    """Return whether the best of the others fits as well as the true crystal without strain and displacements."""
    best = 1 + int(np.argmax(np.array(row["features"][1:]) @ likelihood))
    return bool(row["rwp_net"][best] <= AS_GOOD * row["rwp_net_itself"])


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--report", type=Path, nargs="*", default=[], help="further rows to try the weights on")
    parser.add_argument("--measured", type=Path, help="folder of measured patterns and their structures")
    parser.add_argument("--but", nargs="*", default=[], help="names of those that are told, but not fitted to")
    parser.add_argument("--weights", type=Path, help="folder of weights to write the fit to")
    parser.add_argument("--least", type=float, default=0.6, help="probability from which a crystal explains a pattern")
    fit(parser.parse_args())


if __name__ == "__main__":
    main()
