"""CrystalBatch: many crystals as flat tensors, never padded, never changed in place.

Atoms of all crystals are concatenated; `crystal_idx` gives the crystal that each atom belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Composition, Crystal


@dataclass(frozen=True, eq=False)
class CrystalBatch:
    """Crystals as tensors: lattice rows in angstrom, fractional coordinates, atomic numbers.

    `formation_energy` (eV/atom, NaN where unknown) is present if the data set provides it.

    Raises:
        CrystalError: shapes are inconsistent, or the atoms of a crystal are not contiguous and in order.
    """

    lattice: Float[Tensor, "n_crystals 3 3"]
    frac_coords: Float[Tensor, "n_atoms 3"]
    atomic_numbers: Int[Tensor, " n_atoms"]
    crystal_idx: Int[Tensor, " n_atoms"]
    formation_energy: Float[Tensor, " n_crystals"] | None = None

    def __post_init__(self) -> None:
        n_atoms, n_crystals = len(self.atomic_numbers), len(self.lattice)
        shapes = tuple(self.lattice.shape), tuple(self.frac_coords.shape), tuple(self.crystal_idx.shape)
        if shapes != ((n_crystals, 3, 3), (n_atoms, 3), (n_atoms,)):
            raise CrystalError(f"a batch needs lattice (n_crystals, 3, 3) and frac_coords (n_atoms, 3), not {shapes}.")
        steps = torch.diff(self.crystal_idx)
        ends = self.crystal_idx[[0, -1]].tolist() if n_atoms else [0, -1]
        if ends != [0, n_crystals - 1] or bool(((steps < 0) | (steps > 1)).any()):
            raise CrystalError("crystal_idx must count 0, 1, 2, ... without gaps, each crystal having atoms.")

    @classmethod
    def from_crystals(cls, crystals: Sequence[Crystal], dtype: torch.dtype = torch.float32) -> CrystalBatch:
        sizes = [crystal.n_atoms for crystal in crystals]
        if not sizes:
            raise CrystalError("a batch needs at least one crystal.")
        return cls(
            lattice=torch.from_numpy(np.stack([c.lattice for c in crystals])).to(dtype),
            frac_coords=torch.from_numpy(np.concatenate([c.frac_coords for c in crystals])).to(dtype),
            atomic_numbers=torch.from_numpy(np.concatenate([c.atomic_numbers for c in crystals])),
            crystal_idx=torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)),
        )

    @property
    def n_crystals(self) -> int:
        return len(self.lattice)

    @property
    def n_atoms(self) -> Int[Tensor, " n_crystals"]:
        """Number of atoms in each crystal."""
        return torch.bincount(self.crystal_idx, minlength=self.n_crystals)

    def cart_coords(self) -> Float[Tensor, "n_atoms 3"]:
        """Return Cartesian positions in angstrom."""
        return torch.einsum("ni,nij->nj", self.frac_coords, self.lattice[self.crystal_idx])

    def compositions(self) -> list[Composition]:
        return [Composition.from_atoms(z.tolist()) for z in self.atomic_numbers.split(self.n_atoms.tolist())]

    def replace(self, **changes: Tensor) -> CrystalBatch:
        """Return a new batch with some tensors replaced."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> CrystalBatch:
        return CrystalBatch(
            lattice=self.lattice.to(device),
            frac_coords=self.frac_coords.to(device),
            atomic_numbers=self.atomic_numbers.to(device),
            crystal_idx=self.crystal_idx.to(device),
            formation_energy=None if self.formation_energy is None else self.formation_energy.to(device),
        )

    def by_size(self) -> Iterator[tuple[int, Int[Tensor, " n_group"], Int[Tensor, " n_group_atoms"]]]:
        """Yield groups of crystals of equal size: (atoms per crystal, indices of crystals, indices of atoms)."""
        sizes = self.n_atoms
        starts = torch.cumsum(sizes, 0) - sizes
        for size in torch.unique(sizes).tolist():
            crystals = torch.nonzero(sizes == size).squeeze(1)
            atoms = (starts[crystals, None] + torch.arange(size, device=starts.device)).flatten()
            yield size, crystals, atoms

    def to_crystals(self) -> list[Crystal]:
        """Return the individual crystals, in float64.

        Raises:
            CrystalError: a crystal has an invalid lattice or non-finite coordinates.
        """
        sizes = self.n_atoms.tolist()
        parts = zip(
            self.lattice.detach().cpu().double().numpy(),
            self.frac_coords.detach().cpu().double().split(sizes),
            self.atomic_numbers.detach().cpu().split(sizes),
            strict=True,
        )
        return [Crystal(lattice, frac.numpy(), numbers.numpy()) for lattice, frac, numbers in parts]
