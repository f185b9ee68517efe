"""How well energy models and the surrogate order the Materials Project's polymorphs of unseen compositions.

    python benchmarks/polymorph_order.py STORE --oracle chgnet:r2scan chgnet:0.3.0 sevennet:l3i5 --out rows.json

Compositions of the validation split with three or more crystals of the Materials Project (up to `--max-atoms` atoms),
none of which the surrogate was trained on; the energy models were trained on the Materials Project as a whole. The
energies are those of the crystals as given, not relaxed. The figure is the Spearman correlation with the formation
energies within each composition, as in `lcoms evaluate surrogate`.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.core.disk import require_writable
from lcoms.data.store import Store
from lcoms.evaluate.surrogates import encode_crystals, unseen_rows
from lcoms.models.surrogate import predict_energies
from lcoms.models.weights import load_weights
from lcoms.oracles.base import evaluate_all
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Crystal
from lcoms.train.ranking import MIN_MEMBERS, members_of, within_composition_spearman

SURROGATE = "surrogate"


def polymorphs(store: Store, source: str, max_atoms: int) -> list[NDArray[np.int64]]:
    """Return the rows of each composition with enough crystals of this source, whose energies are not all equal."""
    rows = unseen_rows(store, max_atoms=max_atoms)
    columns = store.columns("formula", "source", "formation_energy_per_atom")
    rows = rows[[str(one).startswith(source) for one in columns["source"][rows]]]
    _, labels = np.unique(columns["formula"][rows].astype(str), return_inverse=True)
    energies = columns["formation_energy_per_atom"][rows].astype(float)
    groups = [members for members in members_of(labels) if len(members) >= MIN_MEMBERS]
    return [rows[members] for members in groups if np.ptp(energies[members]) > 0]


def energies_by(model: str, store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return energies of the crystals in eV/atom, NaN where a model gives none."""
    if model == SURROGATE:
        weights = load_weights(None)
        some = encode_crystals(store, weights.cdvae, rows)
        return predict_energies(weights.surrogate, some.latents, some.composition_features).double().numpy()
    crystals: list[Crystal] = [store[int(row)] for row in rows]
    results = evaluate_all(make_oracle(model), crystals)
    return np.array([r.energy / c.n_atoms if r.ok else np.nan for r, c in zip(results, crystals, strict=True)])


def cases(store: Store, groups: list[NDArray[np.int64]], models: list[str]) -> list[dict[str, Any]]:
    """Return a case for each composition and model."""
    rows = np.concatenate(groups)
    columns = store.columns("formula", "formation_energy_per_atom")
    truth = columns["formation_energy_per_atom"][rows].astype(float)
    starts = np.cumsum([0, *map(len, groups)])
    found = []
    for model in models:
        energies = energies_by(model, store, rows)
        for low, high in pairwise(starts.tolist()):
            some, guesses = truth[low:high], energies[low:high]
            known = np.isfinite(guesses)
            rho, _ = within_composition_spearman(some[known], guesses[known], np.zeros(known.sum(), dtype=np.int64))
            found.append(
                {
                    "case": str(columns["formula"][rows[low]]),
                    "setting": model,
                    "crystals": int(known.sum()),
                    "lowest first": bool(known.any() and some[np.nanargmin(guesses)] == some.min()),
                    "Spearman": None if np.isnan(rho) else round(rho, 4),
                    "spread, eV/atom": round(float(np.std(some)), 5),
                }
            )
    return found


def main() -> None:
    """Print the figures of each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--oracle", nargs="*", default=["chgnet:r2scan"])
    parser.add_argument("--source", default="MP")
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.out:
        require_writable(chosen.out)
    store = Store.open(chosen.store)
    groups = polymorphs(store, chosen.source, chosen.max_atoms)
    if not groups:
        parser.error(f"{chosen.store} has no validation composition with {MIN_MEMBERS} crystals of {chosen.source}")
    rows = cases(store, groups, [SURROGATE, *chosen.oracle])
    spread = np.median([row["spread, eV/atom"] for row in rows])
    print(f"{len(groups)} compositions, {sum(map(len, groups))} crystals, spread {spread:.3f} eV/atom (median)")
    for model in [SURROGATE, *chosen.oracle]:
        some = [row for row in rows if row["setting"] == model]
        rho = np.mean([row["Spearman"] for row in some if row["Spearman"] is not None])
        print(f"{model:<14} Spearman {rho:.3f}, lowest first {sum(row['lowest first'] for row in some)}")
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=0) + "\n")


if __name__ == "__main__":
    main()
