"""The same crystals in equivalent descriptions, for tests of the invariance of networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal


def some_crystals() -> list[Crystal]:
    """Return rock salt and an fcc crystal, with equidistant neighbors, and low-symmetry cells of 1 to 5 atoms."""
    rng = np.random.default_rng(0)
    half = np.array([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]])
    crystals = [
        Crystal(half, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17])),
        Crystal(half * 0.65, np.zeros((1, 3)), np.array([29])),
    ]
    for n_atoms in (1, 3, 5):
        lattice = np.eye(3) * (16.0 * n_atoms) ** (1 / 3) + rng.normal(size=(3, 3)) * 0.4
        crystals.append(Crystal(lattice, rng.random((n_atoms, 3)), rng.integers(1, 90, n_atoms)))
    return crystals


def as_batch(crystals: list[Crystal]) -> CrystalBatch:
    return CrystalBatch.from_crystals(crystals, dtype=torch.float64)


def random_rotation() -> Tensor:
    """Return a proper rotation matrix, to be multiplied from the right."""
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.linalg.det(q)


def other_cell(crystals: list[Crystal]) -> list[Crystal]:
    """Return the crystals in another basis of the same lattices."""
    change = np.array([[1, 1, 0], [0, 1, 0], [-1, 2, 1]])
    inverse = np.linalg.inv(change)
    return [Crystal(change @ c.lattice, c.frac_coords @ inverse, c.atomic_numbers) for c in crystals]


def supercell(crystals: list[Crystal]) -> list[Crystal]:
    """Return the cells doubled along a; copies of atoms follow the originals."""
    cells = []
    for c in crystals:
        frac = np.concatenate([c.frac_coords, c.frac_coords + np.array([1, 0, 0])]) / [2, 1, 1]
        cells.append(Crystal(c.lattice * [[2], [1], [1]], frac, np.tile(c.atomic_numbers, 2)))
    return cells


def shuffled(crystals: list[Crystal]) -> tuple[list[Crystal], list[np.ndarray]]:
    """Return the crystals with their atoms in another order, and that order."""
    rng = np.random.default_rng(5)
    orders = [rng.permutation(c.n_atoms) for c in crystals]
    pairs = zip(crystals, orders, strict=True)
    return [Crystal(c.lattice, c.frac_coords[o], c.atomic_numbers[o]) for c, o in pairs], orders
