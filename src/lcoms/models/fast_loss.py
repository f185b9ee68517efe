"""Training losses of the fast preset: of the denoiser, on noisy atoms in strained cells, and of the energy head.

The target of an atom is its displacement to the nearest equivalent of the clean crystal, divided by
s(sigma) = sigma / sqrt(1 + (sigma / cap)^2), the typical size of such displacements in a crystal. This is denoising
score matching (Song & Ermon 2019; CD-VAE, Xie et al. 2022, eq. 8) with a target that stays bounded.

Polymorphs differ by far less than compositions do. In a loss of energies alone, the error of a composition's mean
outweighs that of its differences, so these have a loss of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lcoms.models.assignment import assigned_displacements
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_layers import STRAIN_SCALE
from lcoms.models.schedule import random_strains

STRAIN_SEEN = 0.6  # angstrom of noise
LINEAR_ABOVE = 0.02  # error above which the loss of energies is linear, in standard deviations of the training energies
DIFFERENCES_LINEAR_ABOVE = 0.005
Denoise = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps latents, coordinates, lattices, atomic numbers and noise levels to displacements and strains."""


def noisy_positions(
    frac_coords: Float[Tensor, "b n 3"], lattice: Float[Tensor, "b 3 3"], largest: float, generator: torch.Generator
) -> Float[Tensor, "b n 3"]:
    """Return positions with Gaussian noise, for each crystal of a standard deviation between zero and `largest`."""
    noise = torch.randn(frac_coords.shape, generator=generator) * torch.rand((len(lattice), 1, 1), generator=generator)
    return frac_coords + (largest * noise).to(lattice.device) @ torch.linalg.inv(lattice)


def denoising_losses(
    denoise: Denoise,
    c: FastConfig,
    z: Float[Tensor, "b latent"],
    frac_coords: Float[Tensor, "b n 3"],
    lattice: Float[Tensor, "b 3 3"],
    numbers: Int[Tensor, "b n"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the losses of displacements and of strains, each in units of its typical size."""
    z = z.repeat_interleave(c.noises_per_crystal, 0)
    # Random numbers and assignments are made on the CPU, even where the network is on a GPU.
    frac_coords, lattice, numbers = (
        t.repeat_interleave(c.noises_per_crystal, 0).cpu() for t in (frac_coords, lattice, numbers)
    )
    strain = random_strains(len(z), c.strain, generator)
    deform = torch.eye(3) + strain
    missing = torch.linalg.inv(deform) - torch.eye(3)
    lattice = lattice @ deform
    sigma = c.noise.sample(len(z), generator)
    noise = torch.randn(frac_coords.shape, generator=generator) * sigma[:, None, None]
    noise = noise - noise.mean(1, keepdim=True)
    noisy = frac_coords + noise @ torch.linalg.inv(lattice)
    moves = -noise
    for low, high, candidates in (
        (c.assign_above, c.move_above, 0),
        (c.move_above, float("inf"), c.equivalents),
    ):
        far = (sigma > low) & (sigma <= high)
        if far.any():
            moves[far] = assigned_displacements(
                noisy[far], frac_coords[far], lattice[far], numbers[far], generator, candidates=candidates
            )
    noisy, lattice, numbers, sigma, moves, missing = (
        t.to(z.device) for t in (noisy, lattice, numbers, sigma, moves, missing)
    )
    moved, strained = denoise(z, noisy, lattice, numbers, sigma)
    error = (moved - moves) / c.noise.scale(sigma)[:, None, None]
    off = (strained - missing) / STRAIN_SCALE
    # With strongly displaced atoms the strain is not visible, and a decode does not use it there.
    seen = 1 / (1 + (sigma / STRAIN_SEEN) ** 4)
    off = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1, reduction="none").mean((1, 2))
    return error.square().sum(-1).mean(), (3 * seen * off).mean()


def energy_losses(error: Float[Tensor, " b"], labels: Int[Tensor, " b"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the loss of the energies and that of their differences, both summed over crystals (smooth L1).

    Args:
        error: predicted minus true energies, in standard deviations of the training energies.
        labels: equal for equal compositions, whose errors are compared with their mean; a crystal without others has
            no loss of differences.
    """
    total = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="sum", beta=LINEAR_ABOVE)
    if not len(error):
        return total, total
    _, group, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    mean = error.new_zeros(len(counts)).index_add_(0, group, error) / counts
    relative = error - mean[group]
    differences = functional.smooth_l1_loss(
        relative, torch.zeros_like(relative), reduction="sum", beta=DIFFERENCES_LINEAR_ABOVE
    )
    return total, differences
