"""Decoding of latents by the fast preset: atoms and cells are annealed, freely or within a space group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lcoms.core.errors import CrystalError
from lcoms.models.base import GroupStart
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_layers import Cells, NoisyCells
from lcoms.models.schedule import Annealing, Symmetry, anneal_together
from lcoms.structure.crystal import Crystal

AT_ONCE = 1536  # atoms per network call while decoding, so that intermediate results fit into the processor's caches


Rows = TypeVar("Rows", Cells, NoisyCells)
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class _Group:
    """Crystals of equal size that are sampled.

    Attributes:
        rows: their indices among all that are sampled.
        z: latents.
        numbers: atomic numbers.
    """

    rows: list[int]
    z: Float[Tensor, "b latent"]
    numbers: Int[Tensor, "b n"]
    annealing: Annealing


@dataclass(frozen=True)
class Sampler:
    """Networks and configuration for decoding crystals.

    Attributes:
        denoise: maps groups of latents, coordinates, lattices, atomic numbers and noise levels to displacements and
            strains.
        encode: maps groups of coordinates, lattices and atomic numbers to mean and log-variance of latents.
    """

    denoise: Callable[[Sequence[NoisyCells]], Sequence[Pair]]
    encode: Callable[[Sequence[Cells]], Sequence[Pair]]
    config: FastConfig

    def sample(
        self, z: Tensor, numbers: Tensor, frac_coords: Tensor, lattice: Tensor, generator: torch.Generator
    ) -> tuple[list[Crystal | None], Float[Tensor, " b"]]:
        """Return crystals annealed from the given positions, and the distances of their latents from the given ones."""
        annealing = self._annealing(frac_coords, lattice, generator)
        return self._sampled([_Group(list(range(len(z))), z, numbers, annealing)])

    def within(
        self, z: Float[Tensor, "n latent"], starts: Sequence[GroupStart], generator: torch.Generator, known_to: float
    ) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        """Sample within space groups; see `FastCDVAE.decode_within`."""
        groups = []
        kinds = np.array([(len(start.cell.atomic_numbers), start.coords is not None) for start in starts])
        for kind in np.unique(kinds.reshape(-1, 2), axis=0):
            rows = np.flatnonzero((kinds == kind).all(1)).tolist()
            some = [starts[row] for row in rows]
            frac_coords = torch.stack([_placed(start, generator) for start in some]).to(z.device)
            numbers = torch.from_numpy(np.stack([start.cell.atomic_numbers for start in some])).to(z.device)
            lattices = torch.from_numpy(np.array([start.lattice for start in some])).float().to(z.device)
            annealing = self._annealing(
                frac_coords,
                lattices,
                generator,
                Symmetry.of([start.cell for start in some], z.device),
                sigma_max=known_to if kind[1] else None,
            )
            groups.append(_Group(rows, z[rows], numbers, annealing))
        return self._sampled(groups)

    def _annealing(
        self,
        frac_coords: Float[Tensor, "b n 3"],
        lattice: Float[Tensor, "b 3 3"],
        generator: torch.Generator,
        symmetry: Symmetry | None = None,
        *,
        sigma_max: float | None = None,
    ) -> Annealing:
        noise = self.config.noise if sigma_max is None else replace(self.config.noise, sigma_max=sigma_max)
        return Annealing(
            frac_coords,
            lattice,
            noise.levels(self.config.steps),
            noise.scale,
            generator=generator,
            churn=self.config.churn,
            strain_below=self.config.strain_below,
            symmetry=symmetry,
        )

    def _sampled(self, groups: Sequence[_Group]) -> tuple[list[Crystal | None], Float[Tensor, " n"]]:
        """Anneal all groups at once; return the crystals, and the distances of their latents, in the order of rows."""

        def denoise(asked: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Sequence[Pair]:
            parts = [
                NoisyCells(g.z, x, cell, g.numbers, level) for g, (x, cell, level) in zip(groups, asked, strict=True)
            ]
            return in_pieces(self.denoise, parts)

        anneal_together(denoise, [group.annealing for group in groups])
        found = [_finite(*group.annealing.found) for group in groups]
        told = in_pieces(
            self.encode, [Cells(x, cell, g.numbers) for g, (x, cell, _) in zip(groups, found, strict=True)]
        )
        n = sum(len(group.rows) for group in groups)
        crystals: list[Crystal | None] = [None] * n
        distances = torch.full((n,), torch.inf)
        for group, (x, cell, finite), (mu, _) in zip(groups, found, told, strict=True):
            apart = torch.linalg.norm(mu - group.z, dim=-1)
            distances[group.rows] = torch.where(finite, apart, torch.inf).cpu()
            cell, x, numbers = cell.cpu(), x.cpu(), group.numbers.cpu()
            for at, row in enumerate(group.rows):
                crystals[row] = _crystal(cell[at], x[at], numbers[at]) if finite[at] else None
        return crystals, distances


def in_pieces(network: Callable[[Sequence[Rows]], Sequence[Pair]], groups: Sequence[Rows]) -> list[Pair]:
    """Return the network's two outputs for the rows of each group, computed for about `AT_ONCE` atoms at a time."""
    pieces = [(number, piece) for number, rows in enumerate(groups) for piece in _split(rows)]
    told: list[list[Pair]] = [[] for _ in groups]
    for call in _calls([piece.numbers.numel() for _, piece in pieces]):
        some = [pieces[at] for at in call]
        for (number, _), answer in zip(some, network([piece for _, piece in some]), strict=True):
            told[number].append(answer)
    return [(torch.cat([one for one, _ in parts]), torch.cat([other for _, other in parts])) for parts in told]


def _split(rows: Rows) -> list[Rows]:
    """Return the rows in pieces of at most `AT_ONCE` atoms, at least one crystal each."""
    n = max(1, AT_ONCE // rows.numbers.shape[1])
    return [type(rows)(*piece) for piece in zip(*(t.split(n) for t in rows), strict=True)]


def _calls(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of pieces with these numbers of atoms that are computed together."""
    call: list[int] = []
    n_atoms = 0
    for at, size in enumerate(sizes):
        if call and n_atoms + size > AT_ONCE:
            yield call
            call, n_atoms = [], 0
        call.append(at)
        n_atoms += size
    if call:
        yield call


def _finite(frac_coords: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return coordinates and lattices, harmless ones where they are not finite, and which crystals are finite."""
    finite = frac_coords.isfinite().all((1, 2)) & lattice.isfinite().all((1, 2))
    lattice = torch.where(finite[:, None, None], lattice, torch.eye(3, device=lattice.device))
    return torch.where(finite[:, None, None], frac_coords, 0.0), lattice, finite


def _placed(start: GroupStart, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    """Return fractional coordinates; free ones are as given, or random where none are given."""
    cell, coords = start.cell, start.coords
    free = torch.rand(cell.n_free, generator=generator, dtype=torch.float64).numpy() if coords is None else coords
    return torch.from_numpy(cell.shifts + cell.directions @ free).float()


def _crystal(lattice: Tensor, frac_coords: Tensor, numbers: Tensor) -> Crystal | None:
    try:
        return Crystal(lattice.double().numpy(), frac_coords.double().numpy(), numbers.numpy())
    except CrystalError:
        return None
