"""Decoding of latents by the fast preset: atoms and cells are annealed, freely or within a space group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.errors import CrystalError
from lcoms.models.base import GroupStart
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_loss import Denoise
from lcoms.models.schedule import Symmetry, anneal
from lcoms.structure.crystal import Crystal

AT_ONCE = 1536  # atoms per network call while decoding, so that intermediate results fit into the processor's caches


@dataclass(frozen=True)
class Sampler:
    """Networks and configuration for decoding crystals.

    Attributes:
        encode: maps coordinates, lattices and atomic numbers to mean and log-variance of latents.
    """

    denoise: Denoise
    encode: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    config: FastConfig

    def sample(
        self,
        z: Tensor,
        numbers: Tensor,
        frac_coords: Tensor,
        lattice: Tensor,
        generator: torch.Generator,
        symmetry: Symmetry | None = None,
        *,
        sigma_max: float | None = None,
    ) -> tuple[list[Crystal | None], Float[Tensor, " b"]]:
        """Return crystals annealed from the given positions, and the distances of their latents from the given ones."""
        noise = self.config.noise
        frac_coords, lattice = anneal(
            lambda x, cell, sigma: in_pieces(self.denoise, numbers.shape[1], z, x, cell, numbers, sigma),
            frac_coords,
            lattice,
            noise if sigma_max is None else replace(noise, sigma_max=sigma_max),
            steps=self.config.steps,
            generator=generator,
            churn=self.config.churn,
            strain_below=self.config.strain_below,
            symmetry=symmetry,
        )
        finite = frac_coords.isfinite().all((1, 2)) & lattice.isfinite().all((1, 2))
        lattice = torch.where(finite[:, None, None], lattice, torch.eye(3, device=z.device))
        frac_coords = torch.where(finite[:, None, None], frac_coords, 0.0)
        mu, _ = in_pieces(self.encode, numbers.shape[1], frac_coords, lattice, numbers)
        distance = torch.where(finite, torch.linalg.norm(mu - z, dim=-1), torch.inf).cpu()
        lattice, frac_coords, numbers = lattice.cpu(), frac_coords.cpu(), numbers.cpu()
        crystals = [
            _crystal(lattice[row], frac_coords[row], numbers[row]) if finite[row] else None for row in range(len(z))
        ]
        return crystals, distance

    def within(
        self, z: Float[Tensor, "n latent"], starts: Sequence[GroupStart], generator: torch.Generator, known_to: float
    ) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        """Sample within space groups; see `FastCDVAE.decode_within`."""
        crystals: list[Crystal | None] = [None] * len(starts)
        distances = torch.full((len(starts),), torch.inf)
        kinds = np.array([(len(start.cell.atomic_numbers), start.coords is not None) for start in starts])
        for kind in np.unique(kinds.reshape(-1, 2), axis=0):
            rows = np.flatnonzero((kinds == kind).all(1)).tolist()
            some = [starts[row] for row in rows]
            frac_coords = torch.stack([_placed(start, generator) for start in some]).to(z.device)
            numbers = torch.from_numpy(np.stack([start.cell.atomic_numbers for start in some])).to(z.device)
            lattices = torch.from_numpy(np.array([start.lattice for start in some])).float().to(z.device)
            found, distances[rows] = self.sample(
                z[rows],
                numbers,
                frac_coords,
                lattices,
                generator,
                Symmetry.of([start.cell for start in some], z.device),
                sigma_max=known_to if kind[1] else None,
            )
            for row, crystal in zip(rows, found, strict=True):
                crystals[row] = crystal
        return crystals, distances


def in_pieces(network: Callable[..., tuple[Tensor, Tensor]], n_atoms: int, *rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the network's outputs for all rows, computed in chunks of about `AT_ONCE` atoms."""
    pieces = [network(*piece) for piece in zip(*(t.split(max(1, AT_ONCE // n_atoms)) for t in rows), strict=True)]
    first, second = zip(*pieces, strict=True)
    return torch.cat(first), torch.cat(second)


def _placed(start: GroupStart, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    """Return fractional coordinates; free ones are as given, or random where none are given."""
    cell, coords = start.cell, start.coords
    free = torch.rand(cell.n_free, generator=generator, dtype=torch.float64).numpy() if coords is None else coords
    return torch.from_numpy(cell.shifts + cell.directions @ free).float()


def _crystal(lattice: Tensor, frac_coords: Tensor, numbers: Tensor) -> Crystal | None:
    try:
        return Crystal(lattice.double().numpy(), frac_coords.double().numpy(), numbers.numpy())
    except CrystalError:
        return None
