"""One network of the surrogate: a multilayer perceptron on latent and composition, with products of the two.

The paper's network sees latent and composition side by side. The energy of a compound, however, depends on pairs of
its elements, and on which elements occupy the sites that the latent describes; products of linear maps state both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lcoms.structure.elements import N_ELEMENTS

PRODUCT_SCALE = 0.3  # products of inputs of order one are larger than other inputs of the first layer


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network of the surrogate.

    Attributes:
        hidden, layers: width and number of the hidden layers.
        negative_slope: of the leaky ReLU.
        composition_scale: factor of the element fractions, which are small compared with z-scored latents.
        element_pairs, latent_pairs: number of products of two linear maps of the element fractions, and of one of the
            latent and one of the fractions, as further inputs; the paper has none.
    """

    hidden: int = 2048
    layers: int = 2
    negative_slope: float = 0.3
    composition_scale: float = 8.0
    element_pairs: int = 0
    latent_pairs: int = 0


class EnergyNetwork(nn.Module):
    """A normalised energy from a normalised latent and element fractions.

    Args:
        sizes: the products are (A c)(B c) of the composition c, and (C z)(D c).
    """

    def __init__(self, latent_dim: int, sizes: NetworkConfig) -> None:
        super().__init__()
        self.sizes = sizes
        pairs = [(N_ELEMENTS, sizes.element_pairs), (latent_dim, sizes.latent_pairs)]
        self.left = nn.ModuleList(nn.Linear(n_in, n) for n_in, n in pairs if n)
        self.right = nn.ModuleList(nn.Linear(N_ELEMENTS, n) for _, n in pairs if n)
        widths = [latent_dim + N_ELEMENTS + sum(n for _, n in pairs)] + [sizes.hidden] * sizes.layers
        self.hidden = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths))
        self.head = nn.Linear(sizes.hidden, 1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights, uniform in +-1 / sqrt(number of inputs) of each layer."""
        for layer in [*self.left, *self.right, *self.hidden, self.head]:
            assert isinstance(layer, nn.Linear)
            bound = layer.in_features**-0.5
            for parameter in (layer.weight, layer.bias):
                parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * bound)

    def forward(
        self, normalised: Float[Tensor, "n latent"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, " n"]:
        """Return z-scored energies. The last layer stays in float32."""
        composition = composition_features * self.sizes.composition_scale
        firsts = [x for x, n in ((composition, self.sizes.element_pairs), (normalised, self.sizes.latent_pairs)) if n]
        products = [
            PRODUCT_SCALE * left(x) * right(composition)
            for x, left, right in zip(firsts, self.left, self.right, strict=True)
        ]
        h = torch.cat([normalised, composition, *products], dim=-1)
        for layer in self.hidden:
            h = functional.leaky_relu(layer(h), self.sizes.negative_slope)
        energy: Tensor = (h.to(self.head.weight.dtype) * self.head.weight[0]).sum(dim=-1) + self.head.bias
        return energy
