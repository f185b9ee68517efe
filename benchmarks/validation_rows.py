"""Rows of benchmarks that predict validation ground states one after the other, kept as they are finished."""

import argparse
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states, sample
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the arguments that these benchmarks share; rows go to `out` by default."""
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--tell", type=Path, nargs="+", help="print what these files of rows contain")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of an earlier run."""
    if not path.is_file():
        return []
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines()]


def measure_all(
    asked: argparse.Namespace,
    measure: Callable[[Reference, Sequence[Reference], Predictor], Row | None],
    tell: Callable[[list[Row]], None],
) -> None:
    """Measure a random sample of ground states, except those that the output file already has.

    Args:
        measure: one composition, with all others; None if it cannot be measured.
        tell: prints what the rows show, after every tenth and at the end.
    """
    torch.set_num_threads(1)
    references = sample(ground_states(Store.open(asked.store), max_atoms=asked.max_atoms), asked.n, asked.seed)
    references = [references[i] for i in np.random.default_rng(asked.seed).permutation(len(references))]
    predictor = Predictor.load(spec=spec_for(Options(exclude_same=True, relax=True)), processes=1)
    rows = read_rows(asked.out)
    done = {row["name"] for row in rows}
    for reference in references:
        if reference.name in done or (row := measure(reference, references, predictor)) is None:
            continue
        rows.append(row)
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if len(rows) % 10 == 0:
            tell(rows)
    tell(rows)
