"""How often a crystal is reconstructed from its latent, number of atoms and species.

Decoding is either by the CD-VAE alone, or also within the space groups of the nearest latents of the library, in which
case the decode that encodes nearest to the latent is used.

Match rate and RMSE are defined as in CDVAE and DiffCSP: StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10),
displacements over (volume / atom)^(1/3), RMSE over matches only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.evaluate.statistics import Share
from lcoms.models.base import CDVAE
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decoder import Constraint, decode_latents
from lcoms.prediction.spec import DecoderSpec
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import LOOSE, rmsd

MOST_GROUPS = 6
DECODER = DecoderSpec(samples=24, more_samples=12)
Decode = Callable[[Float[Tensor, "n latent"], Sequence[Composition], torch.Generator], list[Crystal | None]]
SIZE_BANDS = ((1, 20), (1, 12), (1, 2), (3, 4), (5, 8), (9, 12), (13, 20))
LARGEST = SIZE_BANDS[0][1]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Result for each crystal.

    Attributes:
        n_atoms: (n,) number of atoms in each cell.
        rmsds: (n, k) of k independent decodes; NaN if they do not match.
    """

    n_atoms: NDArray[np.int64]
    rmsds: NDArray[np.float64]

    def bands(self) -> Iterator[tuple[str, Share, Share, float]]:
        """Yield the name, match@1, match@k and RMSE of first decodes for each range of cell sizes.

        Cells of more than 20 atoms, if there are any, have a range of their own, and all cells another.
        """
        largest = int(self.n_atoms.max(initial=0))
        larger = ((LARGEST + 1, largest), (1, largest)) if largest > LARGEST else ()
        for low, high in (*SIZE_BANDS, *larger):
            inside = (self.n_atoms >= low) & (self.n_atoms <= high)
            found = ~np.isnan(self.rmsds[inside])
            if not len(found):
                continue
            first = self.rmsds[inside, 0]
            yield (
                f"{low}-{high}",
                Share(int(found[:, 0].sum()), len(found)),
                Share(int(found.any(1).sum()), len(found)),
                float(first[found[:, 0]].mean()) if found[:, 0].any() else float("nan"),
            )


def symmetric_decode(bundle: WeightBundle) -> Decode:
    """Return a decoder within the space groups of the nearest latents of the library, and without symmetry."""
    library = bundle.library

    def decode(
        z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        constraints = [
            [Constraint(*pair) for pair in library.space_groups_near(latent, composition)[:MOST_GROUPS]]
            for latent, composition in zip(z, compositions, strict=True)
        ]
        within = decode_latents(bundle, z, compositions, constraints, generator, config=DECODER, also_freely=True)
        return [some[0].crystal if some else None for some in within]

    return decode


def reconstruct(
    model: CDVAE,
    crystals: Sequence[Crystal],
    generator: torch.Generator,
    *,
    decode: Decode | None = None,
    k: int = 3,
    batch_size: int = 128,
) -> Reconstruction:
    """Encode crystals, decode each k times from mu, and compare.

    Args:
        decode: function from latents, contents of the cells and a generator to crystals; None: the model alone.
        k: number of independent decodes of each crystal.
    """
    decode = decode or model.decode
    order = np.argsort([crystal.n_atoms for crystal in crystals], kind="stable")
    rmsds = np.full((len(crystals), k), np.nan)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        some = [crystals[row] for row in rows]
        with torch.no_grad():
            mu, _ = model.encode(CrystalBatch.from_crystals(some))
        for attempt in range(k):
            decoded = decode(mu, [crystal.composition for crystal in some], generator)
            for row, truth, guess in zip(rows, some, decoded, strict=True):
                distance = None if guess is None else rmsd(guess, truth, LOOSE)
                rmsds[row, attempt] = np.nan if distance is None else distance
    return Reconstruction(np.array([crystal.n_atoms for crystal in crystals]), rmsds)
