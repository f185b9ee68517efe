"""Annealed Langevin dynamics with a perfect denoiser recovers the crystal, and the noise has its exact magnitude."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from symmetry_cases import as_batch, some_crystals
from torch import Tensor

from lcoms.core.errors import ConfigError
from lcoms.models.langevin import LangevinConfig, anneal, noise_levels
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.neighbors import minimum_image

SHORT = LangevinConfig(n_levels=10, steps_per_level=3)


def off_by(batch: CrystalBatch, clean: CrystalBatch) -> Tensor:
    """Return the shortest vectors from the atoms to their clean sites, angstrom."""
    return minimum_image(clean.frac_coords - batch.frac_coords, batch.lattice[batch.crystal_idx])


def random_start(clean: CrystalBatch, seed: int) -> CrystalBatch:
    generator = torch.Generator().manual_seed(seed)
    return clean.replace(frac_coords=torch.rand(clean.frac_coords.shape, dtype=torch.float64, generator=generator))


def test_levels_are_geometric() -> None:
    levels = noise_levels(LangevinConfig())
    assert len(levels) == 50
    assert levels[0].item() == pytest.approx(10.0)
    assert levels[-1].item() == pytest.approx(0.01)
    assert torch.allclose(levels[1:] / levels[:-1], levels[1:2] / levels[:1])


def test_perfect_denoiser_recovers_the_crystals() -> None:
    clean = as_batch(some_crystals())
    batch, finite = anneal(
        random_start(clean, 0),
        lambda noisy, sigma: off_by(noisy, clean) / sigma,
        SHORT,
        torch.Generator().manual_seed(1),
    )
    assert finite.all()
    assert off_by(batch, clean).norm(dim=1).max() < 1e-6
    assert 0 <= batch.frac_coords.min() <= batch.frac_coords.max() < 1
    assert torch.equal(batch.lattice, clean.lattice)


@pytest.mark.parametrize("step_size", [1.0, 0.5])
def test_noise_in_the_chain_has_its_stationary_size(step_size: float) -> None:
    """x - x0 <- (1 - r)(x - x0) + sqrt(2 r) sigma N has the variance sigma^2 / (1 - r / 2)."""
    clean = as_batch(some_crystals() * 20)
    seen: list[float] = []

    def denoiser(noisy: CrystalBatch, sigma: float) -> Tensor:
        distance = off_by(noisy, clean)
        if sigma < 0.03:
            seen.append(distance.square().mean().item() / sigma**2)
        return distance / sigma

    config = LangevinConfig(sigma_max=1.0, sigma_min=0.02, n_levels=2, steps_per_level=40, step_size=step_size)
    anneal(clean, denoiser, config, torch.Generator().manual_seed(0))
    settled = torch.tensor(seen[25:]).mean().item()
    assert settled == pytest.approx(1 / (1 - step_size / 2), rel=0.05)


def test_last_step_adds_no_noise_and_calls_are_counted() -> None:
    clean = as_batch(some_crystals())
    calls: list[float] = []

    def denoiser(noisy: CrystalBatch, sigma: float) -> Tensor:
        calls.append(sigma)
        return off_by(noisy, clean) / sigma

    anneal(clean, denoiser, SHORT, torch.Generator())
    assert len(calls) == 10 * 3 + 1
    assert calls[-1] == calls[-2] == min(calls)


def test_a_sampler_takes_ten_steps_at_each_of_fifty_levels_unless_asked_otherwise() -> None:
    calls: list[float] = []

    def denoiser(noisy: CrystalBatch, sigma: float) -> Tensor:
        calls.append(sigma)
        return torch.zeros_like(noisy.frac_coords)

    anneal(as_batch(some_crystals()), denoiser, LangevinConfig(), torch.Generator())
    assert len(calls) == 50 * 10 + 1
    assert set(Counter(calls[:-1]).values()) == {10}


def test_seed_decides() -> None:
    clean = as_batch(some_crystals())
    results = [
        anneal(clean, lambda noisy, _: torch.zeros_like(noisy.frac_coords), SHORT, torch.Generator().manual_seed(seed))[
            0
        ]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0].frac_coords, results[1].frac_coords)
    assert not torch.allclose(results[0].frac_coords, results[2].frac_coords)


def test_one_broken_crystal_does_not_end_the_batch() -> None:
    clean = as_batch(some_crystals())

    def denoiser(noisy: CrystalBatch, sigma: float) -> Tensor:
        answer = off_by(noisy, clean) / sigma
        answer[0] = torch.nan if sigma < 0.1 else answer[0]
        return answer

    batch, finite = anneal(random_start(clean, 2), denoiser, SHORT, torch.Generator().manual_seed(1))
    assert finite.tolist() == [False, True, True, True, True]
    assert batch.frac_coords.isfinite().all()
    assert off_by(batch, clean)[2:].norm(dim=1).max() < 1e-6


def test_bad_options_are_refused() -> None:
    for changes in ({"sigma_min": 20.0}, {"n_levels": 1}, {"steps_per_level": 0}, {"step_size": 2.5}):
        with pytest.raises(ConfigError):
            dataclasses.replace(SHORT, **changes)
