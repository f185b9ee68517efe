"""The paper preset: DimeNet++ encoder, lattice head and GemNet denoiser, sampled by annealed Langevin dynamics.

CDVAE (Xie et al. 2022, 2110.06197) conditional on composition, as latent conservative objective models need it: the
contents of the cell are given, so there are no heads and losses for counts and types. Losses and weights:
10 coordinates + 10 lattice + 0.01 KL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from lcoms.core.errors import ConfigError, CrystalError
from lcoms.models.base import (
    CDVAE,
    N_COMPOSITION_FEATURES,
    LatticeTransform,
    VolumeBaseline,
    batch_composition_features,
    clamp_logvar,
    composition_features,
    kl_divergence,
    sample_latent,
)
from lcoms.models.langevin import LangevinConfig, anneal, noise_levels
from lcoms.nn.dimenet import DimeNetConfig, DimeNetEncoder
from lcoms.nn.gemnet import GemNetConfig, GemNetDenoiser
from lcoms.nn.heads import mlp
from lcoms.nn.layers import segment_mean
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.neighbors import minimum_image, row_products

MAX_ATOMS = 4096  # atoms decoded at once; more are split into batches to limit memory


@dataclass(frozen=True)
class PaperConfig:
    """Sizes, losses and sampling of the paper preset; the defaults are the published values where there are any.

    Attributes:
        latent_dim: length of a latent vector.
        condition: channels that describe the composition.
        head: hidden channels of the lattice head.
        encoder: sizes of DimeNet++.
        decoder: sizes of GemNet, and whether it has quadruplets.
        langevin: noise levels, also used in training, and sampling steps.
        coord_weight: weight of the coordinate loss.
        lattice_weight: weight of the lattice loss.
        kl_weight: weight of the KL term.
    """

    latent_dim: int = 256
    condition: int = 64
    head: int = 256
    encoder: DimeNetConfig = field(default_factory=DimeNetConfig)
    decoder: GemNetConfig = field(default_factory=GemNetConfig)
    langevin: LangevinConfig = field(default_factory=LangevinConfig)
    coord_weight: float = 10.0
    lattice_weight: float = 10.0
    kl_weight: float = 0.01


class PaperCDVAE(CDVAE):
    """CD-VAE with the networks of the paper; with `mixed`, encoder and denoiser compute in bfloat16, geometry not.

    Attributes:
        teacher_forcing: whether training adds noise in the true lattice rather than in the predicted one. CDVAE turns
            it off halfway.
        langevin: sampling options of `decode`; may be replaced at any time.
    """

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.config = c = config
        self.latent_dim = c.latent_dim
        self.teacher_forcing = True
        self.langevin = c.langevin
        self.encoder = DimeNetEncoder(c.encoder)
        self.to_mu = nn.Linear(c.encoder.output, c.latent_dim)
        self.to_logvar = nn.Linear(c.encoder.output, c.latent_dim)
        self.embed_composition = mlp(N_COMPOSITION_FEATURES, 128, c.condition)
        self.lattice_head = mlp(c.latent_dim + c.condition, c.head, 6)
        self.denoiser = GemNetDenoiser(c.decoder, c.latent_dim + c.condition)
        self.volume_baseline = VolumeBaseline()
        self.lattice_transform = LatticeTransform()

    def fit_statistics(self, batch: CrystalBatch) -> None:
        """Set atomic volumes and the scale of lattices from data before training; pass as many crystals as possible."""
        features = batch_composition_features(batch)
        self.volume_baseline.fit(features, torch.linalg.det(batch.lattice).abs())
        self.lattice_transform.fit(batch.lattice, self.volume_baseline(features))

    @property
    def within_groups(self) -> None:
        return None

    def encode(
        self, batch: CrystalBatch
    ) -> tuple[Float[Tensor, "n_crystals latent"], Float[Tensor, "n_crystals latent"]]:
        """Return mean and log-variance of the latent of each crystal."""
        with self._autocast():
            hidden = self.encoder(batch).to(batch.lattice)
        mu, logvar = self.to_mu(hidden), self.to_logvar(hidden)
        return mu, clamp_logvar(logvar)

    def losses(self, batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted total `loss` and its unweighted parts `coord`, `lattice` and `kl`."""
        mu, logvar = self.encode(batch)
        features = batch_composition_features(batch).to(mu)
        condition = self._condition(sample_latent(mu, logvar, generator), features)
        volumes = self.volume_baseline(features)
        six = self.lattice_head(condition)
        parts = {
            "coord": self._coord_loss(batch, self._noise_lattice(batch, six, volumes), condition, generator),
            "lattice": nn.functional.mse_loss(six, self.lattice_transform(batch.lattice, volumes)),
            "kl": kl_divergence(mu, logvar),
        }
        c = self.config
        total = c.coord_weight * parts["coord"] + c.lattice_weight * parts["lattice"] + c.kl_weight * parts["kl"]
        return {"loss": total, **parts}

    @torch.no_grad()
    def predict_lattice(
        self, z: Float[Tensor, "n latent"], features: Float[Tensor, "n 104"]
    ) -> tuple[Float[Tensor, "n 3 3"], Tensor]:
        """Return the lattices (rows, angstrom), and which (n,) of them are valid cells."""
        six = self.lattice_head(self._condition(z, features))
        return self.lattice_transform.to_lattice(six, self.volume_baseline(features))

    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        """Decode one crystal per latent from random positions; None where the lattice or the atoms are not finite.

        Raises:
            ConfigError: the numbers of compositions and latents differ.
        """
        if len(z) != len(compositions):
            raise ConfigError(f"decoding needs one composition per latent, not {len(compositions)} for {len(z)}.")
        crystals: list[Crystal | None] = [None] * len(z)
        features = composition_features(compositions).to(z) if len(z) else z.new_zeros(0, N_COMPOSITION_FEATURES)
        lattice, valid = self.predict_lattice(z, features)
        sizes = torch.tensor([c.n_atoms for c in compositions], dtype=torch.long, device=z.device)
        turns = torch.cumsum(torch.where(valid, sizes, 0), 0) // MAX_ATOMS
        for turn in torch.unique(turns[valid]).tolist():
            rows = torch.nonzero(valid & (turns == turn)).squeeze(1)
            start = _random_start(lattice[rows], [compositions[row] for row in rows.tolist()], generator)
            for row, crystal in zip(
                rows.tolist(), self._sample(start, z[rows], features[rows], generator), strict=True
            ):
                crystals[row] = crystal
        return crystals

    def _sample(
        self, start: CrystalBatch, z: Tensor, features: Tensor, generator: torch.Generator
    ) -> list[Crystal | None]:
        condition = self._condition(z, features)
        batch, finite = anneal(start, lambda noisy, _: self._denoise(noisy, condition), self.langevin, generator)
        sizes = batch.n_atoms.tolist()
        parts = zip(
            batch.lattice.cpu().double(),
            batch.frac_coords.cpu().double().split(sizes),
            batch.atomic_numbers.cpu().split(sizes),
            finite.tolist(),
            strict=True,
        )
        return [_crystal(*(t.numpy() for t in tensors)) if good else None for *tensors, good in parts]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.to_mu.weight.device.type, torch.bfloat16, enabled=self.mixed)

    def _denoise(self, noisy: CrystalBatch, condition: Tensor) -> Float[Tensor, "n_atoms 3"]:
        with self._autocast():
            score: Tensor = self.denoiser(noisy, condition)
        return score.to(noisy.lattice)

    def _condition(self, z: Tensor, features: Tensor) -> Float[Tensor, "n condition"]:
        return torch.cat([z, self.embed_composition(features)], dim=1)

    def _noise_lattice(self, batch: CrystalBatch, six: Tensor, volumes: Tensor) -> Float[Tensor, "n_crystals 3 3"]:
        """Return the lattice in which noise is added; a predicted lattice carries no gradient."""
        return batch.lattice if self.teacher_forcing else self.lattice_transform.to_lattice(six, volumes)[0]

    def _coord_loss(
        self, batch: CrystalBatch, lattice: Tensor, condition: Tensor, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Return 0.5 |d / sigma - s|^2, averaged over the atoms of a crystal, then over crystals (CDVAE).

        d is the shortest image of clean - noisy in the true lattice; each crystal has one noise level.
        """
        device, idx = batch.lattice.device, batch.crystal_idx
        sigmas = noise_levels(self.config.langevin)
        level = torch.randint(len(sigmas), (batch.n_crystals,), generator=generator, device=generator.device)
        sigma = sigmas.to(batch.lattice)[level.to(device)][idx, None]
        noise = torch.randn(batch.frac_coords.shape, generator=generator, device=generator.device).to(batch.frac_coords)
        step = row_products(sigma * noise, torch.linalg.inv(lattice)[idx])
        noisy = batch.replace(lattice=lattice, frac_coords=(batch.frac_coords + step) % 1.0)
        target = minimum_image(batch.frac_coords - noisy.frac_coords, batch.lattice[idx]) / sigma
        error = 0.5 * (target - self._denoise(noisy, condition)).square().sum(dim=1)
        return segment_mean(error, idx, batch.n_crystals).mean()


def _random_start(lattice: Tensor, compositions: Sequence[Composition], generator: torch.Generator) -> CrystalBatch:
    """Return crystals with atoms at uniformly random positions in their cells."""
    numbers = [torch.from_numpy(composition.expand()) for composition in compositions]
    sizes = torch.tensor([len(z) for z in numbers])
    frac_coords = torch.rand((int(sizes.sum()), 3), generator=generator, device=generator.device).to(lattice)
    idx = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    return CrystalBatch(lattice, frac_coords, torch.cat(numbers).to(lattice.device), idx.to(lattice.device))


def _crystal(lattice: NDArray[Any], frac_coords: NDArray[Any], atomic_numbers: NDArray[Any]) -> Crystal | None:
    try:
        return Crystal(lattice, frac_coords, atomic_numbers)
    except CrystalError:
        return None
