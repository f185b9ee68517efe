"""The interface of every CD-VAE, and their common parts: KL term, composition features, targets of the lattice head.

A lattice is predicted as six z-scored numbers: log(length / v^(1/3)) of a, b, c and the three angles in degrees, where
v is a reference volume of the cell, either its number of atoms (CDVAE) or a sum of atomic volumes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from lcoms.core.errors import ConfigError, DataError
from lcoms.models.composition import batch_element_fractions, element_fractions
from lcoms.models.energy_head import EnergyHead
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import N_ELEMENTS, atomic_volume
from lcoms.structure.lattice import lattice_from_parameters, volume
from lcoms.structure.wyckoff import SymmetricCell

N_COMPOSITION_FEATURES = N_ELEMENTS + 1
LOGVAR_RANGE = (-10.0, 4.0)
ANGLE_RANGE = (20.0, 160.0)  # degrees; cells beyond are not predicted
LENGTH_RANGE = (1.0, 200.0)  # angstrom; no known crystal has a cell edge outside
MIN_FLATNESS = 1e-2  # volume over the product of the lengths; below it the cell is almost flat


class GroupStart(NamedTuple):
    """Start of a sample within a space group.

    Attributes:
        cell: space group and Wyckoff positions.
        lattice: lower triangular and compatible with the group, angstrom.
        coords: free coordinates; None draws them at random.
    """

    cell: SymmetricCell
    lattice: Float[NDArray[np.float64], "3 3"]
    coords: Float[NDArray[np.float64], " k"] | None = None


@runtime_checkable
class SymmetricDecoder(Protocol):
    """A decoder that can keep atoms on Wyckoff positions throughout annealing."""

    def predict_lattices(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition]
    ) -> Float[Tensor, "n 3 3"]:
        """Return the lattice that the head predicts from each latent; NaN where it is not a valid cell."""

    def decode_within(
        self,
        z: Float[Tensor, "n latent"],
        starts: Sequence[GroupStart],
        generator: torch.Generator,
        known_to: float,
        *,
        keep_lattices: bool = False,
    ) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        """Return one sample per row, kept in its space group and on its Wyckoff positions throughout annealing.

        Args:
            known_to: noise level (angstrom) at which annealing begins where coordinates are given.
            keep_lattices: whether crystals keep the lattices of the starts instead of annealed ones.

        Returns:
            Crystals in the primitive cells of their groups, and the distance of each crystal's latent from the
            requested one.
        """

    def refine(
        self, z: Float[Tensor, "n latent"], crystals: Sequence[Crystal]
    ) -> tuple[list[Crystal], Float[Tensor, " n"]]:
        """Move atoms and cells towards the latents; return the crystals and the distances of their latents."""


class CDVAE(nn.Module, ABC):
    """A variational autoencoder of crystals, conditional on the contents of the cell.

    Attributes:
        latent_dim: length of a latent vector.
        config: dataclass with the options of the model.
        mixed: whether layers that support it compute in bfloat16.
    """

    latent_dim: int
    config: Any
    mixed: bool = False

    @property
    @abstractmethod
    def within_groups(self) -> SymmetricDecoder | None:
        """The decoder within space groups; None where the preset has none."""

    def energy_model(self) -> EnergyHead:
        """Return a copy of the energy head that was trained with the encoder.

        Raises:
            ConfigError: the preset has none.
        """
        raise ConfigError("this autoencoder has no energy head; omit from_head.")

    @abstractmethod
    def encode(
        self, batch: CrystalBatch
    ) -> tuple[Float[Tensor, "n_crystals latent"], Float[Tensor, "n_crystals latent"]]:
        """Return mean and log-variance of the latent of each crystal; the mean is the latent used downstream."""

    @abstractmethod
    def decode(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        """Decode one crystal per latent, all in one batch.

        Args:
            z: latents.
            compositions: contents of each cell, including all its formula units.
            generator: source of all random numbers.

        Returns:
            Crystals whose atoms are in the order of `Composition.expand`; None where the result is not a valid crystal.
        """

    @abstractmethod
    def losses(self, batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return scalar training losses: `loss` is the weighted total, the others are its unweighted parts."""

    @abstractmethod
    def fit_statistics(self, batch: CrystalBatch) -> None:
        """Set the scales of lattices and other quantities that are not learned from training crystals."""


def sample_latent(
    mu: Float[Tensor, "n latent"], logvar: Float[Tensor, "n latent"], generator: torch.Generator
) -> Float[Tensor, "n latent"]:
    """Return mu + exp(logvar / 2) eps with eps from N(0, I) (reparametrisation; CDVAE)."""
    noise = torch.randn(mu.shape, generator=generator, device=generator.device, dtype=mu.dtype)
    return mu + torch.exp(0.5 * clamp_logvar(logvar)) * noise.to(mu.device)


def clamp_logvar(logvar: Float[Tensor, "n latent"]) -> Float[Tensor, "n latent"]:
    """Clamp log-variances to LOGVAR_RANGE; many published trainings fail by an exploding variance."""
    return logvar.clamp(*LOGVAR_RANGE)


def kl_divergence(
    mu: Float[Tensor, "n latent"],
    logvar: Float[Tensor, "n latent"],
    other: tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]] | None = None,
) -> Float[Tensor, ""]:
    """Return the divergence of N(mu, exp(logvar)), summed over dimensions and averaged over crystals.

    Args:
        other: mean and log-variance of the distribution from which it diverges; None: N(0, I), as in CDVAE.
    """
    logvar = clamp_logvar(logvar)
    if other is not None:
        width = clamp_logvar(other[1])
        mu, logvar = (mu - other[0]) * (-0.5 * width).exp(), logvar - width
    return (0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)).sum(dim=1).mean()


def composition_features(compositions: Sequence[Composition]) -> Float[Tensor, "n_crystals 104"]:
    """Return element fractions and, in the last column, the logarithm of the number of atoms in the cell."""
    log_n = torch.tensor([c.n_atoms for c in compositions], dtype=torch.float32).log()
    return torch.cat([element_fractions(compositions), log_n[:, None]], dim=1)


def batch_composition_features(batch: CrystalBatch) -> Float[Tensor, "n_crystals 104"]:
    """Return `composition_features` of the crystals of a batch, on their device."""
    fractions = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    return torch.cat([fractions, batch.n_atoms.log()[:, None].to(fractions)], dim=1)


class VolumeBaseline(nn.Module):
    """Expected cell volume of a composition: the sum of atomic volumes, one value per element.

    Initial values are from the table in `elements`.
    """

    atomic_volumes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("atomic_volumes", torch.tensor([atomic_volume(z) for z in range(1, N_ELEMENTS + 1)]))

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "n 104"], volumes: Float[Tensor, " n"], *, ridge: float = 1.0) -> None:
        """Fit the volume per atom to the element fractions by least squares, regularised towards the present values.

        Args:
            features: `composition_features` of the data.
            volumes: cell volumes in cubic angstrom.
            ridge: weight of each element's present value, in number of crystals.
        """
        fractions, per_atom = features[:, :-1].double(), volumes.double() / features[:, -1].double().exp()
        prior = self.atomic_volumes.double()
        gram = fractions.T @ fractions + ridge * torch.eye(N_ELEMENTS, dtype=torch.float64, device=fractions.device)
        shift = torch.linalg.solve(gram, fractions.T @ (per_atom - fractions @ prior))
        self.atomic_volumes.copy_((prior + shift).clamp_min(1.0))

    def forward(self, features: Float[Tensor, "n 104"]) -> Float[Tensor, " n"]:
        """Return the volume of each cell in cubic angstrom."""
        return (features[:, :-1] @ self.atomic_volumes.to(features)) * features[:, -1].exp()


class LatticeTransform(nn.Module):
    """Conversion between lattices and z-scored six-vectors (see the module docstring); fit it before training."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.2, 0.2, 0.2, 80.0, 80.0, 80.0]))
        self.register_buffer("std", torch.tensor([0.3, 0.3, 0.3, 20.0, 20.0, 20.0]))

    @torch.no_grad()
    def fit(self, lattice: Float[Tensor, "n 3 3"], volumes: Float[Tensor, " n"]) -> None:
        """Set mean and population standard deviation from data, with reference volumes in cubic angstrom.

        Raises:
            DataError: there are no lattices.
        """
        if not len(lattice):
            raise DataError("the lattice scaling needs at least one crystal; the training set is empty.")
        raw = _raw_six(lattice.double(), volumes.double())
        self.mean.copy_(raw.mean(dim=0))
        self.std.copy_(raw.std(dim=0, unbiased=False) + 1e-5)

    def forward(self, lattice: Float[Tensor, "n 3 3"], volumes: Float[Tensor, " n"]) -> Float[Tensor, "n 6"]:
        """Return z-scored six-vectors of lattices, with reference volumes in cubic angstrom."""
        return (_raw_six(lattice, volumes) - self.mean) / self.std

    @torch.no_grad()
    def to_lattice(
        self, six: Float[Tensor, "n 6"], volumes: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n 3 3"], Bool[Tensor, " n"]]:
        """Return the predicted lattices (rows, angstrom), and which of them are valid cells.

        Angles are clamped to ANGLE_RANGE. Where numbers are not finite, lengths leave LENGTH_RANGE or the angles give
        no or a nearly flat cell, the lattice is a cube of the reference volume and marked False. No gradient flows.
        """
        raw = (six * self.std + self.mean).double().cpu().numpy()
        reference = np.cbrt(np.maximum(volumes.double().cpu().numpy(), 1.0))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            lengths = np.exp(raw[:, :3]) * reference[:, None]
            rows = lattice_from_parameters(lengths, np.clip(raw[:, 3:], *ANGLE_RANGE))
            valid = np.isfinite(rows).all(axis=(1, 2)) & (lengths >= LENGTH_RANGE[0]).all(axis=1)
            valid &= (lengths <= LENGTH_RANGE[1]).all(axis=1)
            flatness = volume(np.where(valid[:, None, None], rows, np.eye(3))) / np.prod(lengths, axis=1)
        valid &= flatness > MIN_FLATNESS
        rows = np.where(valid[:, None, None], rows, np.eye(3) * reference[:, None, None])
        return torch.from_numpy(rows).to(six), torch.from_numpy(valid).to(six.device)


def _raw_six(lattice: Tensor, volumes: Tensor) -> Tensor:
    """Return log(length / volume^(1/3)) and angles in degrees, (n, 6)."""
    lengths = lattice.norm(dim=-1)
    unit = lattice / lengths[..., None]
    cosines = torch.stack([(unit[:, i] * unit[:, j]).sum(-1) for i, j in ((1, 2), (0, 2), (0, 1))], dim=-1)
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1.0, 1.0)))
    return torch.cat([lengths.log() - volumes.log()[:, None] / 3.0, angles], dim=-1)
