"""Training data of the surrogate: latents, compositions and energies, split by composition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lcoms.core.errors import DataError
from lcoms.models.composition import composition_keys
from lcoms.structure.elements import N_ELEMENTS


@dataclass(frozen=True, eq=False)
class EncodedCrystals:
    """Crystals as inputs and targets of surrogates.

    Attributes:
        latents: (n, d) mu of the encoder.
        composition_features: (n, 103) element fractions.
        energies: (n,) formation energies, eV/atom.
    """

    latents: Float[Tensor, "n d"]
    composition_features: Float[Tensor, "n 103"]
    energies: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class SurrogateData(EncodedCrystals):
    """Encoded crystals, split by composition.

    Attributes:
        groups: (n,) labels, equal for equal compositions.
        is_val: (n,) true for validation crystals.

    Raises:
        DataError: shapes do not fit, there are no training crystals, or a composition is in both splits.
    """

    groups: Int[Tensor, " n"]
    is_val: Bool[Tensor, " n"]

    def __post_init__(self) -> None:
        n = len(self.latents)
        shapes = [tuple(t.shape) for t in (self.composition_features, self.energies, self.groups, self.is_val)]
        if self.latents.ndim != 2 or shapes != [(n, N_ELEMENTS), (n,), (n,), (n,)]:
            raise DataError(
                f"surrogate data do not fit together: latents {tuple(self.latents.shape)}, others {shapes}."
            )
        if bool(self.is_val.all()):
            raise DataError("there is no training crystal: all are marked for validation.")
        if np.intersect1d(self.groups[self.is_val].numpy(), self.groups[~self.is_val].numpy()).size:
            raise DataError("a composition is in both training and validation; split by composition.")

    def joined(self, other: SurrogateData) -> SurrogateData:
        """Return both data sets as one; validation crystals of any composition in a training set become training ones.

        Raises:
            DataError: the latents have different lengths.
        """
        if self.latents.shape[1] != other.latents.shape[1]:
            raise DataError("the two sets of latents come from different autoencoders; encode both with the same.")
        features = torch.cat([self.composition_features, other.composition_features])
        groups = torch.from_numpy(composition_keys(features))
        is_val = torch.cat([self.is_val, other.is_val])
        is_val &= ~torch.isin(groups, groups[~is_val])
        latents, energies = torch.cat([self.latents, other.latents]), torch.cat([self.energies, other.energies])
        return SurrogateData(latents, features, energies, groups, is_val)

    def fingerprint(self) -> str:
        """Return a hash of all data, by which a checkpoint is matched to them."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name).numpy()).tobytes())
        return digest.hexdigest()[:16]
