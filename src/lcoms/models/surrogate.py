"""The conservative surrogate: formation energy from a latent and a composition, safe for gradient descent.

Latents and energies are z-scored with the statistics of the training data (as in conservative objective models), so
step sizes are in standard deviations of a latent and tau is in standard deviations of the energy.
Source: Trabucco et al., Conservative Objective Models (2021), with the opposite sign because energies are minimised.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError, DataError
from lcoms.models.energy_head import EnergyHead
from lcoms.models.energy_network import EnergyNetwork, NetworkConfig
from lcoms.structure.elements import N_ELEMENTS

MIN_LATENT_STD = 0.05  # a dimension with a smaller spread of means is collapsed: the decoder ignores it
LOG_ALPHA_LIMIT = 10.0


@dataclass(frozen=True)
class AdversaryConfig:
    """The adversary of a conservative model, and the dual variable that weights its loss.

    Attributes:
        inner_steps: descent steps of the adversary.
        initial_alpha, alpha_learning_rate: of the dual variable.
    """

    inner_steps: int = 1
    initial_alpha: float = 0.1
    alpha_learning_rate: float = 0.01


@dataclass(frozen=True)
class SurrogateConfig(NetworkConfig, AdversaryConfig):
    """Settings of the surrogate and of its training, with the sizes of its networks.

    Attributes:
        members: number of networks, whose mean is the energy; each is fitted to the data by itself.
        from_head: learn corrections to the energy head of the autoencoder, which stays as it is.
        residual: z-score the residual of a ridge regression of the energy on element fractions instead of the energy.
        ridge: regularisation strength of that regression, in units of the number of training crystals.
        learning_rate, batch_size, epochs: of Adam on the network.
        weight_decay: of Adam, decoupled.
        absolute: weight of the mean absolute error beside the mean squared error, which outliers dominate.
        listwise: weight of the loss that orders the crystals of a composition (see `lcoms.models.listwise`); 0: none.
        listwise_width: energy differences below it contribute little to that loss, eV/atom.
        final_lr_fraction: the learning rate falls along a cosine to this fraction of its value; 1 keeps it constant.
        latent_noise: standard deviation of Gaussian noise on the normalised latents during training.
        conservatism: off gives plain regression, the paper's SL baseline.
        step_size: of the adversary, in normalised latent space.
        tau: how far the adversary may lower the energy, in normalised units.
        precision: of the matrix products in training; auto is bfloat16 on devices that have units for it (tensor cores,
            AMX), and float32 on others. Weights stay in float32.

    Raises:
        ConfigError: a value is out of range.
    """

    members: int = 1
    from_head: bool = False
    residual: bool = False
    ridge: float = 1e-5
    learning_rate: float = 3e-5
    batch_size: int = 128
    epochs: int = 50
    final_lr_fraction: float = 1.0
    latent_noise: float = 0.0
    weight_decay: float = 0.0
    absolute: float = 0.0
    listwise: float = 0.0
    listwise_width: float = 0.05
    conservatism: Literal["on", "off"] = "on"
    step_size: float = 0.2
    tau: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        require(
            self,
            "surrogate",
            at_least_one=["hidden", "layers", "members", "batch_size", "epochs", "inner_steps"],
            positive=[
                "learning_rate",
                "step_size",
                "initial_alpha",
                "alpha_learning_rate",
                "composition_scale",
                "ridge",
                "listwise_width",
            ],
            not_negative=["weight_decay", "listwise", "latent_noise", "absolute", "element_pairs", "latent_pairs"],
            one_of={"conservatism": ("on", "off"), "precision": ("auto", "float32", "bfloat16")},
        )
        if not 0 <= self.final_lr_fraction <= 1:
            raise ConfigError("surrogate option final_lr_fraction must lie in [0, 1].")


class ConservativeSurrogate(nn.Module):
    """E(z, c), the formation energy in eV/atom of the crystal with latent z and composition c.

    Conservative means that energies away from the training data are **not underestimated**. Descent looks for low
    energies, so it would exploit a surrogate that predicts too low an energy off the data; this one is trained to
    raise its energy where gradient descent leads. (It does not mean that forces derive from a potential.)

    The composition is given by element fractions: the energy per atom does not depend on the number of formula
    units in the cell. Collapsed latent dimensions are masked: they change neither the energy nor the gradient.

    Args:
        head: energy head of the autoencoder, for `from_head`.

    Raises:
        ConfigError: `from_head` without a head, or the reverse.
    """

    latent_mean: Tensor
    latent_std: Tensor
    latent_mask: Tensor
    energy_mean: Tensor
    energy_std: Tensor
    baseline: Tensor

    def __init__(self, latent_dim: int, config: SurrogateConfig | None = None, head: EnergyHead | None = None) -> None:
        super().__init__()
        self.config = config or SurrogateConfig()
        if self.config.from_head and head is None:
            raise ConfigError("surrogate option from_head needs the energy head of an autoencoder of the fast preset.")
        if head is not None and not self.config.from_head:
            raise ConfigError("an energy head is used only with the surrogate option from_head; set it to true.")
        self.head = None if head is None else deepcopy(head).requires_grad_(False)
        self.latent_dim = latent_dim
        self.networks = nn.ModuleList(EnergyNetwork(latent_dim, self.config) for _ in range(self.config.members))
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_std", torch.ones(latent_dim))
        self.register_buffer("latent_mask", torch.ones(latent_dim))
        self.register_buffer("energy_mean", torch.zeros(()))
        self.register_buffer("energy_std", torch.ones(()))
        self.register_buffer("baseline", torch.zeros(N_ELEMENTS))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights of all networks."""
        for network in self.networks:
            assert isinstance(network, EnergyNetwork)
            network.initialise(generator)

    @torch.no_grad()
    def fit_normalisation(
        self,
        z: Float[Tensor, "n_crystals latent"],
        composition_features: Float[Tensor, "n_crystals 103"],
        energies: Float[Tensor, " n_crystals"],
    ) -> None:
        """Store the statistics of the training data in the buffers.

        Args:
            energies: formation energies in eV/atom.

        Raises:
            DataError: there are too few crystals, values are not finite, or all energies are equal.
        """
        if len(z) < 2 or not bool(torch.isfinite(z).all() and torch.isfinite(energies).all()):
            raise DataError("the surrogate needs at least two training crystals with finite latents and energies.")
        std = z.double().std(dim=0, unbiased=False)
        self.latent_mask.copy_(std >= MIN_LATENT_STD)
        self.latent_mean.copy_(z.double().mean(dim=0))
        self.latent_std.copy_(torch.where(std >= MIN_LATENT_STD, std, 1.0))
        if self.config.residual:
            self.baseline.copy_(_ridge(composition_features.double(), energies.double(), self.config.ridge))
        residual = energies.double() - composition_features.double() @ self.baseline.double()
        if not float(residual.std(unbiased=False)) > 0:
            raise DataError("all training energies are equal: there is nothing for the surrogate to learn.")
        self.energy_mean.copy_(residual.mean())
        self.energy_std.copy_(residual.std(unbiased=False))

    def normalise(self, z: Float[Tensor, "*n latent"]) -> Float[Tensor, "*n latent"]:
        """Return latents in standard deviations of the training latents; collapsed dimensions become 0."""
        return (z - self.latent_mean) / self.latent_std * self.latent_mask

    def denormalise(
        self, normalised: Float[Tensor, "*n latent"], z0: Float[Tensor, "*n latent"]
    ) -> Float[Tensor, "*n latent"]:
        """Convert normalised latents back; collapsed dimensions are taken from z0."""
        live = normalised * self.latent_std + self.latent_mean
        return torch.where(self.latent_mask.bool(), live, z0)

    def normalise_energies(
        self, energies: Float[Tensor, " n"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, " n"]:
        """Convert energies from eV/atom to the units that the network predicts."""
        return (energies - composition_features @ self.baseline - self.energy_mean) / self.energy_std

    def normalised_energy(
        self, normalised: Float[Tensor, "n latent"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, " n"]:
        """Return z-scored energies for normalised latents, the mean over the networks."""
        return self.member_energies(normalised, composition_features).mean(dim=0)

    def member_energies(
        self, normalised: Float[Tensor, "n latent"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, "members n"]:
        """Return the z-scored energies of each network for normalised latents, those of the head included."""
        energies = torch.stack([network(normalised, composition_features) for network in self.networks])
        if self.head is None:
            return energies
        of_head = self.head(normalised * self.latent_std + self.latent_mean, composition_features)
        return energies + self.normalise_energies(of_head, composition_features)

    def forward(
        self, z: Float[Tensor, "n latent"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, " n"]:
        """Return the formation energies in eV/atom of latents from the encoder."""
        return self.in_ev(self.normalised_energy(self.normalise(z), composition_features), composition_features)

    def in_ev(
        self, normalised_energies: Float[Tensor, "*steps n"], composition_features: Float[Tensor, "n 103"]
    ) -> Float[Tensor, "*steps n"]:
        """Convert energies from the units that the network predicts to eV/atom."""
        return normalised_energies * self.energy_std + self.energy_mean + composition_features @ self.baseline

    def descent_step(
        self,
        normalised: Float[Tensor, "n latent"],
        composition_features: Float[Tensor, "n 103"],
        step_size: float,
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, " n"]]:
        """Take one gradient step z - eta dE/dz of the normalised energy; return it detached, and the energy before it.

        Energies are summed, not averaged, before they are differentiated: each sample follows its own gradient,
        regardless of the rest of the batch. The composition never changes.
        """
        with torch.enable_grad():
            at = normalised.detach().requires_grad_(True)
            energy = self.normalised_energy(at, composition_features)
            (gradient,) = torch.autograd.grad(energy.sum(), at)
        return normalised.detach() - step_size * gradient * self.latent_mask, energy.detach()


def _ridge(features: Float[Tensor, "n 103"], energies: Float[Tensor, " n"], strength: float) -> Float[Tensor, " 103"]:
    """Return weights of a ridge regression with an intercept, w = (X'X + n strength I)^-1 X'y on centred data."""
    x, y = features - features.mean(dim=0), energies - energies.mean()
    gram = x.T @ x + len(x) * strength * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights: Tensor = torch.linalg.solve(gram, x.T @ y)
    return weights


@torch.no_grad()
def predict_energies(
    surrogate: ConservativeSurrogate,
    z: Float[Tensor, "n latent"],
    composition_features: Float[Tensor, "n 103"],
    *,
    chunk: int = 4096,
) -> Float[Tensor, " n"]:
    """Return the energies in eV/atom of any number of latents, computed in chunks."""
    pairs = zip(z.split(chunk), composition_features.split(chunk), strict=True)
    return torch.cat([surrogate(some, features) for some, features in pairs])
