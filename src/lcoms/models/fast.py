"""The fast preset: a composition-conditional CD-VAE with density layers.

It trains on a CPU and decodes in tens of steps. Encoder: density layers, mean over atoms, (mu, logvar). Lattice: an MLP
on [z, c] gives angles and log lengths relative to a volume expected from the composition. The denoiser is trained with
`lcoms.models.fast_loss` and used by `lcoms.models.fast_decode`.

Crystals are grouped by their number of atoms: frac_coords (b, n, 3), lattice (b, 3, 3), numbers (b, n).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lcoms.core.errors import ConfigError
from lcoms.models.base import (
    CDVAE,
    GroupStart,
    LatticeTransform,
    SymmetricDecoder,
    VolumeBaseline,
    clamp_logvar,
    kl_divergence,
    sample_latent,
)
from lcoms.models.composition import batch_element_fractions, composition_labels
from lcoms.models.energy_head import EnergyHead
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_decode import AT_ONCE, Sampler
from lcoms.models.fast_layers import N_WAVES, STRAIN_SCALE, Cells, NoisyCells, size_feature, waves
from lcoms.models.fast_loss import denoising_losses, energy_losses, noisy_positions
from lcoms.models.refinement import refine_crystals
from lcoms.nn.density import DensityTrunk, PairReadout, StrainReadout, by_group, mean_over_atoms, to_atoms
from lcoms.nn.geometry import Densities, densities, differentiable_densities
from lcoms.nn.heads import mlp
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import N_ELEMENTS

LATTICE_SIX = 6
HEAD_CHANNELS = 256  # of the energy head


class FastCDVAE(CDVAE):
    """Encoder, lattice head and denoiser; with `mixed`, layers compute in bfloat16, geometry always in float32."""

    energy_mean: Tensor
    energy_std: Tensor

    def __init__(self, config: FastConfig) -> None:
        super().__init__()
        self.config = c = config
        self.latent_dim = c.latent_dim
        head = partial(mlp, activation=nn.SiLU)
        sizes = {"channels": c.channels, "filters": c.filters, "vectors": c.vectors, "condition": c.condition}
        self.embed_composition = head(N_ELEMENTS, c.condition, c.condition)
        self.embed = nn.Embedding(N_ELEMENTS + 1, c.channels)
        self.encoder = DensityTrunk(c.basis, layers=c.encoder_layers, **sizes)
        self.encoder_norm = nn.LayerNorm(c.channels)
        self.to_latent = head(2 * c.channels, c.channels, 2 * c.latent_dim)
        self.lattice_head = head(c.latent_dim + c.condition + 1, 256, 256, LATTICE_SIX)
        self.energy_head = head(c.latent_dim + c.condition, HEAD_CHANNELS, 1)
        self.to_condition = head(c.latent_dim + c.condition + 1 + LATTICE_SIX + 2 * N_WAVES, 256, c.condition)
        self.embed_site = nn.Embedding(N_ELEMENTS + 1, c.channels)
        self.start = nn.Linear(c.condition, c.channels)
        self.decoder = DensityTrunk(c.basis, layers=c.decoder_layers, **sizes)
        self.readout = PairReadout(c.basis, channels=c.channels, filters=c.filters, vectors=c.vectors)
        self.strain_readout = StrainReadout(c.basis, channels=c.channels, filters=c.filters, vectors=c.vectors)
        self.volumes = VolumeBaseline()
        self.lattice_transform = LatticeTransform()
        self.register_buffer("energy_mean", torch.zeros(()))
        self.register_buffer("energy_std", torch.ones(()))

    @property
    def within_groups(self) -> SymmetricDecoder:
        return self

    def encode(self, batch: CrystalBatch) -> tuple[Tensor, Tensor]:
        mu = batch.lattice.new_zeros(batch.n_crystals, self.latent_dim)
        logvar = torch.zeros_like(mu)
        for groups in _together(batch.by_size()):
            every = torch.cat([rows for _, rows, _ in groups])
            mu[every], logvar[every] = self._encode([_cells(batch, *group) for group in groups], exact=True)
        return mu, logvar

    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        if len(z) != len(compositions):
            raise ConfigError(f"decoding needs one composition per latent, not {len(compositions)} for {len(z)}.")
        sizes = torch.tensor([c.n_atoms for c in compositions], dtype=torch.long)
        crystals: list[Crystal | None] = [None] * len(compositions)
        for size in torch.unique(sizes).tolist():
            rows = torch.nonzero(sizes == size).squeeze(1).tolist()
            numbers = torch.stack([torch.from_numpy(compositions[row].expand()) for row in rows]).to(z.device)
            for row, crystal in zip(rows, self._decode(z[rows], numbers, generator), strict=True):
                crystals[row] = crystal
        return crystals

    def energy_model(self) -> EnergyHead:
        head = EnergyHead(self.latent_dim, self.config.condition, HEAD_CHANNELS)
        given, names = self.state_dict(), head.state_dict()
        head.load_state_dict({name: given[name] for name in names})
        return head

    def losses(self, batch: CrystalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        for size, crystals, atoms in batch.by_size():
            energy = None if batch.formation_energy is None else batch.formation_energy[crystals]
            parts = self._losses(
                batch.frac_coords[atoms].view(-1, size, 3),
                batch.lattice[crystals],
                batch.atomic_numbers[atoms].view(-1, size),
                energy,
                generator,
            )
            share = len(crystals) / batch.n_crystals
            for name, value in parts.items():
                totals[name] = totals.get(name, value.new_zeros(())) + share * value
        return totals

    def losses_of_energies(self, batch: CrystalBatch) -> dict[str, Tensor]:
        """Return the losses of the energies alone, in float32: crystals may differ in size within a composition.

        Crystals without an energy do not count.
        """
        groups = list(batch.by_size())
        mu, _ = self._encode([_cells(batch, *group) for group in groups], exact=True)
        rows = torch.cat([rows for _, rows, _ in groups])
        features = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)[rows]
        assert batch.formation_energy is not None
        return self._energy_losses(mu, features, batch.formation_energy[rows])

    @torch.no_grad()
    def fit_statistics(self, batch: CrystalBatch) -> None:
        """Set the scales of lattices and energies from training crystals."""
        lattice, numbers = batch.lattice.double(), batch.atomic_numbers
        volumes = torch.zeros(batch.n_crystals, dtype=torch.float64)
        volumes.index_add_(0, batch.crystal_idx, self.volumes.atomic_volumes.double()[numbers - 1])
        self.lattice_transform.fit(lattice, volumes)
        if batch.formation_energy is not None:
            known = batch.formation_energy[~batch.formation_energy.isnan()]
            if len(known) > 1:
                self.energy_mean.copy_(known.mean())
                self.energy_std.copy_(known.std().clamp_min(1e-3))

    @property
    def _sampler(self) -> Sampler:
        return Sampler(self.denoise_groups, self._encode_groups, self.config)

    def _autocast(self, mixed: bool) -> torch.autocast:
        return torch.autocast(self.energy_mean.device.type, torch.bfloat16, enabled=mixed)

    def _densities(self, frac_coords: Tensor, lattice: Tensor, mixed: bool) -> Densities:
        summed = differentiable_densities if frac_coords.requires_grad else densities
        g = summed(frac_coords, lattice, self.config.basis)
        return g.to(torch.bfloat16) if mixed else g

    def _composition(self, numbers: Int[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        return self.embed_composition(_fractions(numbers))

    def _cell_volume(self, numbers: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
        return self.volumes.atomic_volumes[numbers - 1].sum(1)

    def _encode(self, groups: Sequence[Cells], *, exact: bool = False) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latents of all crystals, group by group; exact: in float32 throughout."""
        mixed = self.mixed and not exact
        g = [self._densities(cells.frac_coords, cells.lattice, mixed) for cells in groups]
        composition = torch.cat([self._composition(cells.numbers) for cells in groups])
        numbers = torch.cat([cells.numbers.flatten() for cells in groups])
        with self._autocast(mixed):
            h, _ = self.encoder(self.embed(numbers), g, composition)
        h = self.encoder_norm(h.float())
        means = torch.cat([mean_over_atoms(h, g), mean_over_atoms(h.square(), g)], -1)
        mu, logvar = self.to_latent(means).chunk(2, -1)
        return mu, clamp_logvar(logvar)

    def _encode_groups(self, groups: Sequence[Cells]) -> list[tuple[Tensor, Tensor]]:
        """Return mean and log-variance of the latents of each group."""
        sizes = [len(cells.lattice) for cells in groups]
        mu, logvar = (t.split(sizes) for t in self._encode(groups))
        return list(zip(mu, logvar, strict=True))

    def _lattice_vector(self, z: Tensor, numbers: Tensor) -> Float[Tensor, "b 6"]:
        return self.lattice_head(torch.cat([z, self._composition(numbers), size_feature(numbers)], -1))

    def _energy_losses(
        self, mu: Float[Tensor, "b latent"], fractions: Float[Tensor, "b 103"], energy: Float[Tensor, " b"]
    ) -> dict[str, Tensor]:
        """Return the losses of the energy head on mean latents, with their weighted sum; energies in eV/atom."""
        known = ~energy.isnan()
        told = self.energy_head(torch.cat([mu, self.embed_composition(fractions)], -1)).squeeze(-1)[known]
        error = told - (energy[known] - self.energy_mean) / self.energy_std
        total, differences = (x / len(energy) for x in energy_losses(error, composition_labels(fractions[known])))
        loss = self.config.energy_weight * total + self.config.difference_weight * differences
        return {"loss": loss, "energy": total, "difference": differences}

    def denoise(
        self,
        z: Float[Tensor, "b latent"],
        frac_coords: Float[Tensor, "b n 3"],
        lattice: Float[Tensor, "b 3 3"],
        numbers: Int[Tensor, "b n"],
        sigma: Float[Tensor, " b"],
    ) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"]]:
        """Return predicted displacements (angstrom) of atoms to their clean sites, and the strain to the clean cell.

        The displacements have no net translation. The clean lattice is lattice @ (1 + strain).
        """
        [told] = self.denoise_groups([NoisyCells(z, frac_coords, lattice, numbers, sigma)])
        return told

    def denoise_groups(self, groups: Sequence[NoisyCells]) -> list[tuple[Tensor, Tensor]]:
        """Return displacements and strains of each group, as `denoise`, computed at once."""
        g = [self._densities(some.frac_coords, some.lattice, self.mixed) for some in groups]
        sigma = torch.cat([some.sigma for some in groups])
        condition = self._condition(groups, sigma)
        h = self.embed_site(torch.cat([some.numbers.flatten() for some in groups])) + to_atoms(self.start(condition), g)
        with self._autocast(self.mixed):
            h, v = self.decoder(h, g, condition)
            moves = self.readout(h, v, g).float().view(-1, 3)
            strain = self.strain_readout(h, v, g).float()
        moves = (moves - to_atoms(mean_over_atoms(moves, g), g)) * to_atoms(self.config.noise.scale(sigma)[:, None], g)
        strains = (strain * STRAIN_SCALE).split([len(some.sigma) for some in groups])
        return list(zip(by_group(moves, g), strains, strict=True))

    def _condition(self, groups: Sequence[NoisyCells], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b condition"]:
        """Return all that the denoiser knows of the crystals of all groups in addition to their atoms."""
        cells = [self.lattice_transform(some.lattice, self._cell_volume(some.numbers)) for some in groups]
        known = [
            torch.cat([some.z for some in groups]),
            torch.cat([self._composition(some.numbers) for some in groups]),
            torch.cat([size_feature(some.numbers) for some in groups]),
            torch.cat(cells),
            waves(sigma),
        ]
        return self.to_condition(torch.cat(known, -1))

    def _losses(
        self, frac_coords: Tensor, lattice: Tensor, numbers: Tensor, energy: Tensor | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        c = self.config
        clean = Cells(frac_coords, lattice, numbers)
        seen = [clean]
        if c.encoder_noise:
            seen = [
                clean._replace(frac_coords=noisy_positions(frac_coords, lattice, c.encoder_noise, generator)),
                clean,
            ]
        (mu, logvar), *others = self._encode_groups(seen)
        z = sample_latent(mu, logvar, generator)
        target = self.lattice_transform(lattice, self._cell_volume(numbers))
        coord, strain = denoising_losses(self.denoise, c, z, frac_coords, lattice, numbers, generator)
        parts = {
            "coord": coord,
            "strain": strain,
            "lattice": functional.smooth_l1_loss(self._lattice_vector(z, numbers), target, beta=0.1) * 2,
            "kl": kl_divergence(mu, logvar),
        }
        loss = parts["coord"] + c.strain_weight * parts["strain"]
        loss = loss + c.lattice_weight * parts["lattice"] + c.kl_weight * parts["kl"]
        for other in others:
            parts["consistency"] = kl_divergence(mu, logvar, other)
            loss = loss + c.consistency_weight * parts["consistency"]
        if energy is not None:
            mean = others[0][0] if others else mu  # of the undisplaced crystal
            of_energies = self._energy_losses(mean, _fractions(numbers), energy)
            loss = loss + of_energies.pop("loss")
            parts |= of_energies
        return {"loss": loss, **parts}

    def _decode(self, z: Tensor, numbers: Tensor, generator: torch.Generator) -> list[Crystal | None]:
        samples = self.config.samples_for(numbers.shape[1])
        z, numbers = z.repeat_interleave(samples, 0), numbers.repeat_interleave(samples, 0)
        lattice, valid = self.lattice_transform.to_lattice(self._lattice_vector(z, numbers), self._cell_volume(numbers))
        frac_coords = torch.rand((*numbers.shape, 3), generator=generator).to(z.device)
        crystals, distance = self._sampler.sample(z, numbers, frac_coords, lattice, generator)
        distance = torch.where(valid.cpu(), distance, torch.inf).view(-1, samples)
        best = distance.argmin(1) + samples * torch.arange(len(distance))
        return [crystals[row] if valid[row] else None for row in best.tolist()]

    @torch.no_grad()
    def predict_lattices(
        self, z: Float[Tensor, "n latent"], compositions: Sequence[Composition]
    ) -> Float[Tensor, "n 3 3"]:
        """Return the lattice that the head predicts from each latent; NaN where it is not a valid cell."""
        found = torch.full((len(z), 3, 3), torch.nan)
        for row, composition in enumerate(compositions):
            numbers = torch.from_numpy(composition.expand())[None].to(z.device)
            vector = self._lattice_vector(z[row : row + 1], numbers)
            lattice, valid = self.lattice_transform.to_lattice(vector, self._cell_volume(numbers))
            if valid[0]:
                found[row] = lattice[0].cpu()
        return found

    @torch.no_grad()
    def decode_within(
        self,
        z: Float[Tensor, "n latent"],
        starts: Sequence[GroupStart],
        generator: torch.Generator,
        known_to: float,
        *,
        keep_lattices: bool = False,
    ) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        sampler = self._sampler
        if keep_lattices:
            sampler = replace(sampler, config=replace(self.config, strain_below=0.0))
        return sampler.within(z, starts, generator, known_to)

    def refine(
        self, z: Float[Tensor, "n latent"], crystals: Sequence[Crystal]
    ) -> tuple[list[Crystal], Float[Tensor, " n"]]:
        return refine_crystals(lambda cells: self._encode([cells], exact=True)[0], z, crystals)


Group = tuple[int, Tensor, Tensor]
"""Number of atoms of each crystal, and indices of crystals and of atoms in the batch."""


def _together(groups: Iterable[Group]) -> Iterator[list[Group]]:
    """Yield the groups of crystals that are encoded at once, `AT_ONCE` atoms or a few more."""
    some: list[Group] = []
    for group in groups:
        some.append(group)
        if sum(len(atoms) for _, _, atoms in some) >= AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _cells(batch: CrystalBatch, n: int, rows: Int[Tensor, " b"], atoms: Int[Tensor, " b_n"]) -> Cells:
    """Return a group of crystals of n atoms, from their rows and those of their atoms."""
    return Cells(batch.frac_coords[atoms].view(-1, n, 3), batch.lattice[rows], batch.atomic_numbers[atoms].view(-1, n))


def _fractions(numbers: Int[Tensor, "b n"]) -> Float[Tensor, "b 103"]:
    return functional.one_hot(numbers - 1, N_ELEMENTS).float().mean(1)
