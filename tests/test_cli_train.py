"""`lcoms train`: from a store to weights for predictions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from tiny import caesium_chloride, made_crystals, make_store, rock_salt, tiny_cdvae

from lcoms.baselines.input_space import descend_crystals
from lcoms.cli.main import run
from lcoms.data.store import Store
from lcoms.models.megnet import MEGNET_FILE, formation_energies, load_megnet
from lcoms.models.weights import (
    CDVAE_FILE,
    LIBRARY_FILE,
    ORBITS_FILE,
    SURROGATE_FILE,
    TEMPLATES_FILE,
    load_cdvae,
    load_weights,
    save_cdvae,
)
from lcoms.prediction.bundle import WeightBundle
from lcoms.structure.io import from_ase
from lcoms.templates.exact import load_templates
from lcoms.train.latents import encode_rows, select_rows

NETWORK = [
    "latent_dim=8", "channels=16", "filters=4", "vectors=4", "encoder_layers=1", "decoder_layers=1", "condition=16",
    "steps=3", "samples=1",
]  # fmt: skip
PAPER = [
    "latent_dim=8", "condition=8", "head=16", "encoder.hidden=16", "encoder.n_blocks=1", "decoder.atom=16",
    "decoder.edge=16", "decoder.n_blocks=1", "decoder.n_radial=16", "decoder.n_neighbors=6",
    "decoder.quadruplet_sizes.n_neighbors=3",
]  # fmt: skip
TRAINING = ["steps=3", "warmup=1", "atoms_per_batch=64", "batches_per_step=1", "log_every=1"]
SURROGATE = ["hidden=16", "epochs=2", "precision=float32"]


def options(name: str, settings: list[str]) -> list[str]:
    return [text for setting in settings for text in (name, setting)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "store"
    crystals = made_crystals()
    splits = ["val" if i >= 60 else "train" for i in range(64)]
    energies = [-1.0 - 0.01 * i for i in range(64)]
    make_store(path, crystals, energies=energies, hull=[0.0] * 64, splits=splits)
    return path


def train(store: Path, out: Path, *more: str) -> int:
    network = options("--model", NETWORK)
    return run(["train", "cdvae", str(store), "--out", str(out), *network, *options("--set", TRAINING), *more])


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "weights"
    assert train(store, out) == 0
    return out


def test_training_leaves_weights_config_logs_and_a_checkpoint(trained: Path, store: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert (config["preset"], config["model"]["channels"], config["train"]["steps"]) == ("fast", 16, 3)
    assert {path.name for path in trained.iterdir()} == {
        "config.json", CDVAE_FILE, "digest.json", "checkpoint.safetensors", "logs", "tensorboard"
    }  # fmt: skip
    metadata = load_cdvae(trained / CDVAE_FILE)[1]
    assert metadata["n_crystals"] == 59  # one of the made ones is too dense to be plausible
    assert metadata["max_atoms"] == 20
    assert set(metadata["elements"]) >= {8, 11, 17, 22, 38}
    assert metadata["steps"] == 3
    assert store.exists()


def test_a_run_is_taken_up_again_but_not_with_other_options(
    trained: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "config.json").read_text()
    assert train(store, trained) == 0
    assert "Next: lcoms train surrogate" in capsys.readouterr().out
    assert train(store, trained, "--set", "clip=0.5") == 2
    complaint = capsys.readouterr().err
    assert "was written by a run with another train" in complaint.splitlines()[-1]
    assert (trained / "config.json").read_text() == before


def test_the_paper_preset_trains_with_quadruplets_on_request(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "cdvae", str(store), "--out", str(tmp_path / "out"), "--preset", "paper"]
    training = options("--set", [*TRAINING, "steps=1"])
    assert run([*arguments, *training, *options("--model", PAPER), "--model", "decoder.quadruplets=true"]) == 0
    model = load_cdvae(tmp_path / "out" / CDVAE_FILE)[0]
    assert model.config.decoder.quadruplets
    assert model.config.decoder.quadruplet_sizes.n_neighbors == 3
    assert sum(p.numel() for p in model.denoiser.blocks[0].quadruplets.parameters()) > 0
    capsys.readouterr()


def test_weights_can_be_trained_further(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(store, tmp_path / "more", "--start-from", str(trained / CDVAE_FILE), "--threads", "1") == 0
    first, second = load_cdvae(trained / CDVAE_FILE)[0], load_cdvae(tmp_path / "more" / CDVAE_FILE)[0]
    assert first.config == second.config
    before, after = (load_cdvae(folder / CDVAE_FILE)[1] for folder in (trained, tmp_path / "more"))
    assert after["earlier"] == [{n: value for n, value in before.items() if n != "elements"} | {"model": {}}]
    assert after["earlier"][0]["steps"] == 3
    assert "earlier" not in before
    again = ("--start-from", str(tmp_path / "more" / CDVAE_FILE))
    assert train(store, tmp_path / "again", *again) == 0
    assert len(load_cdvae(tmp_path / "again" / CDVAE_FILE)[1]["earlier"]) == 2
    assert (first.embed.weight != second.embed.weight).any()
    assert (first.lattice_transform.mean == second.lattice_transform.mean).all()
    capsys.readouterr()
    other = ("--start-from", str(trained / CDVAE_FILE), "--model", "channels=24")
    assert train(store, tmp_path / "other", *other) == 2
    assert "--model changes the layers of the network that --start-from trains further" in capsys.readouterr().err
    other = ("--start-from", str(trained / CDVAE_FILE), "--preset", "paper")
    assert train(store, tmp_path / "other", *other) == 2
    assert "--preset has no effect with --start-from, whose network is trained further" in capsys.readouterr().err


def test_loss_weights_change_in_further_training(trained: Path, store: Path, tmp_path: Path) -> None:
    other = ("--start-from", str(trained / CDVAE_FILE), "--model", "energy_weight=5")
    assert train(store, tmp_path / "more", *other) == 0
    first, second = load_cdvae(trained / CDVAE_FILE)[0], load_cdvae(tmp_path / "more" / CDVAE_FILE)[0]
    assert replace(first.config, energy_weight=5.0) == second.config
    (earlier,) = load_cdvae(tmp_path / "more" / CDVAE_FILE)[1]["earlier"]
    assert earlier["model"] == {"energy_weight": first.config.energy_weight}
    assert (first.lattice_transform.mean == second.lattice_transform.mean).all()


def test_energies_of_further_crystals_are_learned(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "further", [caesium_chloride(3.4, (11, 17))], energies=[-1.9], hull=[0.0], splits=["train"])
    further = ("--further", str(tmp_path / "further"))
    assert train(store, tmp_path / "refused", *further) == 2
    assert "only energies are learned from further crystals; set energy_atoms" in capsys.readouterr().err
    paper = ["train", "cdvae", str(store), "--preset", "paper", "--out", str(tmp_path / "refused")]
    assert run([*paper, "--set", "energy_atoms=64"]) == 2
    assert "energy_atoms is for the fast preset" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
    assert train(store, tmp_path / "out", *further, "--set", "energy_atoms=64") == 0
    assert "left out" not in capsys.readouterr().out
    data = Store.open(store)
    held_back = int(np.flatnonzero(data.columns("split")["split"] == "val")[0])
    large = from_ase(bulk("LiF", "rocksalt", a=4.03) * (3, 2, 2))
    crystals = [
        caesium_chloride(3.4, (11, 17)),
        data[held_back],
        large,
        large,
        caesium_chloride(3.5, (11, 17)),
        rock_salt(),
    ]
    energies, splits = [-1.9, -1.9, -2.0, -2.0, float("nan"), -2.1], [*["train"] * 5, "val"]
    mixed = make_store(tmp_path / "mixed", crystals, energies=energies, hull=[0.0] * 6, splits=splits)
    assert train(store, tmp_path / "held", "--further", str(mixed.path), "--set", "energy_atoms=64") == 0
    told = capsys.readouterr().out
    assert f"{mixed.path}: 1 crystal left out (held back for validation by {store})." in told
    assert f"{mixed.path}: 2 crystals left out (over 20 atoms)." in told
    assert f"{mixed.path}: 1 crystal left out (not in its training split)." in told
    assert "\n1 crystal without a formation energy left out of the energy batches." in told
    surrogate = ["train", "surrogate", str(store), "--cdvae", str(tmp_path / "held" / CDVAE_FILE)]
    surrogate += ["--out", str(tmp_path / "held"), *options("--set", SURROGATE)]
    assert run([*surrogate, "--further", str(mixed.path)]) == 0
    told = capsys.readouterr().out
    assert f"{mixed.path}: 2 crystals left out (over 20 atoms).\n4 crystals of {mixed.path}\n" in told
    metadata = load_cdvae(tmp_path / "out" / CDVAE_FILE)[1]
    assert metadata["further"] == [Store.open(tmp_path / "further").fingerprint]
    assert metadata["n_crystals"] == 59


def test_a_store_without_crystals_of_the_size_is_refused(
    store: Path, tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(store, tmp_path / "none", "--max-atoms", "1") == 2
    assert "has no training crystals of up to 1 atoms; raise --max-atoms" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    command = ["train", "decoys", str(store), "--out", str(tmp_path / "decoys.parquet"), "--oracle", "analytic"]
    assert run([*command, "--weights", str(tiny_weights), "--max-atoms", "1"]) == 2
    assert "has no crystals of up to 1 atoms with formation energies" in capsys.readouterr().err


def test_a_formula_is_predicted_from_weights_trained_here(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights"
    arguments = ["--cdvae", str(trained / CDVAE_FILE), "--out", str(out), *options("--set", SURROGATE)]
    assert run(["train", "surrogate", str(store), *arguments]) == 0
    output = capsys.readouterr().out
    assert "Encoding 63 crystals" in output
    assert "epoch   2" in output
    assert output.splitlines()[-1] == f"Next: lcoms predict NaCl --weights {out}"
    assert {CDVAE_FILE, SURROGATE_FILE, LIBRARY_FILE} <= {path.name for path in out.iterdir()}
    templates = load_templates(out)
    assert templates is not None
    assert f"Templates of every size: {len(templates)} crystals" in output
    assert len(templates) == 59
    weights = load_weights(out)
    assert weights.max_atoms == 20
    quick = ["--starts", "3", "--steps", "2", "--out", str(tmp_path / "results")]
    assert run(["predict", "NaCl", "--weights", str(out), *quick]) == 0
    assert (tmp_path / "results" / "NaCl" / "rank-01.cif").exists()


def test_conservatism_can_be_switched_off(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cdvae", str(trained / CDVAE_FILE), "--out", str(tmp_path), *options("--set", SURROGATE)]
    assert run(["train", "surrogate", str(store), *arguments, "--conservatism", "off"]) == 0
    assert (tmp_path / "surrogate-off").is_dir()
    assert load_weights(tmp_path).surrogate.config.conservatism == "off"
    capsys.readouterr()


def test_the_library_of_other_weights_is_copied_if_their_autoencoder_is_the_same(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, other = tmp_path / "first", tmp_path / "second", tmp_path / "other.safetensors"
    arguments = ["--cdvae", str(trained / CDVAE_FILE), *options("--set", SURROGATE)]
    assert run(["train", "surrogate", str(store), *arguments, "--out", str(first)]) == 0
    further = ["--library-from", str(first), "--conservatism", "off", "--out", str(second)]
    capsys.readouterr()
    assert run(["train", "surrogate", str(store), *arguments, *further]) == 0
    said = capsys.readouterr().out
    assert "symmetries" not in said
    assert "from another store" not in said
    for name in (LIBRARY_FILE, ORBITS_FILE, TEMPLATES_FILE):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert load_weights(second).surrogate.config.conservatism == "off"
    other.write_bytes((first / LIBRARY_FILE).read_bytes())
    assert run(["train", "surrogate", str(store), "--cdvae", str(other), *further]) == 2
    assert f"was made with another CD-VAE than {other}" in capsys.readouterr().err
    assert run(["train", "surrogate", str(store), *arguments, "--library-from", str(trained), "--out", "x"]) == 2
    assert f"there is no {LIBRARY_FILE} in {trained}" in capsys.readouterr().err
    (second / CDVAE_FILE).write_bytes(b"of another run")
    assert run(["train", "surrogate", str(store), *arguments, "--out", str(second)]) == 2
    assert f"{second / CDVAE_FILE} exists and differs from" in capsys.readouterr().err
    assert (second / CDVAE_FILE).read_bytes() == b"of another run"


def test_larger_cells_teach_the_surrogate_but_do_not_enter_the_library(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cdvae", str(trained / CDVAE_FILE), "--out", str(tmp_path), *options("--set", SURROGATE)]
    assert run(["train", "surrogate", str(store), *arguments, "--max-atoms", "2", "--larger", "8"]) == 0
    output = capsys.readouterr().out
    assert run(["train", "surrogate", str(store), *arguments, "--max-atoms", "8", "--larger", "8"]) == 2
    assert "--larger must exceed --max-atoms" in capsys.readouterr().err
    data = Store.open(store)
    assert f"{(data.n_atoms > 2).sum()} larger crystals of up to 8 atoms" in output
    weights = load_weights(tmp_path)
    assert WeightBundle.load(tmp_path).library.n_atoms.max() <= 2
    every = select_rows(data, max_atoms=8, split="train")
    latents = encode_rows(load_cdvae(trained / CDVAE_FILE)[0], data, every)
    torch.testing.assert_close(weights.surrogate.latent_mean, latents.mean(dim=0))


MEGNET = ["n_gaussians=20", "embedding=8", "n_blocks=2", "hidden=16", "width=8", "units=4"]
MEGNET_TRAINING = ["epochs=2", "edges_per_batch=200", "log_every=1"]


def test_a_graph_network_is_trained_and_taken_up_again(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["train", "megnet", str(store), "--out", str(out), "--threads", "1", *options("--model", MEGNET)]
    assert run([*arguments, *options("--set", MEGNET_TRAINING)]) == 0
    output = capsys.readouterr().out
    assert "59 training crystals of up to 20 atoms, 4 for validation." in output
    assert "epoch   2  MAE" in output
    model, metadata = load_megnet(out / MEGNET_FILE)
    assert (model.config.hidden, model.config.smooth, metadata["n_crystals"]) == (16, False, 59)
    assert metadata["val_mae"] > 0
    assert np.isfinite(formation_energies(model, made_crystals()[:3])).all()
    (out / MEGNET_FILE).unlink()
    assert run([*arguments, *options("--set", MEGNET_TRAINING)]) == 0
    assert "epoch" not in capsys.readouterr().out
    assert load_megnet(out / MEGNET_FILE)[1] == metadata
    assert run([*arguments, *options("--set", [*MEGNET_TRAINING, "epochs=3"])]) == 2
    assert "was written by a run with another train" in capsys.readouterr().err.splitlines()[-1]


def test_a_conservative_graph_network_can_be_descended(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "megnet", str(store), "--out", str(tmp_path), *options("--model", MEGNET)]
    training = options("--set", [*MEGNET_TRAINING, "epochs=1", "conservatism.tau=0.2"])
    assert run([*arguments, *training, "--conservatism", "on"]) == 0
    assert re.search(r"alpha 0\.(09|10)", capsys.readouterr().out)
    model, metadata = load_megnet(tmp_path / MEGNET_FILE)
    assert metadata["train"]["conservatism"]["tau"] == 0.2
    assert np.isfinite(descend_crystals(model, made_crystals()[:3], steps=2).energies).all()


def test_what_cannot_be_trained_is_said_in_a_sentence(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    cases = {
        ("cdvae", str(tmp_path), "--out", out): "is not a store of crystals",
        ("cdvae", str(store), "--out", out, "--preset", "slow"): "there is no preset 'slow'",
        ("cdvae", str(store), "--out", out, "--model", "chanels=3"): "did you mean channels",
        ("cdvae", str(store), "--out", out, "--set", "steps=0"): "steps must be at least 1",
        ("cdvae", str(store), "--out", out, "--set", "steps"): "is not a setting",
        ("cdvae", str(store), "--out", out, "--max-atoms", "1"): "has no training crystals of up to 1 atoms",
        ("surrogate", str(store), "--out", out, "--cdvae", str(tmp_path / "no")): "there is no file",
        ("megnet", str(store), "--out", out, "--conservatism", "maybe"): "maybe",
        ("megnet", str(store), "--out", out, "--set", "epochs=0"): "epochs must be at least 1",
        ("megnet", str(store), "--out", out, "--model", "hiden=3"): "did you mean hidden",
    }
    for arguments, sentence in cases.items():
        assert run(["train", *arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert sentence in lines[0]


def test_a_store_without_training_crystals_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crystals = made_crystals()[:2]
    make_store(tmp_path / "store", crystals, energies=[0.0] * 2, hull=[0.0] * 2, splits=["val"] * 2)
    save_cdvae(tiny_cdvae(), tmp_path / CDVAE_FILE, metadata={})
    assert train(tmp_path / "store", tmp_path / "out") == 2
    assert "has no training crystals" in capsys.readouterr().err


def test_a_surrogate_without_energies_is_refused_before_any_work(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals, nothing = made_crystals()[:4], [float("nan")] * 4
    store = tmp_path / "store"
    make_store(store, crystals, energies=nothing, hull=nothing, splits=["train"] * 4)
    options = ["--cdvae", str(trained / CDVAE_FILE), "--out", str(tmp_path / "w")]
    assert run(["train", "surrogate", str(store), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"lcoms: {store} has no crystals of up to 20 atoms with formation energies")
    assert train(store, tmp_path / "cdvae") == 0
    said = capsys.readouterr().out
    assert "train surrogate" not in said
    assert "the surrogate needs formation energies, which the store lacks" in said


@pytest.mark.slow
def test_a_training_leaves_pieces_and_goes_on_from_them(trained: Path, store: Path, tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "scripts" / "train_cdvae"
    out, settings = tmp_path / "out", options("--set", [*TRAINING, "steps=5"])
    arguments = [str(script), str(store), str(trained / CDVAE_FILE), str(out), "--device", "cpu", *settings]
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    pieces = sorted(out.glob("checkpoint.safetensors.part-*"))
    assert pieces
    assert not (out / "checkpoint.safetensors").exists()
    assert all(piece.stat().st_size <= 16_000_000 for piece in pieces)
    before = (out / CDVAE_FILE).read_bytes()
    (out / CDVAE_FILE).unlink()
    again = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True)
    assert "5/5" not in again.stderr
    assert (out / CDVAE_FILE).read_bytes() == before


def test_the_device_is_checked_before_anything_is_done(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(store, tmp_path / "out", "--device", "cuda") == 2
    assert "PyTorch finds no NVIDIA GPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
