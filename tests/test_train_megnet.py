"""MEGNet learns, resumes exactly, stops early with the best weights, and can be trained to be conservative."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models_megnet import SMALL, new_model
from tiny import made_crystals, to_arrays

from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.input_surrogate import InputConservatism
from lcoms.models.megnet import MEGNET_FILE, Megnet, MegnetConfig, formation_energies, load_megnet
from lcoms.models.surrogate_file import read_tensors
from lcoms.train import megnet as module
from lcoms.train.graphs import GraphTable, MegnetData, build_graphs
from lcoms.train.megnet import KIND, VERSION, MegnetTraining, ValidationRecord, train_megnet
from lcoms.train.trainer import CHECKPOINT_FILE

QUICK = MegnetTraining(
    epochs=3, learning_rate=1e-2, edges_per_batch=60, ema=0.5, checkpoint_minutes=0.0, log_every=1, seed=5
)
CONSERVATIVE = replace(QUICK, epochs=2, conservatism=InputConservatism(mode="on", tau=0.01))
METADATA = {"max_atoms": 5}


def data_of(n_val: int = 8) -> MegnetData:
    crystals = made_crystals()[:32]
    energies = [-2.0 + 0.5 * np.sin(1.7 * (i % 4)) + 0.1 * (i // 4) for i in range(32)]
    arrays = to_arrays(crystals, energies)
    is_val = torch.arange(32) >= 32 - n_val
    return MegnetData(build_graphs(arrays, SMALL), arrays, torch.arange(32) // 4, ~is_val, is_val)


def train(out: Path, config: MegnetTraining = QUICK, model: Megnet | None = None, **changes: object) -> Path:
    options = {"data": data_of(), "metadata": METADATA} | changes
    data = options.pop("data")
    smooth = config.conservatism.mode == "on"
    model = model or new_model(replace(SMALL, smooth=smooth))
    return train_megnet(model, data, config, out, progress=False, **options)  # type: ignore[arg-type]


def same(one: Path, two: Path) -> bool:
    first, second = load_megnet(one)[0].state_dict(), load_megnet(two)[0].state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("undisturbed"))


def stopping(action: Callable[[int], None]) -> MegnetData:
    """Return data that call `action` with the number of each batch before returning it."""
    data, calls = data_of(), 0
    take = GraphTable.take

    def counted(rows: torch.Tensor) -> object:
        nonlocal calls
        calls += 1
        action(calls)
        return take(data.graphs, rows)

    object.__setattr__(data.graphs, "take", counted)
    return data


def test_few_crystals_are_learned_by_heart(tmp_path: Path) -> None:
    crystals = [c for i, c in enumerate(made_crystals()[:16]) if i % 4 != 2]  # wurtzite is much like zinc blende
    energies = np.random.default_rng(0).normal(size=12)
    arrays, all_of_them = to_arrays(crystals, list(energies)), torch.ones(12, dtype=torch.bool)
    data = MegnetData(build_graphs(arrays, MegnetConfig()), arrays, torch.arange(12), all_of_them, ~all_of_them)
    config = replace(QUICK, epochs=250, edges_per_batch=400, ema=0.9, checkpoint_minutes=9.0, weight_decay=0.0)
    model = load_megnet(train(tmp_path, config, data=data, model=new_model(MegnetConfig())))[0]
    assert np.abs(formation_energies(model, crystals) - energies).mean() < 0.01


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("config", [QUICK, CONSERVATIVE], ids=["plain", "conservative"])
def test_an_interrupted_run_resumes_to_identical_weights(
    config: MegnetTraining, error: type[BaseException], tmp_path: Path
) -> None:
    undisturbed = train(tmp_path / "whole", config)
    steps_per_epoch = read_tensors(tmp_path / "whole" / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] // config.epochs
    assert steps_per_epoch >= 3

    def stop(call: int) -> None:
        if call == steps_per_epoch + 3:  # one of them was for validation
            raise error

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(error):
        train(tmp_path / "cut", config, data=stopping(stop))
    assert signal.getsignal(signal.SIGINT) == handler
    assert read_tensors(tmp_path / "cut" / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == steps_per_epoch + 1
    assert not (tmp_path / "cut" / MEGNET_FILE).exists()
    assert same(train(tmp_path / "cut", config), undisturbed)


def test_training_repeats_with_the_seed_and_a_finished_run_is_left_alone(undisturbed: Path, tmp_path: Path) -> None:
    assert same(train(tmp_path / "again"), undisturbed)
    assert not same(train(tmp_path / "other", replace(QUICK, seed=6)), undisturbed)
    (tmp_path / "again" / MEGNET_FILE).unlink()
    records: list[ValidationRecord] = []
    assert same(train(tmp_path / "again", on_validation=records.append), undisturbed)
    assert records == []


def test_the_figure_in_the_file_is_the_error_of_the_weights_in_it(undisturbed: Path) -> None:
    model, metadata = load_megnet(undisturbed)
    data = data_of()
    crystals = [crystal for crystal, val in zip(made_crystals(), data.is_val, strict=False) if val]
    errors = formation_energies(model, crystals) - data.crystals.formation_energy[data.is_val.numpy()]
    assert metadata["val_mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-5)
    assert metadata["max_atoms"] == METADATA["max_atoms"]


def test_training_stops_early_with_the_best_weights(tmp_path: Path) -> None:
    records: list[ValidationRecord] = []
    config = replace(QUICK, epochs=40, patience=3, schedule="constant", loss="mse", learning_rate=0.03)
    weights = train(tmp_path, config, on_validation=records.append)
    best = min(range(len(records)), key=lambda i: records[i].val_mae)
    assert len(records) == best + 4 < 40
    assert load_megnet(weights)[1]["val_mae"] == pytest.approx(records[best].val_mae)
    weights.unlink()
    more: list[ValidationRecord] = []
    assert load_megnet(train(tmp_path, config, on_validation=more.append))[1]["val_mae"] == records[best].val_mae
    assert more == []


def test_conservative_training_keeps_the_adversary_from_low_energies(tmp_path: Path) -> None:
    adversary = InputConservatism(mode="on", inner_steps=3, step_size=0.5, tau=0.001, initial_alpha=3.0)
    over = {}
    for name, conservatism in {"weak": replace(adversary, initial_alpha=1e-6), "strong": adversary}.items():
        records: list[ValidationRecord] = []
        config = replace(QUICK, epochs=15, edges_per_batch=200, conservatism=conservatism)
        train(tmp_path / name, config, on_validation=records.append)
        over[name] = np.mean([record.overestimation for record in records[-5:]])
    assert over["strong"] < 0.3 * over["weak"]


def test_steps_that_are_not_finite_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = data_of(0)
    data.graphs.distance[data.graphs.edge_offsets[7]] = torch.nan
    model = load_megnet(train(tmp_path, replace(QUICK, epochs=1), data=data))[0]
    assert all(t.isfinite().all() for t in model.state_dict().values())
    assert "1 steps were skipped" in caplog.text


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    train(tmp_path, replace(QUICK, epochs=1))
    with pytest.raises(WeightsError, match="another train"):
        train(tmp_path, replace(QUICK, epochs=2))
    with pytest.raises(WeightsError, match="another metadata"):
        train(tmp_path, replace(QUICK, epochs=1), metadata=METADATA | {"max_atoms": 9})
    with pytest.raises(WeightsError, match="another config"):
        train(tmp_path, replace(QUICK, epochs=1), model=new_model(replace(SMALL, hidden=17)))


def test_learning_rate_rises_and_falls_or_stays() -> None:
    config = MegnetTraining(warmup=0.1)
    rates = [config.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.01
    assert {replace(config, schedule="constant").rate(step, 100) for step in range(100)} == {1.0}


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    wrong = {"epochs": 0, "log_every": 0, "learning_rate": 0.0, "clip": 0.0, "patience": -1, "warmup": -1.0, "ema": 1.0}
    for option, value in wrong.items():
        with pytest.raises(ConfigError, match=f"training option {option} must"):
            replace(QUICK, **{option: value})
    with pytest.raises(ConfigError, match="smooth=true"):
        train(tmp_path, CONSERVATIVE, model=new_model(SMALL))
    with pytest.raises(ConfigError, match="patience needs crystals"):
        train(tmp_path, replace(QUICK, patience=1), data=data_of(0))
    assert module.MEGNET_FILE not in {path.name for path in tmp_path.iterdir()}
