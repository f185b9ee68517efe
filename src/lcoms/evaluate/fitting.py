"""Weights of the score and the calibration, fitted on rows of `lcoms evaluate validation --relax`.

The score is fitted as a conditional logit (McFadden 1974): of the relaxed candidates of a composition the known ground
state is the right one with probability p_i proportional to exp(-(w . x_i)); x_i is the energy above the lowest and what
`prediction.scoring` puts beside it. Dividing by the weight of the energy gives weights in eV/atom.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.optimize import minimize

from lcoms.core.config import parse_json
from lcoms.core.errors import DataError
from lcoms.prediction.calibrate import FEATURES
from lcoms.prediction.scoring import F_ELECTRONS, LEAST_PROBABILITY, MAGNETIC, ScoreWeights
from lcoms.structure.crystal import Composition

TERMS = (
    "energy (rest)",
    "energy (V to Ni)",
    "energy (f electrons)",
    "latent distance",
    "n_found",
    "prototype",
    "volume",
)
FITTED = (0, 1, 2, 3, 5, 6)  # n_found adds nothing to the prototype probability, which it is counted in
FOLDS = 10
RIDGE = 0.3
MOST = 0.5  # eV/atom; energies farther above the lowest say no more
ABSENT = 10**6

Weights = Float[NDArray[np.float64], " k"]


class Case(NamedTuple):
    """One composition: the terms of each relaxed candidate, and which of them are right."""

    terms: Float[NDArray[np.float64], "n k"]
    right: Bool[NDArray[np.bool_], " n"]


@dataclass(frozen=True)
class Order:
    """How an order does on compositions that it was not fitted on.

    Attributes:
        first, within_five: compositions whose right candidate comes so early.
        surprise: mean negative logarithm of the probability of the right candidates, where there are any.
    """

    n: int
    first: int
    within_five: int
    surprise: float


def read_outcomes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of evaluations, one for each name and seed; files may be compressed, with names in .gz.

    Raises:
        DataError: a file holds none.
    """
    try:
        every = [row for path in paths for row in parse_json(_content(path))]
        found = list({(row["name"], row["seed"]): row for row in every if row["evidence"]}.values())
        if not found or {len(row["evidence"]) for row in found} != {len(FEATURES)}:
            raise ValueError("no row with the evidence of a relaxed prediction")
        return found
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        named = ", ".join(map(str, paths))
        raise DataError(f"{named} holds no rows of lcoms evaluate; write them with --relax --out FILE.") from error


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def cases_of(outcomes: Sequence[Mapping[str, Any]]) -> list[Case]:
    """The relaxed candidates of each outcome.

    Raises:
        DataError: a row lacks something.
    """
    try:
        return [
            _case([row for row in outcome["rows"] if row["energy"] is not None], str(outcome["formula"]))
            for outcome in outcomes
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("a row lacks what the fit needs; write rows with this version of lcoms evaluate.") from error


def _case(rows: Sequence[Mapping[str, Any]], formula: str) -> Case:
    if not rows:
        return Case(np.zeros((0, len(TERMS))), np.zeros(0, dtype=bool))
    elements = Composition.from_formula(formula).atomic_numbers
    kind = 2 if F_ELECTRONS.intersection(elements) else 1 if MAGNETIC.intersection(elements) else 0
    energies = np.array([row["energy"] for row in rows])
    above = np.minimum(energies - energies.min(), MOST)
    beside = [
        [
            row["latent_distance"],
            -np.log(max(row["n_found"], 1)),
            -np.log(row["prototype_probability"] + LEAST_PROBABILITY),
            np.log(row["volume"]),
        ]
        for row in rows
    ]
    return Case(np.column_stack([above[:, None] * (np.arange(3) == kind), beside]), np.array([r["both"] for r in rows]))


def fit_terms(cases: Sequence[Case]) -> Weights:
    """Weights of all terms that make the right candidates most likely; zero for those that are not fitted.

    Raises:
        DataError: fewer than ten compositions have the right candidate among theirs.
    """
    columns = list(FITTED)
    use = [(case.terms[:, columns], case.right) for case in cases if case.right.any()]
    if len(use) < FOLDS:
        raise DataError(f"{len(use)} compositions with the right candidate among theirs are too few to fit on.")
    scale = np.concatenate([terms for terms, _ in use]).std(0) + 1e-9

    def loss(w: Weights) -> tuple[float, Weights]:
        value, slope = RIDGE / 2 * float((w**2).sum()), RIDGE * w
        for terms, right in use:
            x = terms / scale
            p = np.exp(-(x @ w) + (x @ w).min())
            p /= p.sum()
            among = p * right / (p * right).sum()
            value -= float(np.log((p * right).sum()))
            slope = slope + x.T @ (among - p)
        return value, slope

    found = minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B").x / scale
    weights = np.zeros(len(TERMS))
    weights[columns] = np.maximum(found, 0.0)
    return weights


def score_weights(terms: Weights, *, limit: float, excess: float) -> ScoreWeights:
    """Weights in eV/atom from those of the terms.

    Args:
        limit: of `ScoreWeights`; rows without random symmetric crystals tell nothing about it.
        excess: the same.
    """
    rest, magnetic, f_electrons, distance, n_found, prototype, volume = np.maximum(terms, 0.0).tolist()
    if rest <= 0:
        raise DataError("energies do not tell the right candidates of these rows; nothing can be fitted.")
    return ScoreWeights(
        distance=round(distance / rest, 4),
        n_found=round(n_found / rest, 4),
        prototype_probability=round(prototype / rest, 4),
        magnetic=round(rest / magnetic, 2) if magnetic > 0 else 1.0,
        f_electrons=round(rest / f_electrons, 2) if f_electrons > 0 else 1.0,
        limit=limit,
        excess=excess,
        volume=round(volume / rest, 4),
    )


def cross_validated_order(cases: Sequence[Case], *, seed: int = 0) -> Order:
    """How the fit does on compositions that it has not seen."""
    fold = np.random.default_rng(seed).permutation(len(cases)) % FOLDS
    ranks = np.full(len(cases), ABSENT)
    surprises: list[float] = []
    for k in range(FOLDS):
        weights = fit_terms([case for case, f in zip(cases, fold, strict=True) if f != k])
        for at in np.flatnonzero(fold == k).tolist():
            if cases[at].right.any():
                ranks[at], surprise = _place(cases[at], weights)
                surprises.append(surprise)
    return Order(len(cases), int((ranks == 1).sum()), int((ranks <= 5).sum()), float(np.mean(surprises)))


def _place(case: Case, weights: Weights) -> tuple[int, float]:
    """Rank of the first right candidate, and the negative logarithm of the probability of the right ones."""
    scores = -(case.terms @ weights)
    p = np.exp(scores - scores.max())
    order = case.right[np.argsort(-scores, kind="stable")]
    return int(np.flatnonzero(order)[0]) + 1, float(-np.log(p[case.right].sum() / p.sum()))
