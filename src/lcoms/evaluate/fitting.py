"""Weights of the score and the calibration, fitted on rows of `lcoms evaluate validation --relax`.

The score is fitted as a conditional logit (McFadden 1974): relaxed candidate i of a composition is the known ground
state with a probability p_i proportional to exp(-(w . x_i)); x_i contains the energy above the lowest and the other
terms of `prediction.scoring`. Dividing by the weight of the energy gives weights in eV/atom. The stated probabilities
come from a second fit (`prediction.calibrate`), in which it is possible that no candidate is correct.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize

from lcoms.core.config import parse_json
from lcoms.core.errors import DataError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.calibrate import Scored, fit_calibration
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.wyckoff import wyckoff_positions
from lcoms.templates.structure_probability import StructureProbabilities

TERMS = ("energy", "prototype", "structure")
FOLDS = 10  # of the cross-validation, by formula
RIDGE = 0.3  # quadratic penalty on the weights of the scaled terms
ABSENT = 10**6
NO_SPREAD = 1e-9  # of a term that differs only by rounding errors
LEAST_LIKELY = 1e-12  # in logarithms of probabilities

Weights = Float[NDArray[np.float64], " k"]


class Case(NamedTuple):
    """One prediction: the terms of each relaxed candidate, whether it is correct, the size of its cell, the formula."""

    terms: Float[NDArray[np.float64], "n k"]
    right: Bool[NDArray[np.bool_], " n"]
    n_atoms: Int[NDArray[np.int64], " n"]
    formula: str


@dataclass(frozen=True)
class Order:
    """Performance of a ranking on compositions that it was not fitted on.

    Attributes:
        first, within_five: number of predictions with the correct candidate first, or among the first five.
        surprise: mean negative logarithm of the probability of the correct candidates, if there are any.
    """

    n: int
    first: int
    within_five: int
    surprise: float


def read_outcomes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of evaluations, one for each name and seed; files ending in .gz are decompressed.

    Raises:
        DataError: a file cannot be read, or none has a row with a relaxed candidate.
    """
    try:
        every = [row for path in paths for row in parse_json(_content(path))]
        found = list({(row["name"], row["seed"]): row for row in every if _relaxed(row)}.values())
        if not found:
            raise ValueError("no row of a relaxed prediction")
        return found
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        named = ", ".join(map(str, paths))
        raise DataError(f"{named} holds no rows of lcoms evaluate; write them with --relax --out FILE.") from error


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _relaxed(outcome: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in outcome["rows"] if row["energy"] is not None]


def cases_of(outcomes: Sequence[Mapping[str, Any]], bundle: WeightBundle, *, n_models: int = 2) -> list[Case]:
    """Return the relaxed candidates of each outcome.

    Args:
        bundle: has the known crystals for structure probabilities, those of the same composition excluded, and the
            floor of both probabilities.
        n_models: number of energy models used, the relaxing one first.

    Raises:
        DataError: a row is incomplete.
    """
    try:
        return [_case(_relaxed(outcome), str(outcome["formula"]), bundle, n_models) for outcome in outcomes]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("a row lacks what the fit needs; write rows with this version of lcoms evaluate.") from error


def _case(rows: Sequence[Mapping[str, Any]], formula: str, bundle: WeightBundle, n_models: int) -> Case:
    composition = Composition.from_formula(formula)
    counted = bundle.structures(composition, exclude_same=True)
    found = [_structure(row, composition, counted) for row in rows]
    floor = bundle.ranking.relaxed.floor
    energies = _mean_energies([row["energies"][:n_models] for row in rows])
    beside = [
        [
            -np.log(row["prototype_probability"] + floor),
            -np.log(structure + floor),
        ]
        for row, structure in zip(rows, found, strict=True)
    ]
    right, n_atoms = (np.array([row[name] for row in rows]) for name in ("both", "n_atoms"))
    terms = np.column_stack([energies - energies.min(), beside])
    return Case(terms, right, n_atoms, composition.reduced_formula)


def _mean_energies(energies: Sequence[Sequence[float | None]]) -> Float[NDArray[np.float64], " n"]:
    """Return the mean energy of each crystal (eV/atom) over the models that have an energy of every crystal."""
    columns = np.array([[np.nan if e is None else e for e in row] for row in energies], dtype=np.float64)
    whole = columns[:, np.isfinite(columns).all(axis=0)]
    if not whole.size:
        raise ValueError("no model has an energy of every crystal")
    return np.asarray(whole.mean(axis=1))


def _structure(row: Mapping[str, Any], composition: Composition, counted: StructureProbabilities) -> float:
    """Return the probability of a row's structure from its orbits; 0 if its space group lacks their letters."""
    if not row["orbits"]:
        return 0.0
    parts = [part.split(":") for part in row["orbits"].split()]
    orbits = tuple((letter, SYMBOLS.index(symbol)) for letter, symbol in parts)
    number = int(row.get("orbits_space_group") or row["space_group"])
    known = wyckoff_positions(number)
    return counted.of_orbits(composition, number, orbits) if all(letter in known for letter, _ in orbits) else 0.0


def fit_terms(cases: Sequence[Case]) -> Weights:
    """Return the non-negative weights of all terms that maximise the likelihood of the correct candidates.

    A term that is equal for all candidates of each composition has weight zero.

    Raises:
        DataError: fewer than ten compositions have the correct candidate among theirs.
    """
    use = [case for case in cases if case.right.any()]
    if len(n_right := {case.formula for case in use}) < FOLDS:
        raise DataError(f"{len(n_right)} compositions with the right candidate are too few for a fit.")
    spread = np.concatenate([case.terms - case.terms.mean(0) for case in use]).std(0)
    scale = np.where(spread > NO_SPREAD, spread + NO_SPREAD, np.inf)

    def loss(w: Weights) -> tuple[float, Weights]:
        value, slope = RIDGE / 2 * float((w**2).sum()), RIDGE * w
        for terms, right, *_ in use:
            x = terms / scale
            p = np.exp(-(x @ w) + (x @ w).min())
            p /= p.sum()
            among = p * right / (p * right).sum()
            value -= float(np.log((p * right).sum()))
            slope = slope + x.T @ (among - p)
        return value, slope

    bounds = [(0.0, None)] * len(scale)
    return np.asarray(minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", bounds=bounds).x / scale)


def score_weights(terms: Weights, present: ScoreWeights) -> ScoreWeights:
    """Return weights in eV/atom from those of the terms.

    Args:
        present: weights whose floor, limit and excess are kept: the first is an input of the fit, and rows without
            random symmetric crystals contain no information on the others.

    Raises:
        DataError: the fitted weight of the energy is not positive.
    """
    energy, prototype, structure = terms.tolist()
    if energy <= 0:
        raise DataError("energies do not distinguish the right candidates in these rows; nothing can be fitted.")
    return replace(
        present,
        distance=0.0,
        n_found=0.0,
        prototype_probability=round(prototype / energy, 4),
        structure_probability=round(structure / energy, 4),
    )


def scored(cases: Sequence[Case], weights: ScoreWeights) -> list[Scored]:
    """Return the cases with scores in eV/atom above the lowest energy."""
    beside = np.array([1.0, weights.prototype_probability, weights.structure_probability])
    heights = [case.terms @ beside for case in cases]
    return [
        Scored(above, case.right, int(case.n_atoms[np.argmin(above)]))
        for case, above in zip(cases, heights, strict=True)
        if len(above)
    ]


def folds(n: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each of n compositions."""
    return np.asarray(np.random.default_rng(seed).permutation(n) % FOLDS)


def _folds_of(cases: Sequence[Case], *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each case; all predictions of a composition, which differ in their seeds, are in one."""
    place = {formula: at for at, formula in enumerate(dict.fromkeys(case.formula for case in cases))}
    return folds(len(place), seed=seed)[[place[case.formula] for case in cases]]


def cross_validated_order(cases: Sequence[Case], *, seed: int = 0) -> Order:
    """Return the performance of the fit on unseen compositions."""
    fold = _folds_of(cases, seed=seed)
    ranks = np.full(len(cases), ABSENT)
    surprises: list[float] = []
    for k in range(FOLDS):
        weights = fit_terms([case for case, f in zip(cases, fold, strict=True) if f != k])
        for at in np.flatnonzero(fold == k).tolist():
            if cases[at].right.any():
                ranks[at], surprise = _place(cases[at], weights)
                surprises.append(surprise)
    return Order(len(cases), int((ranks == 1).sum()), int((ranks <= 5).sum()), float(np.mean(surprises)))


def cross_validated_probabilities(
    cases: Sequence[Case], present: ScoreWeights, *, seed: int = 0
) -> list[Float[NDArray[np.float64], " n"]]:
    """Return the probabilities of all candidates of each case, with score and calibration fitted without its formula.

    Args:
        present: weights whose floor is kept.
    """
    fold = _folds_of(cases, seed=seed)
    found: list[Float[NDArray[np.float64], " n"]] = [np.zeros(0)] * len(cases)
    for k in range(FOLDS):
        rest = [case for case, f in zip(cases, fold, strict=True) if f != k]
        weights = score_weights(fit_terms(rest), present)
        model = fit_calibration(scored(rest, weights), spec=PredictionSpec())
        for at in np.flatnonzero(fold == k).tolist():
            (case,) = scored([cases[at]], weights)
            found[at] = model.probabilities(case.heights, case.n_atoms)
    return found


def mean_surprise(probabilities: Sequence[Float[NDArray[np.float64], " n"]], cases: Sequence[Case]) -> float:
    """Return the mean negative logarithm of the probability of the correct candidates; of none if there are none."""
    found = [
        float(p[case.right].sum() if case.right.any() else 1 - p.sum())
        for p, case in zip(probabilities, cases, strict=True)
    ]
    return float(-np.log(np.maximum(found, LEAST_LIKELY)).mean())


def _place(case: Case, weights: Weights) -> tuple[int, float]:
    """Return the rank of the first correct candidate, and the negative log-probability of the correct ones."""
    scores = -(case.terms @ weights)
    p = np.exp(scores - scores.max())
    order = case.right[np.argsort(-scores, kind="stable")]
    return int(np.flatnonzero(order)[0]) + 1, float(-np.log(p[case.right].sum() / p.sum()))
