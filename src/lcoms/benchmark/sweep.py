"""LCOMs with other values of tau and of the numbers of steps, for Figure 4.

A surrogate is trained for each value of tau and of the adversary's steps; variants of the number of steps of the final
descent need none. All other settings are those of the shipped surrogate, unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, NamedTuple

from lcoms.benchmark.methods import Files
from lcoms.benchmark.protocol import BenchmarkConfig, Task
from lcoms.benchmark.rows import Row
from lcoms.benchmark.run import run_benchmark
from lcoms.core.config import with_overrides
from lcoms.core.errors import ConfigError, DataError
from lcoms.core.identity import differences
from lcoms.data.store import Store
from lcoms.models.surrogate import SurrogateConfig
from lcoms.models.surrogate_file import load_surrogate, save_surrogate
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
        ConfigError: there are rows or surrogates made with other settings, data or weights.
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

    Raises:
        ConfigError: one of these was trained with other settings, data or weights.
    """
    files = {variant: out / variant.label.strip() / SURROGATE_FILE for variant in told}
    usual, data = weights.surrogate.config, None
    configs = {v: with_overrides(usual, [*overrides, f"{v.name}={v.value:g}"]) for v in told}
    source = {"store": Store.open(store).fingerprint, "weights": weights.digest} if told else {}
    for variant, path in files.items():
        if path.exists():
            _require_same(path, configs[variant], source)
            continue
        data = data or _data(store, weights)
        module = train_surrogate(data, path.parent, config=configs[variant], on_epoch=told[variant])
        save_surrogate(module.surrogate, path, metadata={"variant": variant.label.strip(), **source})
    return files


def _require_same(path: Path, config: SurrogateConfig, source: Mapping[str, str]) -> None:
    """Check that a trained surrogate has this configuration, data and weights.

    Raises:
        ConfigError: it has others, which it names.
    """
    made, metadata = load_surrogate(path)
    theirs = {**asdict(made.config), **{name: metadata.get(name, one) for name, one in source.items()}}
    if told := differences(theirs, {**asdict(config), **source}):
        raise ConfigError(f"{path} was trained otherwise ({'; '.join(told)}); choose another folder with --out.")


def _told(on_epoch: Callable[[Variant, EpochRecord], None] | None, variant: Variant) -> OnEpoch | None:
    return None if on_epoch is None else lambda record: on_epoch(variant, record)


def _data(path: Path, weights: Weights) -> SurrogateData:
    store = Store.open(path)
    rows = select_rows(store, max_atoms=weights.max_atoms)
    if not len(store.select(split="train")):
        raise DataError(f"{path} has no training crystals; ingest data with a split first.")
    return surrogate_data(store, rows, encode_rows(weights.cdvae, store, rows))
