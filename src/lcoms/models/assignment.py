"""Assignment of noisy atoms to clean sites: the equivalent of the clean crystal that is nearest to the noisy one.

Permutations of atoms of a species, translations of the whole crystal and its inversion are equivalent: none of them
changes a latent. With the nearest equivalent as target, the target is nearly a function of the denoiser's input.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
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
    generator: torch.Generator,
    *,
    candidates: int,
) -> Float[Tensor, "b n 3"]:
    """Return Cartesian moves (angstrom), without net translation, of each noisy atom to a clean site of its species.

    The crystal as given and `candidates` equivalents of it are tried. Each equivalent is shifted so that a random atom
    of the scarcest species falls onto a noisy one, and every second one is inverted. Atoms are assigned so that the sum
    of squared moves is smallest (Hungarian algorithm), and the best is kept. Coordinates are fractional.
    """
    b = len(atomic_numbers)
    images = [clean] + [
        _equivalent(noisy, clean, atomic_numbers, generator, turn % 2 == 0) for turn in range(candidates)
    ]
    every = torch.stack(images, 1).flatten(0, 1)
    k = len(images)

    def repeated(t: Tensor) -> Tensor:
        return t.repeat_interleave(k, 0)

    moves, cost = _assign(repeated(noisy), every, repeated(lattice), repeated(atomic_numbers))
    best = cost.view(b, k).argmin(1) + k * torch.arange(b)
    chosen = moves[best]
    shift = chosen.mean(1, keepdim=True) @ torch.linalg.inv(lattice)
    chosen, _ = _assign(noisy, every[best] - shift, lattice, atomic_numbers)
    return chosen - chosen.mean(1, keepdim=True)


def _equivalent(
    noisy: Tensor, clean: Tensor, atomic_numbers: Tensor, generator: torch.Generator, inverted: bool
) -> Float[Tensor, "b n 3"]:
    """Return the clean crystal moved so that a random pair of atoms of the scarcest species coincides."""
    count = (atomic_numbers[:, :, None] == atomic_numbers[:, None, :]).sum(-1)
    scarce = (count == count.amin(1, keepdim=True)).float()
    rows = torch.arange(len(noisy))
    first = torch.multinomial(scarce, 1, generator=generator).squeeze(1)
    same = (atomic_numbers == atomic_numbers[rows, first][:, None]).float()
    second = torch.multinomial(same, 1, generator=generator).squeeze(1)
    source = -clean if inverted else clean
    return source + (noisy[rows, first] - source[rows, second])[:, None, :]


def _assign(
    noisy: Tensor, clean: Tensor, lattice: Tensor, atomic_numbers: Tensor
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, " b"]]:
    """Return the moves of the best assignment within species, and the sum of their squares about the mean move."""
    moves = nearest_displacements(noisy, clean, lattice)
    other = atomic_numbers[:, :, None] != atomic_numbers[:, None, :]
    costs = (moves.square().sum(-1) + other * FORBIDDEN).numpy()
    # Non-finite positions give non-finite moves, which training skips.
    order = torch.from_numpy(_solve(np.nan_to_num(costs, nan=FORBIDDEN, posinf=FORBIDDEN)))
    chosen = torch.gather(moves, 2, order[:, :, None, None].expand(-1, -1, 1, 3)).squeeze(2)
    return chosen, (chosen - chosen.mean(1, keepdim=True)).square().sum((1, 2))


def _solve(costs: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.stack([linear_sum_assignment(cost)[1] for cost in costs])
