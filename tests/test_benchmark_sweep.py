"""Surrogates for Figure 4: each variant is trained once with its own setting and run under its own method name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_benchmark_run import CONFIG, TASKS
from tiny import ENERGIES, make_store, prototypes

from lcoms.benchmark.methods import Files
from lcoms.benchmark.rows import read_rows
from lcoms.benchmark.sweep import FOLDER, Variant, run_sweep
from lcoms.core.errors import ConfigError
from lcoms.models.surrogate_file import load_surrogate
from lcoms.models.weights import SURROGATE_FILE

TRAINED = Variant("tau", 0.5)
SHORT = Variant("steps", 1)
FEW = ["epochs=1", "batch_size=4"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "store"
    crystals = list(prototypes().values())
    make_store(path, crystals, energies=list(ENERGIES.values()), hull=[0.0] * 5, splits=["train"] * 4 + ["val"])
    return path


def test_variants_are_trained_once_and_run(store: Path, tiny_weights: Path, tmp_path: Path) -> None:
    told = []

    def sweep() -> int:
        return run_sweep(
            [TRAINED, SHORT], store, TASKS[:1], [0], CONFIG, Files(tiny_weights), tmp_path,
            overrides=FEW, on_epoch=lambda variant, _: told.append(variant),
        )  # fmt: skip

    assert sweep() == 0
    trained = tmp_path / FOLDER / "tau=0.5" / SURROGATE_FILE
    surrogate = load_surrogate(trained)[0]
    assert surrogate.config.tau == 0.5
    assert surrogate.config == replace(
        load_surrogate(tiny_weights / SURROGATE_FILE)[0].config, tau=0.5, epochs=1, batch_size=4
    )
    short, other = sorted(read_rows([tmp_path]), key=lambda row: len(row.descent))
    assert (short.method, len(short.descent)) == ("lcoms steps=1", 2)
    assert (other.method, len(other.descent)) == ("lcoms tau=0.5", CONFIG.steps + 1)
    assert other.settings["weights"] != short.settings["weights"]
    assert other.start == short.start
    before, n_told = trained.read_bytes(), len(told)
    assert set(told) == {TRAINED}
    assert sweep() == 2
    assert (trained.read_bytes(), len(told)) == (before, n_told)


def test_surrogates_of_other_settings_or_data_are_not_reused(store: Path, tiny_weights: Path, tmp_path: Path) -> None:
    def sweep(data: Path, *overrides: str) -> int:
        return run_sweep(
            [TRAINED], data, TASKS[:1], [0], CONFIG, Files(tiny_weights), tmp_path, overrides=[*FEW, *overrides]
        )

    assert sweep(store) == 0
    with pytest.raises(ConfigError, match=r"was trained otherwise \(epochs is 1 there, 2 here\)"):
        sweep(store, "epochs=2")
    other = tmp_path / "other"
    make_store(
        other, list(prototypes().values())[:3], energies=[-2.0, -1.9, -1.0], hull=[0.0] * 3, splits=["train"] * 3
    )
    with pytest.raises(ConfigError, match=r"was trained otherwise \(store is .* there, .* here\)"):
        sweep(other)
