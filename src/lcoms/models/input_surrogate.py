"""The conservative model in input space: descent and losses in lattice and coordinates instead of latents.

A MEGNet whose edges fade out (`MegnetConfig.smooth`) gives an energy that is differentiable in lattice and coordinates.
One step moves every atom by -eta dE/dr and strains the cell by -eta dE/d(strain) / (n l^2), where E is the energy of
the cell, n its number of atoms and l the cube root of the volume per atom. A supercell thus moves as its cell does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError
from lcoms.models.conservative import ConservativeLosses
from lcoms.models.megnet import Megnet
from lcoms.models.surrogate import AdversaryConfig
from lcoms.nn.distance_graph import DistanceGraph, distance_graph
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.neighbors import row_products


@dataclass(frozen=True)
class InputConservatism(AdversaryConfig):
    """How the model is kept from underestimating energies along descent.

    Attributes:
        mode: off gives plain regression.
        step_size: eta, in square angstrom: energies are in units of the training energies' standard deviation.
        max_move: largest move of an atom in one step, in angstrom; strains are limited accordingly.
        noise: standard deviation of the adversary's first random moves, in angstrom; without it, symmetric crystals
            stay symmetric.
        tau: how far the adversary may lower the energy per atom, in the same unit of energy.
    """

    mode: Literal["on", "off"] = "off"
    step_size: float = 0.05
    max_move: float = 0.2
    noise: float = 0.05
    tau: float = 0.1

    def __post_init__(self) -> None:
        if self.mode not in ("on", "off"):
            raise ConfigError(f"conservatism must be on or off, not {self.mode!r}.")
        require(
            self,
            "conservatism",
            at_least_one=["inner_steps"],
            positive=["step_size", "max_move", "initial_alpha", "alpha_learning_rate"],
            not_negative=["noise"],
        )


def deformed(
    batch: CrystalBatch, moves: Float[Tensor, "n_atoms 3"], strain: Float[Tensor, "n_crystals 3 3"]
) -> CrystalBatch:
    """Return the batch with atoms moved by `moves` (angstrom), then atoms and cells strained: lattice (1 + strain)."""
    inverse = torch.linalg.inv(batch.lattice)[batch.crystal_idx]
    return batch.replace(
        frac_coords=batch.frac_coords + row_products(moves, inverse), lattice=batch.lattice + batch.lattice @ strain
    )


def energy_slopes(
    model: Megnet, batch: CrystalBatch
) -> tuple[Float[Tensor, " n_crystals"], Float[Tensor, "n_atoms 3"], Float[Tensor, "n_crystals 3 3"]]:
    """Return normalised energies per atom, and gradients of the cell's energy in positions (1/angstrom) and strain."""
    with torch.enable_grad():
        moves = torch.zeros_like(batch.frac_coords, requires_grad=True)
        strain = torch.zeros_like(batch.lattice, requires_grad=True)
        energy = model.normalised(distance_graph(deformed(batch, moves, strain), model.config.cutoff))
        by_moves, by_strain = torch.autograd.grad((energy * batch.n_atoms).sum(), (moves, strain))
    return energy.detach(), by_moves, (by_strain + by_strain.transpose(1, 2)) / 2


def descent_step(
    model: Megnet, batch: CrystalBatch, *, step_size: float, max_move: float
) -> tuple[CrystalBatch, Float[Tensor, " n_crystals"]]:
    """Take one gradient step with every crystal; return it detached, and the normalised energies per atom before it.

    A crystal whose gradients are not finite stays unchanged.
    """
    energy, by_moves, by_strain = energy_slopes(model, batch)
    sizes = batch.n_atoms.to(by_moves)
    length = (torch.linalg.det(batch.lattice).abs() / sizes) ** (1.0 / 3.0)
    moves = _limited(-step_size * by_moves, torch.full_like(by_moves[:, 0], max_move))
    strain = _limited(-step_size * by_strain / (sizes * length**2)[:, None, None], max_move / length)
    broken = ~strain.isfinite().all(dim=(1, 2))
    broken |= torch.bincount(batch.crystal_idx[~moves.isfinite().all(dim=1)], minlength=batch.n_crystals) > 0
    moves = torch.where(broken[batch.crystal_idx, None], 0.0, moves)
    strain = torch.where(broken[:, None, None], 0.0, strain)
    return deformed(batch, moves, strain), energy


def adversarial_crystals(
    model: Megnet, batch: CrystalBatch, config: InputConservatism, generator: torch.Generator
) -> CrystalBatch:
    """Return the crystals to which descent leads from the randomly displaced data; no gradient passes through it."""
    noise = torch.randn(batch.frac_coords.shape, generator=generator).to(batch.frac_coords) * config.noise
    batch = deformed(batch, noise, torch.zeros_like(batch.lattice))
    for _ in range(config.inner_steps):
        batch, _ = descent_step(model, batch, step_size=config.step_size, max_move=config.max_move)
    return batch


def input_losses(
    model: Megnet,
    graph: DistanceGraph,
    batch: CrystalBatch,
    targets: Float[Tensor, " n_crystals"],
    log_alpha: Float[Tensor, ""],
    config: InputConservatism,
    generator: torch.Generator,
) -> ConservativeLosses:
    """Return the losses of `conservative_losses`, with crystals in place of latents.

    Args:
        graph: graph of the data; may be merged.
        batch: the same crystals with their coordinates.
        targets: normalised energies per atom.
    """
    adversary = distance_graph(adversarial_crystals(model, batch, config, generator), model.config.cutoff)
    energies = model.normalised(graph)[None]
    return ConservativeLosses.of(energies, model.normalised(adversary), targets, log_alpha, tau=config.tau)


def _limited(values: Tensor, limit: Tensor) -> Tensor:
    """Return rows or matrices scaled down where their norm exceeds the limit."""
    length = values.flatten(1).norm(dim=1)
    factor = (limit / length.clamp_min(1e-12)).clamp_max(1.0)
    return values * factor.view(-1, *[1] * (values.dim() - 1))
