"""Noise levels of the fast preset and its annealed few-step sampler, free or within space groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.structure.wyckoff import SymmetricCell

CHURN_END = 0.15  # angstrom; below it noise would only blur
MAX_STRAIN = 0.15  # an element of the strain in one step of the sampler; a cell is never that far off
MAX_TOTAL_STRAIN = 0.4  # norm; steps that would take a cell further are left out, so that no cell collapses


@dataclass(frozen=True)
class NoiseSchedule:
    """Noise between two levels, in training uniform in the logarithm below and above a middle level.

    Attributes:
        sigma_min: angstrom.
        sigma_mid: angstrom; below it atoms know where they belong.
        share_below: share of the training samples below sigma_mid.
        sigma_max: angstrom; atoms are all over the cell by then.
        cap: angstrom; displacements to the nearest site do not grow much beyond it.
    """

    sigma_min: float = 0.05
    sigma_mid: float = 0.4
    share_below: float = 0.25
    sigma_max: float = 4.0
    cap: float = 0.8

    def scale(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Typical displacement (angstrom) to the nearest clean site at noise sigma."""
        return sigma / torch.sqrt(1 + (sigma / self.cap) ** 2)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Random levels for training."""
        low, mid, high = log(self.sigma_min), log(self.sigma_mid), log(self.sigma_max)
        at = torch.rand(n, generator=generator)
        below = low + (mid - low) * at / self.share_below
        above = mid + (high - mid) * (at - self.share_below) / (1 - self.share_below)
        return torch.exp(torch.where(at < self.share_below, below, above))

    def levels(self, steps: int) -> Float[Tensor, " steps"]:
        """Descending levels from sigma_max to sigma_min, geometric."""
        return torch.logspace(log(self.sigma_max), log(self.sigma_min), steps, base=exp(1))


def random_strains(n: int, sizes: tuple[float, float], generator: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Symmetric strains whose standard deviation is drawn between two sizes, uniform in the logarithm."""
    low, high = log(sizes[0]), log(sizes[1])
    size = torch.exp(low + (high - low) * torch.rand(n, generator=generator))
    strain = torch.randn((n, 3, 3), generator=generator) * size[:, None, None]
    return (strain + strain.transpose(1, 2)) / 2


Denoiser = Callable[
    [Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"], Float[Tensor, " b"]],
    tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"]],
]
"""(fractional coordinates, lattice, sigma) to displacements (angstrom) and the strain that the cell lacks."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Space groups that crystals are kept in: averages over the group, of displacements and of metric tensors."""

    displacements: Float[Tensor, "b m m"]
    metrics: Float[Tensor, "b 9 9"]

    @classmethod
    def of(cls, cells: Sequence[SymmetricCell]) -> Symmetry:
        """That of cells with equally many atoms."""
        averages = (np.stack([getattr(c, name) for c in cells]) for name in ("projector", "metric_projector"))
        return cls(*(torch.from_numpy(average).float() for average in averages))

    def kept(self, moves: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """The part of displacements, in fractional coordinates, that keeps the symmetry."""
        return torch.bmm(self.displacements, moves.flatten(1)[..., None]).view_as(moves)

    def averaged(self, lattice: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 3"]:
        """The lattices that the groups allow, turned so that they are lower triangular; NaN where none is near."""
        metric = (lattice @ lattice.transpose(1, 2)).flatten(1)
        lower, failed = torch.linalg.cholesky_ex(torch.bmm(self.metrics, metric[..., None]).view(-1, 3, 3))
        return torch.where((failed == 0)[:, None, None], lower, torch.nan)


def anneal(
    denoise: Denoiser,
    frac_coords: Float[Tensor, "b n 3"],
    lattice: Float[Tensor, "b 3 3"],
    schedule: NoiseSchedule,
    *,
    steps: int,
    generator: torch.Generator | None = None,
    churn: float = 0.0,
    strain_below: float = 0.0,
    symmetry: Symmetry | None = None,
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"]]:
    """Annealing: at each level every atom goes the part of its way that the level loses in scale.

    The last step goes the whole way and adds nothing, so the result carries no residual noise.

    Args:
        frac_coords: where the atoms start, usually anywhere.
        generator: draws the noise that `churn` adds.
        churn: noise added before a step, as a share of its level, down to CHURN_END (Karras et al. 2022).
        strain_below: angstrom; from this level down each step also strains the cell as the denoiser says.
        symmetry: that crystals have and keep. Lattices must be lower triangular then, as they come out.

    Returns:
        Fractional coordinates in [0, 1), and lattices.
    """
    first = torch.linalg.inv(lattice)
    levels = schedule.levels(steps).to(frac_coords.device)
    added = torch.where(levels > CHURN_END, churn * levels, 0.0)
    added[0] = 0.0
    raised = torch.sqrt(levels.square() + added.square())
    now, then = schedule.scale(raised), torch.cat([schedule.scale(levels[1:]), levels.new_zeros(1)])
    for level, noise, share in zip(raised, added, 1 - then / now, strict=True):
        inverse = torch.linalg.inv(lattice)
        if noise > 0:
            random = torch.randn(frac_coords.shape, generator=generator).to(frac_coords.device)
            noise_moves = random * noise @ inverse
            frac_coords = frac_coords + (noise_moves if symmetry is None else symmetry.kept(noise_moves))
        moves, strain = denoise(frac_coords, lattice, level.expand(len(frac_coords)))
        moves = moves @ inverse
        frac_coords = frac_coords + share * (moves if symmetry is None else symmetry.kept(moves))
        if level <= strain_below:
            strained = lattice + lattice @ strain.nan_to_num(0.0).clamp(-MAX_STRAIN, MAX_STRAIN)
            if symmetry is not None:
                strained = symmetry.averaged(strained)
            off = torch.linalg.matrix_norm(first @ strained - torch.eye(3, device=lattice.device))
            lattice = torch.where((off < MAX_TOTAL_STRAIN)[:, None, None], strained, lattice)
    return frac_coords % 1.0, lattice
