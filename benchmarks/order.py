"""Alternative rankings of the candidates: further terms, a small network and gradient boosting, cross-validated.

    python order.py results/ranking_candidates.json.gz results/calibration_candidates.json.gz

The base is the shipped ranking: energy, prototype probability, and the probability of the structure after relaxation.
Each line gives the number of compositions with their known crystal first, gains and losses relative to the base, the
mean negative logarithm of the probability of the true outcome (the known crystal, or none of the candidates), and the
expected calibration error. Boosting needs scikit-learn.

Nearly all known crystals of these rows have at most 20 atoms in the cell, because larger ones were not sampled. What
favours small cells therefore seems to help; with --max-atoms 20 it cannot.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lcoms.evaluate.fitting import FOLDS, Case, cases_of, folds, read_outcomes
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.calibrate import reliability
from lcoms.structure.crystal import Composition
from lcoms.structure.symmetry import space_group_order

METALS_3D = frozenset(range(23, 29))
F_ELECTRONS = frozenset(range(57, 72)) | frozenset(range(89, 104))
BASE = 3  # terms of the shipped order
DECODED = 20  # atoms; larger cells come from exact templates alone, so few proposals lead to them
ALIKE = 3  # proposals, at least, that larger cells are given
STEPS, RATE, DECAY, MEMBERS = 200, 1e-2, 0.3, 5
Array = NDArray[np.float64]


def further_terms(outcome: Mapping[str, Any], case: Case) -> dict[str, Array]:
    """Return further terms by name, each (n,)."""
    rows = [row for row in outcome["rows"] if row["energy"] is not None]
    elements = Composition.from_formula(outcome["formula"]).atomic_numbers
    energies = np.array([[np.nan if e is None else e for e in row["energies"][:2]] for row in rows], dtype=np.float64)
    above = energies - np.nanmin(energies, axis=0)
    number, large = np.array([row["n_found"] for row in rows]), np.array([row["n_atoms"] > DECODED for row in rows])
    energy, chemical = case.terms[:, 0], [row["template_distance"] for row in rows]
    return {
        "energy of 3d metals": energy * bool(METALS_3D.intersection(elements)),
        "energy of f elements": energy * bool(F_ELECTRONS.intersection(elements)),
        "difference of the models": np.nan_to_num(np.ptp(above, axis=1)),
        "logarithm of the energy": np.log1p(energy / 0.02),
        "atoms in the cell": np.log([row["n_atoms"] for row in rows]),
        "volume per atom": np.log([row["volume"] for row in rows]),
        "latent distance": np.array([row["latent_distance"] for row in rows]),
        "number of proposals": -np.log(np.maximum(number, 1)),
        "number, large cells alike": -np.log(np.where(large, np.maximum(number, ALIKE), np.maximum(number, 1))),
        "operations per atom": -np.log([space_group_order(row["space_group"]) / row["n_atoms"] for row in rows]),
        "chemical distance": np.array([5.0 if d is None else d for d in chemical]),
        "surrogate": np.array([row["surrogate"] for row in rows]),
    }


class Listwise:
    """Softmax over the candidates and the case of none, of a linear score plus, with hidden units, a network."""

    def __init__(self, *, hidden: int, seed: int = 0) -> None:
        self.hidden, self.seed = hidden, seed

    def fit(self, terms: Sequence[Array], right: Sequence[NDArray[np.bool_]]) -> Callable[[Array], Array]:
        """Return a function that gives the probabilities of the candidates of one composition."""
        torch.manual_seed(self.seed)
        every = np.concatenate(terms)
        mean, scale = every.mean(0), every.std(0) + 1e-9
        x = torch.tensor((every - mean) / scale, dtype=torch.float32)
        of = torch.repeat_interleave(torch.arange(len(terms)), torch.tensor([len(t) for t in terms]))
        is_right = torch.tensor(np.concatenate(right))
        none_right = torch.tensor([not r.any() for r in right])
        linear, none = nn.Linear(x.shape[1], 1, bias=False), nn.Parameter(torch.tensor(-3.0))
        layers = [nn.Linear(x.shape[1], self.hidden), nn.SiLU(), nn.Linear(self.hidden, 1)] if self.hidden else []
        beside = nn.Sequential(*layers)
        nn.init.zeros_(linear.weight)
        weights = [*linear.parameters(), *beside.parameters()]
        decay = {"params": weights, "weight_decay": DECAY if self.hidden else 0.02}
        optimizer = torch.optim.AdamW([decay, {"params": [none], "weight_decay": 0.0}], lr=RATE if self.hidden else 0.1)

        def score(values: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = linear(values)[:, 0]
            return found + beside(values)[:, 0] if self.hidden else found

        for _ in range(STEPS):
            logs = score(x).clamp(max=60)
            odds, other = torch.exp(logs), torch.exp(none)
            total = torch.zeros(len(terms)).index_add(0, of, odds) + other
            good = torch.zeros(len(terms)).index_add(0, of, odds * is_right) + other * none_right
            optimizer.zero_grad()
            (torch.log(total) - torch.log(good + 1e-30)).mean().backward()
            optimizer.step()

        @torch.no_grad()
        def probabilities(some: Array) -> Array:
            logs = torch.cat([score(torch.tensor((some - mean) / scale, dtype=torch.float32)), none[None]])
            return np.asarray(torch.softmax(logs, 0)[:-1].double().numpy())

        return probabilities


class Boosting:
    """Trees over single candidates, monotonic in the terms of the base; sums of probabilities above 1 are scaled."""

    def fit(self, terms: Sequence[Array], right: Sequence[NDArray[np.bool_]]) -> Callable[[Array], Array]:
        """As `Listwise.fit`."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        every = np.concatenate(terms)
        signs = [-1] * BASE + [0] * (every.shape[1] - BASE)
        trees = HistGradientBoostingClassifier(
            max_iter=80, learning_rate=0.06, max_leaf_nodes=8, l2_regularization=2.0, monotonic_cst=signs
        ).fit(every, np.concatenate(right))

        def probabilities(some: Array) -> Array:
            found = trees.predict_proba(some)[:, 1]
            return np.asarray(found / max(found.sum(), 1.0))

        return probabilities


def cross_validated(
    models: Sequence[Listwise | Boosting], terms: Sequence[Array], right: Sequence[NDArray[np.bool_]]
) -> list[Array]:
    """Return the mean probabilities, over the models, of the candidates of each composition, fitted without it."""
    fold, found = folds(len(terms)), [np.zeros(len(t)) for t in terms]
    for k in range(FOLDS):
        rest = np.flatnonzero(fold != k).tolist()
        for model in models:
            say = model.fit([terms[at] for at in rest], [right[at] for at in rest])
            for at in np.flatnonzero(fold == k).tolist():
                found[at] = found[at] + say(terms[at]) / len(models)
    return found


def tell(name: str, found: Sequence[Array], right: Sequence[NDArray[np.bool_]], base: NDArray[np.bool_]) -> None:
    """Print one line."""
    first = are_first(found, right)
    of_truth = [p[r].sum() if r.any() else 1 - p.sum() for p, r in zip(found, right, strict=True)]
    surprise = -np.log(np.maximum(of_truth, 1e-9)).mean()
    error = reliability(np.array([p.max() for p in found]), first)[1]
    gains, losses = (first & ~base).sum(), (base & ~first).sum()
    print(f"{name:<28} {first.sum():>5} {gains:>5} {losses:>6} {surprise:>8.3f} {error:>6.3f}", flush=True)


def up_to(outcomes: Sequence[dict[str, Any]], max_atoms: int | None) -> list[dict[str, Any]]:
    """Return the predictions of cells of at most so many atoms, without candidates that have more."""
    if max_atoms is None:
        return list(outcomes)
    small = [one for one in outcomes if one["n_atoms"] <= max_atoms]
    kept = [one | {"rows": [row for row in one["rows"] if row["n_atoms"] <= max_atoms]} for one in small]
    return [one for one in kept if any(row["energy"] is not None for row in one["rows"])]


def are_first(found: Sequence[Array], right: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return whether the known crystal is the most probable candidate."""
    return np.array([bool(r[int(np.argmax(p))]) for p, r in zip(found, right, strict=True)])


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="rows of lcoms evaluate --relax --out")
    parser.add_argument("--max-atoms", type=int, help="leave out known crystals and candidates with larger cells")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = up_to(read_outcomes(asked.rows), asked.max_atoms)
    cases = cases_of(outcomes, WeightBundle.load(None))
    right = [case.right for case in cases]
    further = [further_terms(outcome, case) for outcome, case in zip(outcomes, cases, strict=True)]
    names = list(further[0])

    def with_terms(some: Sequence[str]) -> list[Array]:
        return [np.column_stack([c.terms, *(f[name] for name in some)]) for c, f in zip(cases, further, strict=True)]

    linear, run = [Listwise(hidden=0)], partial(cross_validated, right=right)
    shipped = run(linear, with_terms([]))
    base = are_first(shipped, right)
    print(f"{len(cases)} compositions; the known crystal is among the candidates of {sum(r.any() for r in right)}")
    print(f"{'':<28} first  gain   loss surprise    ECE")
    tell("shipped order", shipped, right, base)
    tell("energy alone", run(linear, [case.terms[:, :1] for case in cases]), right, base)
    logarithms = [np.column_stack([np.log1p(c.terms[:, 0] / 0.02), c.terms[:, 1:]]) for c in cases]
    tell("logarithm for the energy", run(linear, logarithms), right, base)
    for name in names:
        tell(f"+ {name}", run(linear, with_terms([name])), right, base)
    tell("+ all, linear", run(linear, with_terms(names)), right, base)
    network = [Listwise(hidden=16, seed=seed) for seed in range(MEMBERS)]
    tell("+ all, network", run(network, with_terms(names)), right, base)
    tell("+ all, boosting", run([Boosting()], with_terms(names)), right, base)


if __name__ == "__main__":
    main()
