"""How often a crystal is reconstructed from its latent, number of atoms and species.

Decoding is either by the CD-VAE alone, or with the library: annealing starts from the sites of the entries with the
nearest latents and, unless a decode then encodes near the latent, also from random positions within their space groups
and without symmetry. The nearest decodes are refined, and the one that then encodes nearest to the latent is used.

Match rate and RMSE are defined as in CDVAE and DiffCSP: StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10),
displacements over (volume / atom)^(1/3), RMSE over matches only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.evaluate.statistics import Share
from lcoms.models.base import CDVAE
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decoder import Constraint, Decode, decode_latents
from lcoms.prediction.spec import DecoderSpec
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import LOOSE, rmsd
from lcoms.templates.library import LatentLibrary

MOST_ENTRIES = 6  # whose sites are starting points
MOST_SEARCHED = 32  # nearest entries among which those are the first with distinct sites
MOST_GROUPS = 6
NEAR_ENOUGH = 1.0  # distance between latents at which a decode from the sites of an entry is kept
DECODER = DecoderSpec(samples=24, more_samples=12, kept=2)
Decoder = Callable[[Float[Tensor, "n latent"], Sequence[Composition], torch.Generator], list[Crystal | None]]
SIZE_BANDS = ((1, 20), (1, 12), (1, 2), (3, 4), (5, 8), (9, 12), (13, 20))
LARGEST, SMALL = SIZE_BANDS[0][1], SIZE_BANDS[1][1]


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

    def cases(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return for each crystal, named by these, whether its first and any of its k decodes match, and the RMSD."""
        k = self.rmsds.shape[1]
        return [
            {
                "case": name,
                "setting": f"up to {SMALL} atoms" if n_atoms <= SMALL else f"{SMALL + 1} atoms or more",
                "n_atoms": int(n_atoms),
                "match@1": not np.isnan(rmsds[0]),
                f"match@{k}": bool((~np.isnan(rmsds)).any()),
                "RMSD": None if np.isnan(rmsds[0]) else round(float(rmsds[0]), 5),
            }
            for name, n_atoms, rmsds in zip(names, self.n_atoms, self.rmsds, strict=True)
        ]


def library_decode(bundle: WeightBundle) -> Decoder:
    """Return a decoder that starts from the sites and searches the space groups of the library's nearest latents."""
    library = bundle.library

    def decode(
        z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        placed = [_sites_near(library, *pair) for pair in zip(z, compositions, strict=True)]
        found = _refined(bundle, z, decode_latents(bundle, z, compositions, placed, generator, config=DECODER))
        far = [row for row, some in enumerate(found) if not some or some[0].distance > NEAR_ENOUGH]
        groups = [library.space_groups_near(z[row], compositions[row])[:MOST_GROUPS] for row in far]
        constraints = [[Constraint(*pair) for pair in some] for some in groups]
        contents = [compositions[row] for row in far]
        searched = decode_latents(bundle, z[far], contents, constraints, generator, config=DECODER, also_freely=True)
        for row, some in zip(far, _refined(bundle, z[far], searched), strict=True):
            found[row] = sorted(found[row] + some, key=lambda one: one.distance)
        return [some[0].crystal if some else None for some in found]

    return decode


def _refined(bundle: WeightBundle, z: Float[Tensor, "n latent"], found: Sequence[list[Decode]]) -> list[list[Decode]]:
    """Return the decodes of each latent, refined where the preset can, those that then encode nearest to it first."""
    if (model := bundle.cdvae.within_groups) is None or not any(found):
        return list(found)
    rows = [row for row, some in enumerate(found) for _ in some]
    crystals, distances = model.refine(z[rows], [one.crystal for some in found for one in some])
    moved = zip((one for some in found for one in some), crystals, distances.tolist(), strict=True)
    ends: list[list[Decode]] = [[] for _ in found]
    for row, (one, crystal, distance) in zip(rows, moved, strict=True):
        ends[row].append(one._replace(crystal=crystal, distance=distance))
    return [sorted(some, key=lambda one: one.distance) for some in ends]


def _sites_near(library: LatentLibrary, latent: Float[Tensor, " latent"], cell: Composition) -> list[Constraint]:
    """Return the distinct sites of the library's entries with the nearest latents."""
    rows, _ = library.entries_near(latent, cell, n=MOST_SEARCHED)
    distinct: dict[tuple[int, int, tuple[int, ...]], int] = {}
    for row in rows.tolist():
        if library.wyckoff_sequences[row] >= 0 and (sites := library.sites(row)):
            group, sequence = int(library.space_groups[row]), int(library.wyckoff_sequences[row])
            distinct.setdefault((group, sequence, sites), int(library.cell_codes[row]))
    return [
        Constraint(group, 1.0, sequence, sites, code)
        for (group, sequence, sites), code in list(distinct.items())[:MOST_ENTRIES]
    ]


def reconstruct(
    model: CDVAE,
    crystals: Sequence[Crystal],
    generator: torch.Generator,
    *,
    decode: Decoder | None = None,
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
