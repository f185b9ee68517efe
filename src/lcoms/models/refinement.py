"""Refinement of crystals: atoms and cells move along the gradient of the distance of their latents from given ones.

A decode is near the crystal that was encoded, but not exactly on it. The step lengths are those of Barzilai & Borwein
(1988), one for each crystal, so the refinement neither depends on the orientation of the crystal nor breaks its
symmetry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.errors import CrystalError
from lcoms.models.fast_decode import AT_ONCE
from lcoms.models.fast_layers import Cells
from lcoms.structure.crystal import Crystal

STRAIN_LENGTH = 2.0  # angstrom by which strains are multiplied, so that they change the latent as much as displacements
FIRST_STEP = 0.02  # norm, angstrom
LARGEST_STEP = 0.15
WORSE = 1.5  # squared distance over the smallest one, above which a step is taken back
SHORTER = 0.3  # length of a step that is tried again

Encode = Callable[[Tensor, Tensor], Tensor]
"""Maps fractional coordinates and lattices to latents, with gradients."""


def refined(
    encode: Encode,
    z: Float[Tensor, "b latent"],
    frac_coords: Float[Tensor, "b n 3"],
    lattice: Float[Tensor, "b 3 3"],
    *,
    steps: int = 20,
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b 3 3"], Float[Tensor, " b"]]:
    """Return the crystals of smallest latent distance among those that the steps reach, and these distances."""
    n = frac_coords.shape[1]
    inverse, eye = torch.linalg.inv(lattice), torch.eye(3, dtype=lattice.dtype, device=lattice.device)

    def placed(moves: Float[Tensor, "b m"]) -> tuple[Tensor, Tensor]:
        strain = moves[:, 3 * n :].view(-1, 3, 3) / STRAIN_LENGTH
        atoms = moves[:, : 3 * n].view(-1, n, 3)
        return frac_coords + atoms @ inverse, lattice @ (eye + (strain + strain.transpose(1, 2)) / 2)

    moves = torch.zeros(len(z), 3 * n + 9, dtype=lattice.dtype, device=lattice.device)
    best, nearest = moves, torch.full_like(moves[:, 0], torch.inf)
    before: tuple[Tensor, Tensor] | None = None
    for _ in range(steps):
        squared, gradient = _squared_distance(lambda m: encode(*placed(m)), z, moves)
        better = squared < nearest
        best, nearest = torch.where(better[:, None], moves, best), torch.where(better, squared, nearest)
        length = FIRST_STEP / _norm(gradient) if before is None else _step_length(moves, gradient, *before)
        length = torch.minimum(length, LARGEST_STEP / _norm(gradient))
        before = moves, gradient
        ahead, back = moves - length[:, None] * gradient, best + SHORTER * (moves - best)
        moves = torch.where((squared > WORSE * nearest)[:, None], back, ahead)
    return *placed(best), nearest.sqrt()


def refine_crystals(
    encode: Callable[[Cells], Tensor], z: Float[Tensor, "n latent"], crystals: Sequence[Crystal]
) -> tuple[list[Crystal], Float[Tensor, " n"]]:
    """Return each crystal refined towards its latent, in the same cell, and the distances between latents.

    Where the refined positions or cell are not valid, the crystal stays as it is, and its distance is infinite.

    Args:
        encode: latents of crystals of equal size, with gradients.
    """

    def latents(numbers: Tensor, frac_coords: Tensor, lattice: Tensor) -> Tensor:
        return encode(Cells(frac_coords, lattice, numbers))

    found, distances = list(crystals), torch.full((len(crystals),), torch.inf)
    sizes = np.array([crystal.n_atoms for crystal in crystals], dtype=np.int64)
    for size in np.unique(sizes):
        for rows in torch.from_numpy(np.flatnonzero(sizes == size)).split(max(1, AT_ONCE // int(size))):
            some = [crystals[row] for row in rows.tolist()]
            numbers = torch.from_numpy(np.stack([crystal.atomic_numbers for crystal in some])).to(z.device)
            frac_coords, lattice, apart = refined(
                partial(latents, numbers),
                z[rows],
                torch.from_numpy(np.stack([crystal.frac_coords for crystal in some])).float().to(z.device),
                torch.from_numpy(np.stack([crystal.lattice for crystal in some])).float().to(z.device),
            )
            distances[rows] = apart.cpu()
            for row, x, cell in zip(rows.tolist(), frac_coords.cpu(), lattice.cpu(), strict=True):
                try:
                    found[row] = Crystal(cell.double().numpy(), x.double().numpy(), found[row].atomic_numbers)
                except CrystalError:
                    distances[row] = torch.inf
    return found, distances


def _squared_distance(
    encode: Callable[[Tensor], Tensor], z: Tensor, moves: Tensor
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b m"]]:
    with torch.enable_grad():
        at = moves.detach().requires_grad_(True)
        squared = (encode(at) - z).square().sum(-1)
        (gradient,) = torch.autograd.grad(squared.sum(), at)
    return squared.detach(), torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)


def _step_length(moves: Tensor, gradient: Tensor, moves_before: Tensor, gradient_before: Tensor) -> Float[Tensor, " b"]:
    """Return <s, s> / <s, y> of the changes s of the position and y of the gradient; infinite if these are opposed."""
    s, y = moves - moves_before, gradient - gradient_before
    curvature = (s * y).sum(1)
    return torch.where(curvature > 0, s.square().sum(1) / curvature.clamp_min(1e-12), torch.inf)


def _norm(gradient: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    return torch.linalg.norm(gradient, dim=1).clamp_min(1e-9)
