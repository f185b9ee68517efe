"""The interface of every CD-VAE, and what all of them share: KL term, composition features, lattice head targets.

A lattice is predicted as six numbers: log(length / v^(1/3)) of a, b, c and the three angles in degrees, z-scored, with
v a reference volume of the cell, either its number of atoms (CDVAE) or a sum of atomic volumes.
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

from lcoms.core.errors import DataError
from lcoms.models.composition import batch_element_fractions, element_fractions
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import N_ELEMENTS, atomic_volume
from lcoms.structure.lattice import lattice_from_parameters, volume
from lcoms.structure.wyckoff import SymmetricCell

N_COMPOSITION_FEATURES = N_ELEMENTS + 1
LOGVAR_RANGE = (-10.0, 4.0)
ANGLE_RANGE = (20.0, 160.0)  # degrees; cells beyond are not predicted
LENGTH_RANGE = (1.0, 200.0)  # angstrom; a cell edge outside is no crystal we know
MIN_FLATNESS = 1e-2  # volume over the product of the lengths; below it the cell is close to a plane


class GroupStart(NamedTuple):
    """Where a sample within a space group begins.

    Attributes:
        cell: group and positions.
        lattice: lower triangular, as the group allows it, angstrom.
        coords: free coordinates; None: drawn anew.
    """

    cell: SymmetricCell
    lattice: Float[NDArray[np.float64], "3 3"]
    coords: Float[NDArray[np.float64], " k"] | None = None


@runtime_checkable
class SymmetricDecoder(Protocol):
    """A decoder that can keep atoms on Wyckoff positions all the way."""

    def predict_lattices(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition]
    ) -> Float[Tensor, "n 3 3"]:
        """The lattice that the head reads from each latent; NaN where it makes no cell."""

    def decode_within(
        self,
        z: Float[Tensor, "n latent"],
        starts: Sequence[GroupStart],
        generator: torch.Generator,
        known_to: float,
        *,
        keep_lattices: bool = False,
    ) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        """One sample for each row, kept within a space group and on its Wyckoff positions all the way.

        Args:
            known_to: noise level (angstrom) at which annealing begins where coordinates are given.
            keep_lattices: whether crystals have the lattices of the starts, and not those that annealing makes of them.

        Returns:
            Crystals in the primitive cells of their groups, and the distance of each one's latent from that asked for.
        """


class CDVAE(nn.Module, ABC):
    """A variational autoencoder of crystals, conditional on the contents of the cell.

    Attributes:
        latent_dim: length of a latent vector.
        config: the dataclass it was made from.
        mixed: whether layers that can do so compute in bfloat16.
    """

    latent_dim: int
    config: Any
    mixed: bool = False

    @property
    @abstractmethod
    def within_groups(self) -> SymmetricDecoder | None:
        """What decodes within space groups; None where this preset cannot."""

    @abstractmethod
    def encode(
        self, batch: CrystalBatch
    ) -> tuple[Float[Tensor, "n_crystals latent"], Float[Tensor, "n_crystals latent"]]:
        """Mean and log-variance of the latent of each crystal; the mean is the latent used downstream."""

    @abstractmethod
    def decode(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        """One crystal per latent, all in one batch.

        Args:
            z: latents.
            compositions: contents of each cell, all its formula units counted.
            generator: source of every random number drawn.

        Returns:
            Crystals whose atoms are in the order of `Composition.expand`; None where no valid crystal came out.
        """

    @abstractmethod
    def losses(self, batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars to train on: `loss` is the weighted total, the others are its parts without their weights."""

    @abstractmethod
    def fit_statistics(self, batch: CrystalBatch) -> None:
        """Take the scales of lattices, and what else is not learned, from training crystals, before training."""


def sample_latent(
    mu: Float[Tensor, "n latent"], logvar: Float[Tensor, "n latent"], generator: torch.Generator
) -> Float[Tensor, "n latent"]:
    """mu + exp(logvar / 2) eps with eps from N(0, I) (reparametrisation; CDVAE)."""
    noise = torch.randn(mu.shape, generator=generator, device=generator.device, dtype=mu.dtype)
    return mu + torch.exp(0.5 * clamp_logvar(logvar)) * noise.to(mu.device)


def clamp_logvar(logvar: Float[Tensor, "n latent"]) -> Float[Tensor, "n latent"]:
    """Log-variances kept inside LOGVAR_RANGE: an exploding variance ends many published trainings."""
    return logvar.clamp(*LOGVAR_RANGE)


def kl_divergence(mu: Float[Tensor, "n latent"], logvar: Float[Tensor, "n latent"]) -> Float[Tensor, ""]:
    """KL(N(mu, exp(logvar)) || N(0, I)): mean over crystals of the sum over dimensions (CDVAE)."""
    logvar = clamp_logvar(logvar)
    return (0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)).sum(dim=1).mean()


def composition_features(compositions: Sequence[Composition]) -> Float[Tensor, "n_crystals 104"]:
    """Element fractions and, last, the logarithm of the number of atoms in the cell."""
    log_n = torch.tensor([c.n_atoms for c in compositions], dtype=torch.float32).log()
    return torch.cat([element_fractions(compositions), log_n[:, None]], dim=1)


def batch_composition_features(batch: CrystalBatch) -> Float[Tensor, "n_crystals 104"]:
    """`composition_features` of the crystals of a batch, on their device."""
    fractions = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    return torch.cat([fractions, batch.n_atoms.log()[:, None].to(fractions)], dim=1)


class VolumeBaseline(nn.Module):
    """Cell volume expected of a composition: the sum of one volume per element.

    The volumes start from the table in `elements`.
    """

    atomic_volumes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("atomic_volumes", torch.tensor([atomic_volume(z) for z in range(1, N_ELEMENTS + 1)]))

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "n 104"], volumes: Float[Tensor, " n"], *, ridge: float = 1.0) -> None:
        """Least squares of the volume per atom on the element fractions, drawn to the present values by `ridge`.

        Args:
            features: `composition_features` of the data.
            volumes: cell volumes in cubic angstrom.
            ridge: weight of the present value of each element, in crystals.
        """
        fractions, per_atom = features[:, :-1].double(), volumes.double() / features[:, -1].double().exp()
        prior = self.atomic_volumes.double()
        gram = fractions.T @ fractions + ridge * torch.eye(N_ELEMENTS, dtype=torch.float64, device=fractions.device)
        shift = torch.linalg.solve(gram, fractions.T @ (per_atom - fractions @ prior))
        self.atomic_volumes.copy_((prior + shift).clamp_min(1.0))

    def forward(self, features: Float[Tensor, "n 104"]) -> Float[Tensor, " n"]:
        """Volume of each cell in cubic angstrom."""
        return (features[:, :-1] @ self.atomic_volumes.to(features)) * features[:, -1].exp()


class LatticeTransform(nn.Module):
    """Lattices to z-scored six-vectors and back; see the head of this module. Fit it before training."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.2, 0.2, 0.2, 80.0, 80.0, 80.0]))
        self.register_buffer("std", torch.tensor([0.3, 0.3, 0.3, 20.0, 20.0, 20.0]))

    @torch.no_grad()
    def fit(self, lattice: Float[Tensor, "n 3 3"], volumes: Float[Tensor, " n"]) -> None:
        """Take mean and population standard deviation from data, with the reference volumes in cubic angstrom.

        Raises:
            DataError: no lattices were given.
        """
        if not len(lattice):
            raise DataError("the lattice scaling needs at least one crystal; the training set is empty.")
        raw = _raw_six(lattice.double(), volumes.double())
        self.mean.copy_(raw.mean(dim=0))
        self.std.copy_(raw.std(dim=0, unbiased=False) + 1e-5)

    def forward(self, lattice: Float[Tensor, "n 3 3"], volumes: Float[Tensor, " n"]) -> Float[Tensor, "n 6"]:
        """Z-scored six-vectors of lattices, with reference volumes in cubic angstrom."""
        return (_raw_six(lattice, volumes) - self.mean) / self.std

    @torch.no_grad()
    def to_lattice(
        self, six: Float[Tensor, "n 6"], volumes: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n 3 3"], Bool[Tensor, " n"]]:
        """Rows of the predicted lattices in angstrom, and which of them are cells that can exist.

        Angles are clamped to ANGLE_RANGE. Where numbers are not finite, lengths leave LENGTH_RANGE or the angles do not
        close a cell, the lattice is a cube of the reference volume and marked False. No gradient flows.
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
    """log(length / volume^(1/3)) and angles in degrees, (n, 6)."""
    lengths = lattice.norm(dim=-1)
    unit = lattice / lengths[..., None]
    cosines = torch.stack([(unit[:, i] * unit[:, j]).sum(-1) for i, j in ((1, 2), (0, 2), (0, 1))], dim=-1)
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1.0, 1.0)))
    return torch.cat([lengths.log() - volumes.log()[:, None] / 3.0, angles], dim=-1)
