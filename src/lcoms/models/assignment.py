"""Which atom goes where: same-species assignment between noise and data, free of a common translation."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lcoms.nn.geometry import nearest_displacements

FORBIDDEN = 1e6


@torch.no_grad()
def assigned_displacements(
    noisy: Float[Tensor, "b n 3"],
    clean: Float[Tensor, "b n 3"],
    lattice: Float[Tensor, "b 3 3"],
    atomic_numbers: Int[Tensor, "b n"],
    *,
    rounds: int,
) -> Float[Tensor, "b n 3"]:
    """Cartesian moves (angstrom) that take each noisy atom to a clean site of its species.

    The sum of squared moves is minimised over permutations within a species and, alternately, over a translation of
    the whole crystal; the moves returned have no common translation. Coordinates are fractional.

    Args:
        rounds: how often permutation and translation are optimised in turn; 0 keeps the order of atoms given.
    """
    n = noisy.shape[1]
    moves = nearest_displacements(noisy, clean, lattice)
    order = torch.arange(n, device=noisy.device).expand(len(noisy), n)
    translation = noisy.new_zeros(len(noisy), 3)
    inverse = torch.linalg.inv(lattice)
    other = (atomic_numbers[:, :, None] != atomic_numbers[:, None, :]) * FORBIDDEN
    chosen = _pick(moves, order)
    for _ in range(rounds):
        cost = (moves.square().sum(-1) + other).cpu().numpy()
        order = torch.from_numpy(np.stack([linear_sum_assignment(c)[1] for c in cost])).to(noisy.device)
        chosen = _pick(moves, order)
        translation = translation - chosen.mean(1)
        shifted = clean + torch.einsum("bc,bcd->bd", translation, inverse)[:, None, :]
        moves = nearest_displacements(noisy, shifted, lattice)
        chosen = _pick(moves, order)
    return chosen - chosen.mean(1, keepdim=True)


def _pick(moves: Float[Tensor, "b n n 3"], order: Int[Tensor, "b n"]) -> Float[Tensor, "b n 3"]:
    return torch.gather(moves, 2, order[:, :, None, None].expand(-1, -1, 1, 3)).squeeze(2)
