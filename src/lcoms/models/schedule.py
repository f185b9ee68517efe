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

CHURN_END = 0.15  # angstrom; below it added noise would only blur the atoms
MAX_STRAIN = 0.15  # largest element of the strain in one step of the sampler; no cell is that far off
MAX_TOTAL_STRAIN = 0.4  # norm; steps that would strain a cell further are skipped, so that no cell collapses


@dataclass(frozen=True)
class NoiseSchedule:
    """Noise levels between two limits; in training log-uniform below and above a middle level.

    Attributes:
        sigma_min: angstrom.
        sigma_mid: angstrom; below it the site of each atom is clear.
        share_below: fraction of the training samples below sigma_mid.
        sigma_max: angstrom; at this level atoms are spread over the whole cell.
        cap: angstrom; displacements to the nearest site hardly grow beyond it.
    """

    sigma_min: float = 0.05
    sigma_mid: float = 0.4
    share_below: float = 0.25
    sigma_max: float = 4.0
    cap: float = 0.8

    def scale(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the typical displacement (angstrom) to the nearest clean site at noise sigma."""
        return sigma / torch.sqrt(1 + (sigma / self.cap) ** 2)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Return random levels for training."""
        low, mid, high = log(self.sigma_min), log(self.sigma_mid), log(self.sigma_max)
        at = torch.rand(n, generator=generator)
        below = low + (mid - low) * at / self.share_below
        above = mid + (high - mid) * (at - self.share_below) / (1 - self.share_below)
        return torch.exp(torch.where(at < self.share_below, below, above))

    def levels(self, steps: int) -> Float[Tensor, " steps"]:
        """Return levels that fall geometrically from sigma_max to sigma_min."""
        return torch.logspace(log(self.sigma_max), log(self.sigma_min), steps, base=exp(1))


def random_strains(n: int, sizes: tuple[float, float], generator: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Return symmetric strains whose standard deviation is drawn log-uniformly between two sizes."""
    low, high = log(sizes[0]), log(sizes[1])
    size = torch.exp(low + (high - low) * torch.rand(n, generator=generator))
    strain = torch.randn((n, 3, 3), generator=generator) * size[:, None, None]
    return (strain + strain.transpose(1, 2)) / 2


Denoiser = Callable[
    [Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"], Float[Tensor, " b"]],
    tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"]],
]
"""Maps (fractional coordinates, lattice, sigma) to displacements (angstrom) and the strain to the clean cell."""
GroupDenoiser = Callable[[Sequence[tuple[Tensor, Tensor, Tensor]]], Sequence[tuple[Tensor, Tensor]]]
"""The same for several groups of crystals; those of one group have equal numbers of atoms."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Space groups in which crystals are kept: projectors that average displacements and metric tensors over them."""

    displacements: Float[Tensor, "b m m"]
    metrics: Float[Tensor, "b 9 9"]

    @classmethod
    def of(cls, cells: Sequence[SymmetricCell], device: torch.device | str = "cpu") -> Symmetry:
        """Return the projectors of cells with equal numbers of atoms."""
        averages = (np.stack([getattr(c, name) for c in cells]) for name in ("projector", "metric_projector"))
        return cls(*(torch.from_numpy(average).float().to(device) for average in averages))

    def kept(self, moves: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """Return the symmetry-preserving part of displacements in fractional coordinates."""
        return torch.bmm(self.displacements, moves.flatten(1)[..., None]).view_as(moves)

    def averaged(self, lattice: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 3"]:
        """Return lattices averaged over the groups, rotated to lower triangular form; NaN where they are degenerate."""
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
    """Anneal atoms and cells of crystals of equal size; arguments as for `Annealing`.

    Returns:
        Fractional coordinates in [0, 1), and lattices.
    """
    group = Annealing(
        frac_coords,
        lattice,
        schedule.levels(steps),
        schedule.scale,
        generator=generator,
        churn=churn,
        strain_below=strain_below,
        symmetry=symmetry,
    )
    anneal_together(lambda asked: [denoise(*one) for one in asked], [group])
    return group.found


def anneal_together(denoise: GroupDenoiser, groups: Sequence[Annealing]) -> None:
    """Anneal groups of crystals step by step, with one call of the denoiser for all groups in each step.

    All groups must have the same number of steps.
    """
    for step in range(groups[0].n_steps if groups else 0):
        told = denoise([group.noisy(step) for group in groups])
        for group, (moves, strain) in zip(groups, told, strict=True):
            group.move(step, moves, strain)


class Annealing:
    """Crystals of equal size that are annealed.

    Each step covers the part of the predicted move by which the level's scale decreases. The last step covers the whole
    move and adds nothing, so the result carries no residual noise. All random numbers are drawn at once, so that they
    do not depend on what else is annealed.

    Args:
        frac_coords: start of the atoms, usually random.
        levels: noise levels, angstrom.
        scale: typical displacement (angstrom) at a noise level.
        generator: source of the noise that `churn` adds.
        churn: noise added before a step, as a fraction of its level, down to CHURN_END (Karras et al. 2022).
        strain_below: angstrom; at and below this level each step also applies the strain predicted by the denoiser.
        symmetry: symmetry that the crystals have and keep; lattices must then be lower triangular, and stay so.
    """

    def __init__(
        self,
        frac_coords: Float[Tensor, "b n 3"],
        lattice: Float[Tensor, "b 3 3"],
        levels: Float[Tensor, " steps"],
        scale: Callable[[Tensor], Tensor],
        *,
        generator: torch.Generator | None,
        churn: float,
        strain_below: float,
        symmetry: Symmetry | None,
    ) -> None:
        levels = levels.to(frac_coords.device)
        added = torch.where(levels > CHURN_END, churn * levels, 0.0)
        added[0] = 0.0
        self._levels = torch.sqrt(levels.square() + added.square())
        now, then = scale(self._levels), torch.cat([scale(levels[1:]), levels.new_zeros(1)])
        self._shares = 1 - then / now
        self._noise = [
            torch.randn(frac_coords.shape, generator=generator).to(frac_coords.device) * noise if noise > 0 else None
            for noise in added
        ]
        self._strain_below, self._symmetry = strain_below, symmetry
        self._frac_coords, self._lattice = frac_coords, lattice
        self._first = torch.linalg.inv(lattice)

    @property
    def n_steps(self) -> int:
        return len(self._levels)

    @property
    def found(self) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"]]:
        """Fractional coordinates in [0, 1), and lattices."""
        return self._frac_coords % 1.0, self._lattice

    def noisy(self, step: int) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"], Float[Tensor, " b"]]:
        """Add the noise of a step; return fractional coordinates, lattices and noise levels for the denoiser."""
        noise = self._noise[step]
        if noise is not None:
            self._frac_coords = self._frac_coords + self._kept(noise @ torch.linalg.inv(self._lattice))
        return self._frac_coords, self._lattice, self._levels[step].expand(len(self._frac_coords))

    def move(self, step: int, moves: Float[Tensor, "b n 3"], strain: Float[Tensor, "b 3 3"]) -> None:
        """Move the atoms, and strain the cells, as the denoiser told."""
        lattice = self._lattice
        kept = self._kept(moves @ torch.linalg.inv(lattice))
        self._frac_coords = self._frac_coords + self._shares[step] * kept
        if self._levels[step] <= self._strain_below:
            strained = lattice + lattice @ strain.nan_to_num(0.0).clamp(-MAX_STRAIN, MAX_STRAIN)
            if self._symmetry is not None:
                strained = self._symmetry.averaged(strained)
            off = torch.linalg.matrix_norm(self._first @ strained - torch.eye(3, device=lattice.device))
            self._lattice = torch.where((off < MAX_TOTAL_STRAIN)[:, None, None], strained, lattice)

    def _kept(self, moves: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        return moves if self._symmetry is None else self._symmetry.kept(moves)
