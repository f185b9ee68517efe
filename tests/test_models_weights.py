"""Weights are read back as they were saved, and files that do not fit are rejected in a sentence."""

from __future__ import annotations

import json
import resource
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import QUICK
from tiny import TINY, prototypes, tiny_cdvae

import lcoms
from lcoms.cli.main import run
from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.fast import FastCDVAE
from lcoms.models.manifest import MANIFEST, checked_digest, read_manifest, record_files
from lcoms.models.paper import PaperCDVAE
from lcoms.models.surrogate_file import read_tensors, write_tensors
from lcoms.models.weights import (
    CDVAE_FILE,
    KIND,
    LIBRARY_FILE,
    SURROGATE_FILE,
    VERSION,
    load_cdvae,
    load_weights,
    new_cdvae,
    preset_of,
    save_cdvae,
)
from lcoms.structure.batch import CrystalBatch

KINDS = {CDVAE_FILE: (KIND, VERSION), SURROGATE_FILE: ("lcoms-surrogate", 2), LIBRARY_FILE: ("lcoms-latent-library", 5)}
FACTS = {"elements": [8, 22, 38], "max_atoms": 12}


def test_a_saved_model_encodes_as_before(tmp_path: Path) -> None:
    model, batch = tiny_cdvae(), CrystalBatch.from_crystals(list(prototypes().values()))
    save_cdvae(model, tmp_path / "a.safetensors", metadata=FACTS)
    loaded, metadata = load_cdvae(tmp_path / "a.safetensors")
    assert metadata == FACTS
    assert isinstance(loaded, FastCDVAE)
    assert loaded.config == TINY
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.mixed = False
    torch.testing.assert_close(loaded.encode(batch), model.encode(batch), atol=0, rtol=0)
    assert loaded.energy_mean == model.energy_mean != 0


def test_half_precision_keeps_the_scales_in_full(tmp_path: Path) -> None:
    model = tiny_cdvae()
    for dtype in (torch.float32, torch.float16):
        save_cdvae(model, tmp_path / f"{dtype}.safetensors", metadata=FACTS, dtype=dtype)
    whole, half = (tmp_path / f"{dtype}.safetensors" for dtype in (torch.float32, torch.float16))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded, _ = load_cdvae(half)
    state, exact = loaded.state_dict(), model.state_dict()
    assert all(t.dtype == torch.float32 for t in state.values())
    parameters = {name for name, _ in model.named_parameters()}
    for name, value in exact.items():
        torch.testing.assert_close(state[name], value, atol=1e-3, rtol=1e-3)
        assert torch.equal(state[name], value) or name in parameters


def test_presets() -> None:
    assert preset_of(new_cdvae("fast", TINY)) == "fast"
    assert new_cdvae("fast", TINY).config == TINY
    assert preset_of(PaperCDVAE.__new__(PaperCDVAE)) == "paper"
    with pytest.raises(ConfigError, match=r"no preset 'slow'; choose one of fast, paper"):
        new_cdvae("slow")


def damaged(path: Path, source: Path, **changes: object) -> Path:
    tensors, header = read_tensors(source, KIND, VERSION)
    write_tensors(path, tensors, header | changes)
    return path


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_cdvae(tiny_cdvae(), path, metadata=FACTS)
    with pytest.raises(WeightsError, match="there is no file"):
        load_cdvae(tmp_path / "none.safetensors")
    other.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_cdvae(other)
    _, header = read_tensors(path, KIND, VERSION)
    for changes in (
        {"preset": "slow"},
        {"config": header["config"] | {"channels": 48}},
        {"config": header["config"] | {"unknown": 1}},
    ):
        with pytest.raises(WeightsError, match="does not fit this version"):
            load_cdvae(damaged(other, path, **changes))
    with pytest.raises(WeightsError, match="reads version 1"):
        load_cdvae(damaged(other, path, version=2))
    with pytest.raises(WeightsError, match="not a lcoms-cdvae file but lcoms-surrogate"):
        load_cdvae(damaged(other, path, kind="lcoms-surrogate"))


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 30_000}, {"latent_dim": 10**6}, {"channels": 10**9}, {"latent_dim": 10**200}, {"filters": 2**63},
        {"encoder_layers": 10**8}, {"condition": -1},
    ],
    ids=str,
)  # fmt: skip
def test_headers_that_ask_for_a_huge_network_are_refused_at_once(changes: dict[str, int], tmp_path: Path) -> None:
    save_cdvae(tiny_cdvae(), tmp_path / "a.safetensors", metadata=FACTS)
    _, header = read_tensors(tmp_path / "a.safetensors", KIND, VERSION)
    path = damaged(tmp_path / "b.safetensors", tmp_path / "a.safetensors", config=header["config"] | changes)
    before, clock = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(WeightsError, match="does not fit this version"):
        load_cdvae(path)
    assert time.process_time() - clock < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_headers_are_json(tmp_path: Path) -> None:
    save_cdvae(new_cdvae("fast", replace(TINY, latent_dim=4)), tmp_path / "a.safetensors", metadata=FACTS)
    _, header = read_tensors(tmp_path / "a.safetensors", KIND, VERSION)
    assert json.loads(json.dumps(header))["config"]["latent_dim"] == 4
    assert header["preset"] == "fast"


def test_a_folder_holds_all_that_prediction_needs(tiny_weights: Path, tmp_path: Path) -> None:
    weights = load_weights(tiny_weights)
    assert weights.elements == {8, 11, 16, 17, 22, 30, 38, 55}
    assert weights.max_atoms == 12
    assert weights.folder == tiny_weights
    assert len(weights.digest) == 16
    assert weights.surrogate.latent_dim == weights.cdvae.latent_dim == 8
    assert load_weights(tiny_weights) is weights
    copy = tmp_path / "copy"
    shutil.copytree(tiny_weights, copy)
    assert load_weights(copy).digest == weights.digest


@pytest.mark.parametrize("name", [CDVAE_FILE, SURROGATE_FILE, LIBRARY_FILE])
def test_a_missing_or_other_file_of_a_folder_shows(name: str, tiny_weights: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_weights, tmp_path / "less")
    (tmp_path / "less" / name).unlink()
    with pytest.raises(WeightsError, match=f"there is no file .*{name}"):
        load_weights(tmp_path / "less")
    shutil.copytree(tiny_weights, tmp_path / "other")
    changed = tmp_path / "other" / name
    tensors, header = read_tensors(changed, *KINDS[name])
    write_tensors(changed, tensors, header | {"metadata": header["metadata"] | {"note": "another"}})
    assert load_weights(tmp_path / "other").digest != load_weights(tiny_weights).digest


SHIPPED = Path(lcoms.__file__).parent / "weights"
ABOUT = {"MODEL_CARD.md", "cdvae.json", "surrogate.json"}  # for people: nothing is read from them
SHIPPED_FILES = sorted(path.name for path in SHIPPED.iterdir() if path.name not in ABOUT)


def test_the_shipped_weights_are_all_noted() -> None:
    assert read_manifest(SHIPPED).keys() == {*SHIPPED_FILES} - {MANIFEST}


@pytest.mark.parametrize("name", SHIPPED_FILES)
def test_one_flipped_bit_in_any_shipped_file_is_told(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in SHIPPED_FILES:
        (tmp_path / file).symlink_to(SHIPPED / file)
    content = bytearray((SHIPPED / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    code = run(["predict", "NaCl", "--no-relax", *QUICK, "--weights", str(tmp_path), "--out", str(out)])
    complaints = capsys.readouterr().err.splitlines()
    assert (code, len(complaints)) == (2, 1)
    assert name in complaints[0] or MANIFEST in complaints[0]
    assert not out.exists()


def test_the_manifest_goes_with_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "b.json").write_text("2")
    record_files(tmp_path, ["a.json", "b.json"])
    digest = checked_digest(tmp_path, ["a.json"])
    (tmp_path / "b.json").write_text("3")
    with pytest.raises(WeightsError, match=r"b\.json is damaged or has changed since it was written"):
        checked_digest(tmp_path, ["a.json"])
    record_files(tmp_path, ["b.json"])
    assert checked_digest(tmp_path, ["a.json"]) != digest
    (tmp_path / "b.json").unlink()
    with pytest.raises(WeightsError, match="there is no file"):
        checked_digest(tmp_path, ["a.json"])
    for damaged in ("", "[]", '{"lcoms_weights": 1}', '{"lcoms_weights": 1, "sha256": {"../b.json": "0"}}'):
        (tmp_path / MANIFEST).write_text(damaged)
        with pytest.raises(WeightsError, match=MANIFEST):
            checked_digest(tmp_path, ["a.json"])


def test_the_calibration_is_part_of_the_digest(tiny_weights: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_weights, tmp_path / "w")
    before = load_weights(tmp_path / "w").digest
    (tmp_path / "w" / "calibration.json").write_text("{}")
    assert load_weights(tmp_path / "w").digest != before
