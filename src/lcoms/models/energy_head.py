"""The energy head of an autoencoder, to which a surrogate adds corrections.

The head is trained together with the encoder, so it knows crystals better than a network that only ever sees their
latents; but nothing makes it conservative away from the data.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lcoms.nn.heads import mlp
from lcoms.structure.elements import N_ELEMENTS


class EnergyHead(nn.Module):
    """Formation energies in eV/atom from latents and element fractions.

    Args:
        latent_dim: length of a latent vector.
        condition: channels that describe the composition.
        hidden: hidden channels.
    """

    energy_mean: Tensor
    energy_std: Tensor

    def __init__(self, latent_dim: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.sizes = (latent_dim, condition, hidden)
        self.embed_composition = mlp(N_ELEMENTS, condition, condition, activation=nn.SiLU)
        self.energy_head = mlp(latent_dim + condition, hidden, 1, activation=nn.SiLU)
        self.register_buffer("energy_mean", torch.zeros(()))
        self.register_buffer("energy_std", torch.ones(()))

    def forward(
        self, z: Float[Tensor, "n latent"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, " n"]:
        """Return formation energies in eV/atom, never in half precision."""
        with torch.autocast(z.device.type, enabled=False):
            embedded = self.embed_composition(composition_features)
            energy: Tensor = self.energy_head(torch.cat([z, embedded], dim=-1)).squeeze(-1)
        return energy * self.energy_std + self.energy_mean
