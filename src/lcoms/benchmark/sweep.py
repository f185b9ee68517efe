"""LCOMs with other settings, for Figure 4.

A surrogate is trained for each value of tau and of the adversary's steps; variants of the number of steps of the final
descent need none. All other settings are those of the shipped surrogate, unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from lcoms.benchmark.methods import Files
from lcoms.benchmark.protocol import BenchmarkConfig, Task
from lcoms.benchmark.rows import Row
from lcoms.benchmark.run import run_benchmark
from lcoms.core.config import with_overrides
from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.models.surrogate_file import save_surrogate
from lcoms.models.weights import SURROGATE_FILE, Weights, load_weights
from lcoms.train.latents import encode_rows, select_rows, surrogate_data
from lcoms.train.surrogate import train_surrogate
from lcoms.train.surrogate_data import SurrogateData
from lcoms.train.surrogate_figures import EpochRecord

FOLDER = "surrogates"
OnEpoch = Callable[[EpochRecord], None]


class Variant(NamedTuple):
    """One setting."""

    name: Literal["tau", "inner_steps", "steps"]
    value: float

    @property
    def label(self) -> str:
        """Suffix of the method's name in the rows."""
        return f" {self.name}={self.value:g}"

    @property
    def is_trained(self) -> bool:
        """Whether it needs a separate surrogate."""
        return self.name != "steps"


def run_sweep(
    variants: Sequence[Variant],
    store: Path,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    config: BenchmarkConfig,
    files: Files,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    processes: int = 1,
    on_epoch: Callable[[Variant, EpochRecord], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> int:
    """Train the surrogates missing in OUT/surrogates, then run LCOMs with each variant; finished work is not repeated.

    Args:
        store: crystals that the surrogates are trained on.
        tasks: of track paper.
        overrides: settings of all surrogates, key=value.

    Returns:
        Number of rows that already existed.

    Raises:
        DataError: the store has no training crystals.
        ConfigError: there are rows made with other settings.
        WeightsError: there is a partly trained surrogate with other settings.
    """
    told = {variant: _told(on_epoch, variant) for variant in variants if variant.is_trained}
    trained = _train(told, store, load_weights(files.weights), out / FOLDER, overrides)
    n_done = 0
    for variant in variants:
        n_done += run_benchmark(
            tasks,
            {"paper": ["lcoms"]},
            seeds,
            config if variant.is_trained else replace(config, steps=int(variant.value)),
            replace(files, surrogate=trained[variant]) if variant.is_trained else files,
            out,
            processes=processes,
            label=variant.label,
            on_row=on_row,
        )
    return n_done


def _train(
    told: Mapping[Variant, OnEpoch | None], store: Path, weights: Weights, out: Path, overrides: Sequence[str]
) -> dict[Variant, Path]:
    """Return surrogates trained on the latents of one CD-VAE, by variant; those finished earlier are reused.

    Args:
        told: each variant, with a function that is called after each of its epochs.
    """
    files = {variant: out / variant.label.strip() / SURROGATE_FILE for variant in told}
    missing = [variant for variant, path in files.items() if not path.exists()]
    data = _data(store, weights) if missing else None
    for variant in missing:
        assert data is not None
        config = with_overrides(weights.surrogate.config, [*overrides, f"{variant.name}={variant.value:g}"])
        module = train_surrogate(data, files[variant].parent, config=config, on_epoch=told[variant])
        save_surrogate(module.surrogate, files[variant], metadata={"variant": variant.label.strip()})
    return files


def _told(on_epoch: Callable[[Variant, EpochRecord], None] | None, variant: Variant) -> OnEpoch | None:
    return None if on_epoch is None else lambda record: on_epoch(variant, record)


def _data(path: Path, weights: Weights) -> SurrogateData:
    store = Store.open(path)
    rows = select_rows(store, max_atoms=weights.max_atoms)
    if not len(store.select(split="train")):
        raise DataError(f"{path} has no training crystals; ingest data with a split first.")
    return surrogate_data(store, rows, encode_rows(weights.cdvae, store, rows))
