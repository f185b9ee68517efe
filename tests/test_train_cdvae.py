"""Training resumes exactly after any interruption, skips non-finite batches, and writes no pickles."""

from __future__ import annotations

import csv
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    TINY,
    cadmium_iodide,
    caesium_chloride,
    fluorite,
    made_crystals,
    perovskite,
    rock_salt,
    to_arrays,
    wurtzite,
    zinc_blende,
)
from torch import Tensor

from lcoms.core.errors import ConfigError, DataError, WeightsError
from lcoms.data.store import CrystalArrays
from lcoms.evaluate.reconstruction import reconstruct
from lcoms.models.fast import FastCDVAE
from lcoms.models.fast_config import FastConfig
from lcoms.models.surrogate_file import read_tensors, write_tensors
from lcoms.models.weights import CDVAE_FILE, load_cdvae
from lcoms.nn.geometry import DensityBasis
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.matching import STRICT, matches
from lcoms.train import cdvae as module
from lcoms.train.cdvae import KIND, VERSION, TrainConfig, train_cdvae
from lcoms.train.fitting import SafeCheckpoint
from lcoms.train.trainer import CHECKPOINT_FILE

SMALL = replace(TINY, channels=16, filters=4, vectors=4, encoder_layers=1, decoder_layers=1, condition=16)
QUICK = TrainConfig(
    steps=8, warmup=2, learning_rate=0.01, ema=0.5, atoms_per_batch=12, checkpoint_minutes=0.0, log_every=1, seed=5
)
METADATA = {"elements": [8, 9, 11, 17], "max_atoms": 5}


def crystals() -> CrystalArrays:
    some = [rock_salt(), rock_salt(5.2), zinc_blende(), fluorite(), cadmium_iodide(), wurtzite(), perovskite()]
    return to_arrays(some, [-2.0, -1.8, -1.0, -3.0, -1.5, -1.2, float("nan")])


def new_model(seed: int = 0) -> FastCDVAE:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FastCDVAE(SMALL)


def train(out: Path, config: TrainConfig = QUICK, model: FastCDVAE | None = None, **changes: object) -> Path:
    options = {"metadata": METADATA, "progress": False} | changes
    return train_cdvae(model or new_model(), crystals(), config, out, **options)


def tensors(path: Path) -> dict[str, Tensor]:
    return load_cdvae(path)[0].state_dict()


def same(one: Path, two: Path) -> bool:
    first, second = tensors(one), tensors(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("undisturbed"))


def model_that(action: Callable[[int], None]) -> FastCDVAE:
    """Return a model that calls `action` with the number of each batch before it computes the losses."""
    model, calls = new_model(), 0
    losses = model.losses

    def counted(batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        action(calls)
        return losses(batch, generator)

    model.losses = counted  # type: ignore[method-assign]
    return model


def test_training_moves_the_weights_and_repeats_with_the_seed(undisturbed: Path, tmp_path: Path) -> None:
    start, trained = new_model().state_dict(), tensors(undisturbed)
    moved = [name for name in start if "layers" in name and not torch.equal(start[name], trained[name])]
    assert len(moved) > 20
    assert same(train(tmp_path / "again"), undisturbed)
    assert not same(train(tmp_path / "other", replace(QUICK, seed=6)), undisturbed)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_resumes_to_identical_weights(
    error: type[BaseException], undisturbed: Path, tmp_path: Path
) -> None:
    def stop(call: int) -> None:
        if call == 10:  # the second batch of the fifth step
            raise error

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(error):
        train(tmp_path, model=model_that(stop))
    assert signal.getsignal(signal.SIGINT) == handler
    assert not (tmp_path / CDVAE_FILE).exists()
    assert read_tensors(tmp_path / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 4
    calls = []
    weights = train(tmp_path, model=model_that(calls.append))
    assert len(calls) == 2 * (QUICK.steps - 4)
    assert same(weights, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_its_step_and_keeps_it(number: signal.Signals, undisturbed: Path, tmp_path: Path) -> None:
    config = replace(QUICK, checkpoint_minutes=60.0)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, config, model=model_that(lambda call: signal.raise_signal(number) if call == 9 else None))
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (tmp_path / CDVAE_FILE).exists()
    assert read_tensors(tmp_path / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 5
    assert same(train(tmp_path, config), undisturbed)


def test_a_second_signal_stops_a_run_within_its_step(tmp_path: Path) -> None:
    calls: list[int] = []

    def stop(call: int) -> None:
        calls.append(call)
        if call in (9, 10):  # the two batches of the fifth step
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, replace(QUICK, checkpoint_minutes=60.0), model=model_that(stop))
    assert calls[-1] == 10
    assert not (tmp_path / CHECKPOINT_FILE).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
import test_train_cdvae as here
from lcoms.core import disk

written, replace = 0, os.replace

def dies_in_the_fourth_checkpoint(part, path):
    global written
    written += 1
    if written == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(part, path)

disk.os.replace = dies_in_the_fourth_checkpoint
here.train(Path({out!r}))
"""


def test_a_killed_process_resumes_to_identical_weights(undisturbed: Path, tmp_path: Path) -> None:
    """It is killed while writing a checkpoint, which leaves a partial file next to the last complete one."""
    program = KILLED.format(tests=str(Path(__file__).parent), out=str(tmp_path))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert list(tmp_path.glob(f".{CHECKPOINT_FILE}.*.part"))
    assert read_tensors(tmp_path / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 3
    assert same(train(tmp_path), undisturbed)


def test_a_run_with_fewer_steps_than_between_log_lines_gives_no_warning(tmp_path: Path) -> None:
    assert train(tmp_path, replace(QUICK, steps=2, log_every=50)).is_file()


def test_a_finished_run_is_not_trained_further(undisturbed: Path, tmp_path: Path) -> None:
    weights = train(tmp_path)
    weights.unlink()
    calls: list[int] = []
    assert same(train(tmp_path, model=model_that(calls.append)), undisturbed)
    assert calls == []


def test_a_run_can_be_lengthened(tmp_path: Path) -> None:
    train(tmp_path, replace(QUICK, steps=1))
    calls: list[int] = []
    train(tmp_path, replace(QUICK, steps=3), model=model_that(calls.append))
    assert read_tensors(tmp_path / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 3
    assert calls


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    train(tmp_path, replace(QUICK, steps=1))
    with pytest.raises(WeightsError, match="another train"):
        train(tmp_path, replace(QUICK, steps=1, clip=1.0))
    with pytest.raises(WeightsError, match="another metadata"):
        train(tmp_path, replace(QUICK, steps=1), metadata=METADATA | {"max_atoms": 9})
    with pytest.raises(WeightsError, match="another config"):
        train(tmp_path, replace(QUICK, steps=1), model=FastCDVAE(replace(SMALL, kl_weight=0.1)))
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        train(tmp_path)


def test_a_checkpoint_older_than_an_option_counts_as_having_its_default(tmp_path: Path) -> None:
    weights, old = train(tmp_path / "new", replace(QUICK, steps=1)), tmp_path / "old"
    state, header = read_tensors(weights.parent / CHECKPOINT_FILE, KIND, VERSION)
    del header["config"]["churn"]
    old.mkdir()
    write_tensors(old / CHECKPOINT_FILE, state, header)
    with pytest.raises(WeightsError, match="another config"):
        train(old, replace(QUICK, steps=1), model=FastCDVAE(replace(SMALL, churn=0.123)))
    assert same(train(old, replace(QUICK, steps=1)), weights)


def rows_of(out: Path) -> list[dict[str, str]]:
    (file,) = out.glob("logs/version_*/metrics.csv")
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_steps_that_are_not_finite_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, Tensor]] = []
    save = SafeCheckpoint.save

    def remember(self: SafeCheckpoint, training: module.CDVAEModule) -> None:
        states.append({name: t.clone() for name, t in training.tensors().items()})
        save(self, training)

    monkeypatch.setattr(SafeCheckpoint, "save", remember)
    model = new_model()
    losses, calls = model.losses, 0

    def sometimes_infinite(batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        found = losses(batch, generator)
        return found | {"loss": found["loss"] * (float("nan") if calls == 7 else 1.0)}

    model.losses = sometimes_infinite  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, logger="lcoms"):
        weights = train(tmp_path, replace(QUICK, steps=6), model=model)
    assert "1 steps were skipped" in caplog.text
    assert load_cdvae(weights)[1]["skipped"] == 1
    assert all(torch.isfinite(t).all() for t in tensors(weights).values())
    assert [float(row["skipped"]) for row in rows_of(tmp_path)] == [0, 0, 0, 1, 1, 1]
    changed = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in itertools.pairwise(states)]
    assert changed[:5] == [True, True, False, True, True]


def test_a_crystal_that_is_not_finite_spoils_only_its_steps(tmp_path: Path) -> None:
    data = crystals()
    data.frac_coords[-1] = np.nan  # the last atom of the perovskite
    weights = train_cdvae(new_model(), data, QUICK, tmp_path, metadata=METADATA, progress=False)
    skipped = load_cdvae(weights)[1]["skipped"]
    assert 0 < skipped < QUICK.steps
    assert all(torch.isfinite(t).all() for t in tensors(weights).values())


def test_files_are_safe_and_say_what_they_are(undisturbed: Path) -> None:
    out = undisturbed.parent
    files = [path for path in out.rglob("*") if path.is_file()]
    kinds = {"events" if ".tfevents." in path.name else path.suffix for path in files}
    assert kinds == {".safetensors", ".csv", ".json", ".yaml", "events"}
    for path in files:
        head = path.read_bytes()[:4]
        assert not head.startswith((b"\x80", b"PK")), path  # pickle, and torch.save's archives
    model, metadata = load_cdvae(undisturbed)
    assert model.config == SMALL
    assert metadata["elements"] == METADATA["elements"]
    assert metadata["steps"] == QUICK.steps
    assert metadata["train"]["learning_rate"] == QUICK.learning_rate


def test_all_losses_are_logged(undisturbed: Path) -> None:
    rows = rows_of(undisturbed.parent)
    assert len(rows) == QUICK.steps
    for name in ("loss", "coord", "lattice", "kl", "energy"):
        values = [float(row[name]) for row in rows]
        assert np.isfinite(values).all()
        assert max(values) > 0


def test_weights_are_an_average(tmp_path: Path) -> None:
    for ema, equal in ((0.0, True), (0.9, False)):
        out = tmp_path / str(ema)
        average = tensors(train(out, replace(QUICK, ema=ema)))
        stored, _ = read_tensors(out / CHECKPOINT_FILE, KIND, VERSION)
        last = {name.removeprefix("model."): t for name, t in stored.items() if name.startswith("model.")}
        assert all(torch.equal(average[name], last[name]) for name in last) == equal


def test_trained_weights_keep_their_scales_where_asked_to(tmp_path: Path) -> None:
    model = new_model()
    model.energy_std.fill_(7.0)
    assert tensors(train(tmp_path / "kept", model=model, fit_statistics=False))["energy_std"] == 7
    assert tensors(train(tmp_path / "fitted", model=model))["energy_std"] < 2


def test_learning_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(steps=100, warmup=10, decay=0.3)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:71] == [1.0] * 62
    assert rates[85] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 30)


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for option in ("steps", "log_every", "devices", "atoms_per_batch", "batches_per_step"):
        with pytest.raises(ConfigError, match=f"{option} must be at least 1"):
            replace(QUICK, **{option: 0})
    with pytest.raises(ConfigError, match="multiple of devices"):
        replace(QUICK, batches_per_step=3, devices=2)
    for option in ("seed", "warmup", "decay", "weight_decay", "checkpoint_minutes"):
        below = type(getattr(QUICK, option))(-1)
        with pytest.raises(ConfigError, match=f"{option} must be zero or positive"):
            replace(QUICK, **{option: below})
    for option in ("learning_rate", "clip"):
        with pytest.raises(ConfigError, match=f"{option} must be positive"):
            replace(QUICK, **{option: 0.0})
    with pytest.raises(ConfigError, match=r"ema must lie in \[0, 1\), not 1.0"):
        replace(QUICK, ema=1.0)
    with pytest.raises(DataError, match="too few batches for 2 processes"):
        train_cdvae(new_model(), to_arrays([rock_salt()]), replace(QUICK, devices=2), tmp_path, metadata=METADATA)


def test_energies_are_also_learned_from_whole_compositions_and_further_crystals(tmp_path: Path) -> None:
    """The run resumes exactly; further crystals change the weights; without energy batches they are refused."""
    config = replace(QUICK, steps=4, energy_atoms=16)
    further = (to_arrays([caesium_chloride(3.4, (11, 17))], [-1.9]),)
    seen: list[list[float]] = []

    def remembering() -> FastCDVAE:
        model = new_model()
        losses = model.losses_of_energies

        def remember(batch: CrystalBatch) -> dict[str, Tensor]:
            assert batch.formation_energy is not None
            seen.append(batch.formation_energy.tolist())
            return losses(batch)

        model.losses_of_energies = remember  # type: ignore[method-assign]
        return model

    weights = train(tmp_path / "all", config, remembering(), further=further)
    assert len(seen) == config.steps * config.batches_per_step
    assert any(pytest.approx(-1.9) == energy for batch in seen for energy in batch)
    assert not any(np.isnan(energy) for batch in seen for energy in batch)
    assert not same(train(tmp_path / "none", replace(QUICK, steps=4)), weights)
    assert not same(train(tmp_path / "own", config), weights)
    with pytest.raises(KeyboardInterrupt):
        train(
            tmp_path / "stopped",
            config,
            model_that(lambda call: signal.raise_signal(signal.SIGINT) if call == 3 else None),
            further=further,
        )
    assert read_tensors(tmp_path / "stopped" / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 2
    assert same(train(tmp_path / "stopped", config, further=further), weights)
    with pytest.raises(ConfigError, match="only energies are learned from further crystals; set energy_atoms"):
        train(tmp_path / "refused", further=further)


def test_every_batch_of_every_step_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    def seeds(out: Path) -> list[int]:
        seen: list[int] = []
        model = new_model()
        losses = model.losses

        def remembering(batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
            seen.append(generator.initial_seed())
            return losses(batch, generator)

        model.losses = remembering  # type: ignore[method-assign]
        train(out, model=model)
        return seen

    first = seeds(tmp_path / "first")
    assert len(first) == len(set(first)) == 2 * QUICK.steps
    assert seeds(tmp_path / "second") == first


def test_random_numbers_follow_from_seed_step_and_batch() -> None:
    def first(*numbers: int) -> int:
        return module._generator(*numbers).initial_seed()

    assert first(0, 1, 2) == first(0, 1, 2) == int(np.random.SeedSequence([0, 1, 2]).generate_state(1, np.uint64)[0])
    assert len({first(*numbers) for numbers in ((0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3), (0, 2, 1))}) == 5


OVERFIT = FastConfig(
    latent_dim=16, channels=64, filters=16, vectors=16, encoder_layers=2, decoder_layers=2, condition=64,
    kl_weight=1e-4, basis=DensityBasis(cutoff=6.0, n_scalar=16, n_vector=12, n_tensor=6, n_coarse=4),
)  # fmt: skip


@pytest.mark.slow
def test_overfit_gives_crystals_back_and_the_latent_decides_between_polymorphs(tmp_path: Path) -> None:
    known = made_crystals()
    config = TrainConfig(
        steps=800, warmup=30, decay=0.4, learning_rate=3e-3, ema=0.98, batches_per_step=4, checkpoint_minutes=9.0
    )
    torch.manual_seed(0)
    weights = train_cdvae(FastCDVAE(OVERFIT), to_arrays(known), config, tmp_path, metadata=METADATA, progress=False)
    model = load_cdvae(weights)[0]
    result = reconstruct(model, known, torch.Generator().manual_seed(0), k=1)
    assert (~np.isnan(result.rmsds[:, 0])).mean() >= 0.95
    assert np.nanmean(result.rmsds) < 0.05
    mu, _ = model.encode(CrystalBatch.from_crystals(known))
    swapped = torch.arange(48) ^ 1  # the other polymorph of the same composition and size
    decoded = model.decode(mu[swapped], [c.composition for c in known[:48]], torch.Generator().manual_seed(1))
    pairs = [(guess, i) for i, guess in enumerate(decoded) if guess is not None]
    own = np.mean([matches(guess, known[i], STRICT) for guess, i in pairs])
    other = np.mean([matches(guess, known[i ^ 1], STRICT) for guess, i in pairs])
    assert own < 0.1
    assert other > 0.8


TWO_PROCESSES = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import test_train_cdvae as here
def number(call):  # of the process, in its second step
    if call == 4:
        Path({out!r}, str(os.getpid())).touch()

config = replace(here.QUICK, devices=2, batches_per_step=4, **{changes!r})
here.train(Path({out!r}), config, model=here.model_that(number))
"""


def two_processes(folder: Path, **changes: object) -> list[str]:
    """Return the command that trains in `folder` with two processes; each makes a file with its number as the name."""
    program = folder / "program.py"
    program.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent), out=str(folder), changes=changes))
    return [sys.executable, str(program)]


def exists(group: int) -> bool:
    """Return whether a process of the group has not ended."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="takes GPUs where there are any")
def test_two_processes_take_up_the_run_of_one(tmp_path: Path) -> None:
    """They give the same weights except for rounding."""
    options = {"steps": 3, "energy_atoms": 16, "ema": 0.0}
    config = replace(QUICK, batches_per_step=4, **options)
    alone = tensors(train(tmp_path / "alone", config))
    both = tmp_path / "both"
    with pytest.raises(KeyboardInterrupt):
        train(both, config, model_that(lambda call: signal.raise_signal(signal.SIGINT) if call == 5 else None))
    assert read_tensors(both / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 2
    subprocess.run(two_processes(both, **options), check=True, capture_output=True)
    assert read_tensors(both / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] == 3
    start, moved = new_model().state_dict(), tensors(both / CDVAE_FILE)
    for name, value in alone.items():
        torch.testing.assert_close(moved[name], value, atol=1e-4, rtol=1e-3, msg=name)
    assert max((alone[name] - start[name]).abs().max() for name in alone) > 0.02


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="takes GPUs where there are any")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_processes_stop_together(number: signal.Signals, tmp_path: Path) -> None:
    """All processes get the signal, as from a terminal or a batch system."""
    command = two_processes(tmp_path, steps=100_000, checkpoint_minutes=60.0)
    with (tmp_path / "errors").open("w") as errors:
        run = subprocess.Popen(command, stderr=errors, start_new_session=True)
    try:
        until = time.monotonic() + 300
        while len(numbers := [int(file.name) for file in tmp_path.iterdir() if file.name.isdigit()]) < 2:
            assert time.monotonic() < until
            time.sleep(0.2)
        os.killpg(run.pid, number)
        run.wait(timeout=120)
        while exists(run.pid):
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert len(numbers) == 2
    assert "rank1" not in (tmp_path / "errors").read_text()
    assert read_tensors(tmp_path / CHECKPOINT_FILE, KIND, VERSION)[1]["step"] >= 2


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="takes GPUs where there are any")
def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    """Each process gets every other batch of a step; gradients are summed, so only the order of sums differs."""
    result = subprocess.run(two_processes(tmp_path), capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    one = tensors(train(tmp_path / "one", replace(QUICK, batches_per_step=4)))
    two, start = tensors(tmp_path / CDVAE_FILE), new_model().state_dict()
    learned = [name for name, _ in new_model().named_parameters()]

    def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
        return float(sum((a[name] - b[name]).square().sum() for name in learned)) ** 0.5

    # Muon works in half precision, so rounding shows; other batches or random numbers would lead elsewhere.
    assert distance(one, two) < 0.1 * distance(one, start)
    assert all(torch.equal(one[name], two[name]) for name in ("lattice_transform.mean", "energy_std"))
