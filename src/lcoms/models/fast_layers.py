"""Inputs of the fast preset's networks: crystals of equal size, and features of the cell's size and the noise level."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

N_WAVES = 8
STRAIN_SCALE = 0.03  # factor of the denoiser's strain output


class Cells(NamedTuple):
    """Crystals of equal size, as the encoder sees them."""

    frac_coords: Float[Tensor, "b n 3"]
    lattice: Float[Tensor, "b 3 3"]
    numbers: Int[Tensor, "b n"]


class NoisyCells(NamedTuple):
    """Crystals of equal size, as the denoiser sees them.

    Attributes:
        z: latents of the clean crystals.
        sigma: noise levels, angstrom.
    """

    z: Float[Tensor, "b latent"]
    frac_coords: Float[Tensor, "b n 3"]
    lattice: Float[Tensor, "b 3 3"]
    numbers: Int[Tensor, "b n"]
    sigma: Float[Tensor, " b"]


def size_feature(numbers: Int[Tensor, "b n"]) -> Float[Tensor, "b 1"]:
    """Return the logarithm of the number of atoms, shifted to be around zero."""
    return torch.full((len(numbers), 1), float(numbers.shape[1]), device=numbers.device).log() - 2.0


def waves(sigma: Float[Tensor, " b"]) -> Float[Tensor, "b waves"]:
    """Return sines and cosines of the logarithm of a noise level in angstrom."""
    phase = 0.35 * torch.log(sigma)[:, None] * torch.arange(1, N_WAVES + 1, device=sigma.device)
    return torch.cat([phase.sin(), phase.cos()], -1)
