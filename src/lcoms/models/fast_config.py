"""Sizes, noise and loss weights of the fast preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError
from lcoms.models.schedule import NoiseSchedule
from lcoms.nn.geometry import DensityBasis

LARGE_CELL = 8  # atoms


@dataclass(frozen=True)
class FastConfig:
    """Sizes, noise and loss weights of the fast preset.

    Attributes:
        filters: neighbour features that pass through a radial filter.
        vectors: vector channels.
        noise: noise levels in angstrom.
        assign_above: noise level (angstrom) above which atoms of a species may swap places in the target.
        move_above: noise level (angstrom) above which the whole crystal may also be moved and inverted.
        equivalents: number of equivalents of the clean crystal from which the nearest is the target.
        noises_per_crystal: denoiser samples for each encoded crystal.
        energy_weight: weight of the loss of energies, which an energy head predicts from mean latents.
        difference_weight: weight of the loss of energy differences within a composition.
        encoder_noise: largest standard deviation (angstrom) of noise on the atoms that the encoder sees in training;
            that of each crystal is uniform between zero and this.
        consistency_weight: weight of the divergence between the posteriors of the noisy and the clean crystal, which
            makes latents vary smoothly with the positions.
        strain: smallest and largest standard deviation of the random strain on training cells, which the denoiser
            learns to remove.
        strain_weight: weight of the strain loss.
        strain_below: noise level (angstrom) below which a decode corrects its lattice.
        steps: denoiser calls in one decode.
        churn: noise added during a decode, as a fraction of the level.
        samples: decodes of each latent; the one whose latent is nearest to the requested one is kept.
        samples_large: the same for cells of more than 8 atoms, for which a single decode fails more often.

    Raises:
        ConfigError: a weight or encoder_noise is negative, or consistency_weight is set without encoder_noise.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"tries": "samples", "tries_large": "samples_large"}

    latent_dim: int = 64
    channels: int = 192
    filters: int = 32
    vectors: int = 48
    encoder_layers: int = 3
    decoder_layers: int = 5
    condition: int = 128
    basis: DensityBasis = field(default_factory=DensityBasis)
    noise: NoiseSchedule = field(default_factory=NoiseSchedule)
    assign_above: float = 0.4
    move_above: float = 0.5
    equivalents: int = 4
    noises_per_crystal: int = 2
    encoder_noise: float = 0.0
    strain: tuple[float, float] = (0.003, 0.06)
    strain_weight: float = 1.0
    strain_below: float = 0.6
    kl_weight: float = 5e-4
    lattice_weight: float = 1.0
    energy_weight: float = 0.1
    difference_weight: float = 0.2
    consistency_weight: float = 0.0
    steps: int = 10
    churn: float = 0.4
    samples: int = 8
    samples_large: int = 12

    def __post_init__(self) -> None:
        weights = [f"{loss}_weight" for loss in ("strain", "kl", "lattice", "energy", "difference", "consistency")]
        require(self, "model", not_negative=["encoder_noise", *weights])
        if self.consistency_weight and not self.encoder_noise:
            raise ConfigError(
                "model option consistency_weight has no effect without encoder_noise; set both, or neither."
            )

    def samples_for(self, n_atoms: int) -> int:
        """Return the number of samples of a decode, from which the one nearest to the latent is kept."""
        if n_atoms == 1:
            return 1
        return self.samples if n_atoms <= LARGE_CELL else self.samples_large
