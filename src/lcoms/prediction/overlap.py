"""Proximity of crystals to the training data: by composition, and by distance in latent space.

The library of latents that ships with the weights represents the training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.descend import typical_distance
from lcoms.structure.crystal import Composition, Crystal
from lcoms.templates.library import LatentLibrary

FAR = 0.95  # quantile of the nearest-neighbour distances in the data beyond which a crystal is called far


@dataclass(frozen=True)
class Overlap:
    """The training crystal nearest to a crystal.

    Attributes:
        nearest: id of the library entry.
        formula: its reduced formula.
        distance: distance to it in normalised latent space.
    """

    nearest: str
    formula: str
    distance: float


@dataclass(frozen=True)
class TrainingOverlap:
    """Training data near the crystals of one composition.

    Attributes:
        n_same: number of training crystals of the same composition.
        n_library: total number of training crystals.
        typical, far: median and 0.95 quantile of the distances from training crystals to their nearest neighbours.
        crystals: nearest training crystal of each crystal.
    """

    n_same: int
    n_library: int
    typical: float
    far: float
    crystals: tuple[Overlap, ...]


def training_overlap(composition: Composition, crystals: Sequence[Crystal], bundle: WeightBundle) -> TrainingOverlap:
    """Compare crystals of a composition with the library of the weights."""
    library, bundle = bundle.library, bundle.on(torch.device("cpu"))
    with torch.no_grad():
        data = library.latents()
        distances = torch.cdist(bundle.surrogate.normalise(bundle.encode(crystals)), bundle.surrogate.normalise(data))
    least, places = distances.min(dim=1)
    ids = library.ids
    return TrainingOverlap(
        n_same=count_same(composition, library),
        n_library=len(library),
        typical=typical_distance(bundle.surrogate, data, quantile=0.5, n_samples=256),
        far=typical_distance(bundle.surrogate, data, quantile=FAR, n_samples=256),
        crystals=tuple(
            Overlap(ids[place], library.composition(place).reduced_formula, float(distance))
            for place, distance in zip(places.tolist(), least, strict=True)
        ),
    )


def count_same(composition: Composition, library: LatentLibrary) -> int:
    """Return the number of library entries of a composition, with any number of formula units."""
    return int((library.nearest(composition, len(library)).distances == 0).sum())
