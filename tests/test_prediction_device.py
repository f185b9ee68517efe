"""Networks on another device than the CPU: all inputs are moved there, and the results back."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from far_device import NAME, far_device
from tiny import wurtzite

import lcoms
from lcoms.cli.main import run
from lcoms.core.errors import ConfigError
from lcoms.models.fast import FastCDVAE
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.overlap import training_overlap
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.structure.crystal import Composition, Crystal


@pytest.fixture
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable half precision, which PyTorch does not support on "meta"."""
    monkeypatch.setattr(FastCDVAE, "_autocast", lambda *_: nullcontext())
    monkeypatch.setattr("lcoms.prediction.bundle.has_bfloat16", lambda _: False)


def bundle_without_half_precision(folder: Path) -> WeightBundle:
    bundle = WeightBundle.load(folder)
    bundle.cdvae.mixed = False
    return bundle


def assert_same(found: DecodedSet, wanted: DecodedSet) -> None:
    assert len(found.crystals) == len(wanted.crystals) > 0
    for one, other in zip(found.crystals, wanted.crystals, strict=True):
        np.testing.assert_allclose(one.crystal.frac_coords, other.crystal.frac_coords, atol=1e-5)
        np.testing.assert_allclose(one.crystal.lattice, other.crystal.lattice, atol=1e-5)
        assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("symmetry", [True, False])
@pytest.mark.parametrize("given", [None, wurtzite()])
@pytest.mark.usefixtures("_exact")
def test_a_search_on_another_device_finds_the_same(symmetry: bool, given: Crystal | None, tiny_weights: Path) -> None:
    spec = spec_for(Options(relax=False, starts=4, steps=2, symmetry=symmetry))
    near = Predictor(bundle_without_half_precision(tiny_weights), spec, processes=1)
    composition = Composition.from_formula("NaCl")
    wanted = near.decode(composition, structure=given)
    with far_device() as device:
        bundle = near.bundle.on(torch.device(NAME))
        assert bundle.device.type == NAME
        before = device.n_operations
        found = near.with_bundle(bundle).decode(composition, structure=given)
        assert device.n_operations > before + 100
        overlap = training_overlap(composition, [one.crystal for one in found.crystals], bundle)
    assert_same(found, wanted)
    assert (
        overlap.typical == training_overlap(composition, [one.crystal for one in found.crystals], near.bundle).typical
    )


def test_the_same_device_needs_no_copies(tiny_weights: Path) -> None:
    bundle = WeightBundle.load(tiny_weights)
    assert bundle.on(torch.device("cpu")) is bundle
    assert Predictor.load(tiny_weights, spec=spec_for(Options(relax=False)), device="cpu").bundle is bundle


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "there is no device 'gpu'; choose auto, cpu or cuda."),
        ("cuda:0", "there is no device 'cuda:0'; choose auto, cpu or cuda."),
        ("cuda", "PyTorch finds no NVIDIA GPU; choose the device cpu, or install the build for CUDA."),
    ],
)
def test_a_device_that_is_not_there_is_told_before_any_work(
    device: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = Options(relax=False)
    for ask in (
        lambda: lcoms.predict("NaCl", relax=False, device=device, weights=tmp_path),
        lambda: lcoms.predict_all(["NaCl"], options, device=device, weights=tmp_path),
        lambda: Predictor.load(tmp_path, spec=spec_for(options), device=device),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value) == said
    assert run(["predict", "NaCl", "--no-relax", "--device", device, "--out", str(tmp_path / "out")]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_auto_takes_the_cpu_where_there_is_no_gpu(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = {"relax": False, "weights": tiny_weights, "starts": 3, "steps": 0}
    texts = [lcoms.predict("NaCl", device=device, **options).files()["results.json"] for device in ("cpu", "auto")]  # type: ignore[arg-type]
    assert texts[0] == texts[1]
