"""Representation of a composition in the networks: the fraction of each element.

Fractions, and all that is computed from them, do not depend on the number of formula units in the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lcoms.structure.crystal import Composition
from lcoms.structure.elements import N_ELEMENTS


def element_fractions(compositions: Composition | Sequence[Composition]) -> Float[Tensor, "n_crystals 103"]:
    """Return element fractions in float32; column Z - 1 belongs to the element with atomic number Z.

    Args:
        compositions: one or many; a single one gives one row.
    """
    if isinstance(compositions, Composition):
        compositions = [compositions]
    features = np.zeros((len(compositions), N_ELEMENTS), dtype=np.float32)
    for row, composition in zip(features, compositions, strict=True):
        numbers = np.asarray(composition.atomic_numbers) - 1
        row[numbers] = np.asarray(composition.counts) / composition.n_atoms
    return torch.from_numpy(features)


def batch_element_fractions(
    atomic_numbers: Int[Tensor, " n_atoms"], crystal_idx: Int[Tensor, " n_atoms"], n_crystals: int
) -> Float[Tensor, "n_crystals 103"]:
    """Return element fractions from the flat atoms of a CrystalBatch, on their device."""
    index = crystal_idx * N_ELEMENTS + (atomic_numbers - 1)
    counts = torch.bincount(index, minlength=n_crystals * N_ELEMENTS).view(n_crystals, N_ELEMENTS).float()
    return counts / counts.sum(dim=1, keepdim=True)


def composition_keys(features: Float[Tensor, "n_crystals 103"]) -> NDArray[np.int64]:
    """Return labels (n_crystals,) that group by composition: equal where the element fractions are equal."""
    rounded = np.round(features.detach().cpu().numpy().astype(np.float64), 5)
    _, labels = np.unique(rounded, axis=0, return_inverse=True)
    return labels.reshape(-1).astype(np.int64)


def composition_labels(features: Float[Tensor, "n_crystals 103"]) -> Int[Tensor, " n_crystals"]:
    """Return `composition_keys` as a tensor on the device of the features."""
    return torch.from_numpy(composition_keys(features)).to(features.device)
