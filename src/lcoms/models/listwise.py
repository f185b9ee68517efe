"""A loss that orders the crystals of each composition instead of fitting their energies.

ListNet (Cao et al. 2007) as used for offline optimisation (RaM, Tan et al. 2025): the cross-entropy between Boltzmann
weights from the true energies and those from the predicted ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def listwise_loss(
    energies: Float[Tensor, " n"],
    targets: Float[Tensor, " n"],
    groups: Int[Tensor, " n"],
    *,
    width: float | Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return the mean over crystals of -sum p log q + sum p log p within compositions, p = softmax(-targets / width).

    It is 0 where each composition's predictions differ from the targets by a constant, and for single crystals.

    Args:
        energies: predicted energies.
        targets: true energies, in the same units.
        groups: labels, equal for equal compositions.
        width: kT of the weights.
    """
    _, labels = torch.unique(groups, return_inverse=True)
    truth = _log_weights(-targets / width, labels)
    guess = _log_weights(-energies.to(targets.dtype) / width, labels)
    return (truth.exp() * (truth - guess)).sum() / len(targets)


def _log_weights(values: Float[Tensor, " n"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the log-softmax of the values within each label."""
    n = int(labels.max()) + 1
    largest = torch.full((n,), -torch.inf, dtype=values.dtype, device=values.device)
    shifted = values - largest.scatter_reduce(0, labels, values.detach(), "amax")[labels]
    sums = torch.zeros(n, dtype=values.dtype, device=values.device).index_add(0, labels, shifted.exp())
    return shifted - sums.log()[labels]
