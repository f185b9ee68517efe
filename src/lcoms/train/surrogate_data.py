"""What the surrogate learns from: latents, compositions and energies, split by composition."""

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
    """Crystals as surrogates see them.

    Attributes:
        latents: (n, d) the encoder's mu.
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
        is_val: (n,) true for crystals kept for validation.

    Raises:
        DataError: shapes do not fit, nothing to train on, or a composition on both sides of the split.
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
            raise DataError("a composition stands in both training and validation; split by composition.")

    def joined(self, other: SurrogateData) -> SurrogateData:
        """Both together; the other's compositions that stand in this one's training set are trained on.

        Raises:
            DataError: latents of different lengths.
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
        """A hash of all of it, to tell whether a checkpoint belongs to these data."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name).numpy()).tobytes())
        return digest.hexdigest()[:16]
