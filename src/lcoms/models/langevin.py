"""Noise levels and annealed Langevin dynamics of atoms with any denoiser (Song & Ermon 2019; CDVAE).

The denoiser returns s = (clean - noisy) / sigma in Cartesian coordinates; the score is s / sigma. One step at level
sigma, with r the step size, is x <- x + r sigma s + sqrt(2 r) sigma N(0, I). CDVAE writes r sigma^2 as
step_lr (sigma / sigma_min)^2, which is r = 1 with its constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lcoms.core.errors import ConfigError
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.neighbors import row_products

Denoiser = Callable[[CrystalBatch, float], Tensor]


@dataclass(frozen=True)
class LangevinConfig:
    """Levels and steps of the sampler.

    Attributes:
        sigma_max: first and largest noise, angstrom.
        sigma_min: last and smallest noise, angstrom.
        n_levels: number of levels, spaced geometrically.
        steps_per_level: denoiser calls at each level; CDVAE uses 100.
        step_size: r in units of sigma squared.
    """

    sigma_max: float = 10.0
    sigma_min: float = 0.01
    n_levels: int = 50
    steps_per_level: int = 10
    step_size: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max or self.n_levels < 2 or self.steps_per_level < 1:
            raise ConfigError("sampling needs 0 < sigma_min < sigma_max, two levels or more and one step per level.")
        if not 0 < self.step_size < 2:
            raise ConfigError(f"the Langevin step size must lie between 0 and 2, not {self.step_size}.")


def noise_levels(config: LangevinConfig) -> Float[Tensor, " n_levels"]:
    """Return the standard deviations in angstrom, largest first."""
    log_max, log_min = math.log(config.sigma_max), math.log(config.sigma_min)
    return torch.linspace(log_max, log_min, config.n_levels, dtype=torch.float64).exp().float()


@torch.no_grad()
def anneal(
    batch: CrystalBatch, denoiser: Denoiser, config: LangevinConfig, generator: torch.Generator
) -> tuple[CrystalBatch, Bool[Tensor, " n_crystals"]]:
    """Anneal the atoms of a batch from noise to structure at fixed lattices. The last step adds no noise.

    Args:
        batch: crystals whose coordinates are the start.
        denoiser: called with the crystals and sigma in angstrom, returns s (n_atoms, 3).
        config: levels and steps.
        generator: source of the noise.

    Returns:
        The crystals, wrapped into their cells, and which of them had finite scores throughout. Where scores are not
        finite they are taken as zero.
    """
    inverse = torch.linalg.inv(batch.lattice)[batch.crystal_idx]
    finite = torch.ones(batch.n_crystals, dtype=torch.bool, device=batch.lattice.device)
    sigmas = noise_levels(config).tolist()
    for sigma in sigmas:
        for _ in range(config.steps_per_level):
            step, finite = _answer(denoiser, batch, sigma, finite)
            noise = torch.randn(step.shape, generator=generator, device=generator.device, dtype=step.dtype)
            step = config.step_size * sigma * step + math.sqrt(2.0 * config.step_size) * sigma * noise.to(step.device)
            batch = _moved(batch, step, inverse)
    step, finite = _answer(denoiser, batch, sigmas[-1], finite)
    return _moved(batch, sigmas[-1] * step, inverse), finite


def _answer(denoiser: Denoiser, batch: CrystalBatch, sigma: float, finite: Tensor) -> tuple[Tensor, Tensor]:
    """Return the denoiser's output, zero for crystals where it is not finite, and which crystals were finite so far."""
    answer = denoiser(batch, sigma)
    broken = torch.bincount(batch.crystal_idx[~answer.isfinite().all(dim=1)], minlength=batch.n_crystals) > 0
    return torch.where(broken[batch.crystal_idx, None], 0.0, answer), finite & ~broken


def _moved(batch: CrystalBatch, step: Tensor, inverse: Tensor) -> CrystalBatch:
    """Move atoms by Cartesian steps and wrap them."""
    return batch.replace(frac_coords=(batch.frac_coords + row_products(step, inverse)) % 1.0)
