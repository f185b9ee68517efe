"""Are known structures among the first exact templates, and among decoded crystals? By size of the cell.

    lcoms data ingest FILES --keep-split --out STORE
    python benchmarks/templates.py STORE --out rows.jsonl
    python benchmarks/templates.py STORE -n 20 --decode --out rows.jsonl

The structures are ground states of validation compositions. Nothing is relaxed: templates are given the new elements
and ordered by prototype probability, decoded crystals are in the surrogate's order. Crystals of the same composition
are excluded. A structure is found if it matches strictly and has the same space group. Rows that are already in the
file are not made again; `lcoms benchmark keep` stores them.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lcoms.core.errors import LcomsError
from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states, sample
from lcoms.evaluate.statistics import Share
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import same_space_group, space_group_number
from lcoms.templates.placing import TemplateChoice, choose_templates, substitute

SIZES = ((2, 20), (21, 40), (41, 80))
WITHIN = (1, 5, 10, 20)
Row = dict[str, Any]


def place_of(reference: Reference, found: Sequence[tuple[int, Crystal]]) -> int | None:
    """Return the rank of the first crystal, given with its space group, that is the known one; None if none is."""
    group = space_group_number(reference.crystal)
    for place, (number, crystal) in enumerate(found, 1):
        if same_space_group(number, group) and matches(crystal, reference.crystal, STRICT):
            return place
    return None


def by_templates(reference: Reference, weights: WeightBundle, n: int) -> tuple[int | None, float]:
    """Return the rank of the known crystal among n exact templates, and the seconds taken."""
    assert weights.templates is not None
    clock = time.perf_counter()
    choice = TemplateChoice(n=n, exclude_same=True)
    chosen = choose_templates(reference.composition, weights.templates, weights.library.similarity, choice)
    volumes = weights.templates.element_volumes
    made = [(t.template.sites.space_group, substitute(reference.composition, t.template, volumes)) for t in chosen]
    seconds = time.perf_counter() - clock
    return place_of(reference, made), round(seconds, 3)


def by_decoding(reference: Reference, predictor: Predictor) -> tuple[int | None, float]:
    """Return the rank of the known crystal among decoded ones, and the seconds taken."""
    clock = time.perf_counter()
    try:
        candidates = predictor.predict(reference.composition).candidates
    except LcomsError:
        candidates = ()
    seconds = time.perf_counter() - clock
    return place_of(reference, [(c.space_group, c.crystal) for c in candidates]), round(seconds, 2)


def row_of(reference: Reference, setting: str, found: tuple[int | None, float]) -> Row:
    """Return the row of one case."""
    place, seconds = found
    within = {f"among {k}": place is not None and place <= k for k in WITHIN}
    return {"case": reference.name, "setting": setting, **within, "seconds": seconds}


def tell(rows: Sequence[Row], setting: str) -> None:
    """Print the results of one setting."""
    shares = [f"among {k} {Share(sum(row[f'among {k}'] for row in rows), len(rows))}" for k in WITHIN]
    print(f"{setting}: {', '.join(shares)} of {len(rows)}; {median(row['seconds'] for row in rows):.2f} s")


def main() -> None:
    """Search for each structure, store the rows, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-n", type=int, help="a random sample of so many of each size; all without it")
    parser.add_argument("--sample-seed", type=int, default=0)
    parser.add_argument("--decode", action="store_true", help="also decode, up to the largest cell of the library")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store, weights = Store.open(asked.store), WeightBundle.load()
    networks = replace(weights, templates=None)
    predictor = Predictor(networks, spec_for(Options(relax=False, exclude_same=True, n_candidates=max(WITHIN))))
    kept = {}
    if asked.out.exists():
        kept = {(row["case"], row["setting"]): row for row in map(json.loads, asked.out.read_text().splitlines())}
    with asked.out.open("a") as file:
        for low, high in SIZES:
            ways = {"templates": lambda one: by_templates(one, weights, max(WITHIN))}
            if asked.decode and high <= weights.largest_cell:
                ways["decoded"] = lambda one: by_decoding(one, predictor)
            references = sample(ground_states(store, min_atoms=low, max_atoms=high), asked.n, asked.sample_seed)
            for way, find in ways.items():
                setting, rows = f"{way}, {low} to {high} atoms", []
                for one in references:
                    if (row := kept.get((one.name, setting))) is None:
                        row = row_of(one, setting, find(one))
                        file.write(json.dumps(row) + "\n")
                        file.flush()
                    rows.append(row)
                tell(rows, setting)


if __name__ == "__main__":
    main()
