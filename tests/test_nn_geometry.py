"""Densities equal sums over many images for any cell, and rotate with the crystal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symmetry_cases import random_rotation
from torch import Tensor

from lcoms.nn.geometry import (
    SELF_DISTANCE,
    Densities,
    DensityBasis,
    densities,
    differentiable_densities,
    lattice_shifts,
    nearest_displacements,
    quadrupole_matrix,
)
from lcoms.structure.lattice import niggli_reduce, plane_spacings

BASIS = DensityBasis(cutoff=4.5, n_scalar=6, n_vector=5, n_tensor=4, n_coarse=3)
SKEW = np.array([[1.0, 0, 0], [3, 1, 0], [-2, 1, 1]])
RNG = np.random.default_rng(11)
CELLS = {
    "ordinary": np.eye(3) * 4 + RNG.normal(size=(3, 3)) * 0.6,
    "thin": np.diag([0.7, 7.0, 6.0]) + RNG.normal(size=(3, 3)) * 0.05,
    "flat": np.diag([1.5, 1.9, 15.0]) + RNG.normal(size=(3, 3)) * 0.05,
    "skewed": SKEW @ (np.eye(3) * 3.5 + RNG.normal(size=(3, 3)) * 0.4),
    "large": np.eye(3) * 11.0,
}


def images(lattice: np.ndarray, reach: float) -> np.ndarray:
    """Return all integer translations that contribute, and more."""
    n = np.ceil(reach / plane_spacings(lattice)).astype(int) + 2
    return np.stack(np.meshgrid(*(np.arange(-k, k + 1) for k in n), indexing="ij"), -1).reshape(-1, 3)


def brute_force(frac: np.ndarray, lattice: np.ndarray, basis: DensityBasis) -> tuple[np.ndarray, ...]:
    """Return sums over images of R (scalar, coarse), R u (vector) and R (3 u u^T - 1) / 2 (tensor)."""
    translations = images(lattice, basis.cutoff)
    difference = frac[None, :] - frac[:, None]
    vectors = (difference[:, :, None] + translations) @ lattice
    distance = np.linalg.norm(vectors, axis=-1)
    inside = (distance < basis.cutoff) & (distance > SELF_DISTANCE)
    unit = vectors / np.maximum(distance, SELF_DISTANCE)[..., None]
    x = distance / basis.cutoff
    envelope = inside * (1 - x) ** 2 * (1 + 2 * x)

    def radial(n: int) -> np.ndarray:
        width = (basis.cutoff - 0.6) / (n - 1)
        centres = 0.6 + width * np.arange(n)
        return np.exp(-((distance[..., None] - centres) ** 2) / (2 * width**2)) * envelope[..., None]

    square = (3 * unit[..., :, None] * unit[..., None, :] - np.eye(3)) / 2
    return (
        np.einsum("ijtk->ikj", radial(basis.n_scalar)),
        np.einsum("ijtx,ijtk->ixkj", unit, radial(basis.n_vector)),
        np.einsum("ijtxy,ijtk->ixykj", square, radial(basis.n_tensor)),
        np.einsum("ijtk->ikj", radial(basis.n_coarse)),
    )


def as_matrices(g: Densities) -> Tensor:
    """Return (n_crystals, n_atoms, 3, 3, n_tensor, n_atoms) from the five components."""
    matrices = quadrupole_matrix(torch.float64).view(5, 3, 3)
    return torch.einsum("bimkj,mxy->bixykj", g.tensor, matrices)


@pytest.mark.parametrize("n_atoms", [1, 2, 5])
def test_densities_equal_sums_over_images(n_atoms: int) -> None:
    """All cells are in one batch, so each gets the translations that the thinnest needs."""
    frac = np.random.default_rng(n_atoms).random((len(CELLS), n_atoms, 3))
    lattice = np.stack(list(CELLS.values()))
    g = densities(torch.from_numpy(frac), torch.from_numpy(lattice), BASIS)
    for row in range(len(CELLS)):
        scalar, vector, tensor, coarse = brute_force(frac[row], lattice[row], BASIS)
        np.testing.assert_allclose(g.scalar[row], scalar, atol=1e-10)
        np.testing.assert_allclose(g.vector[row], vector, atol=1e-10)
        np.testing.assert_allclose(as_matrices(g)[row], tensor, atol=1e-10)
        np.testing.assert_allclose(g.coarse[row], coarse, atol=1e-10)
    assert g.scalar.abs().max() > 0.1


def test_random_cells_equal_sums_over_images() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        n_atoms = int(rng.integers(1, 5))
        lattice = np.diag(rng.uniform(1.0, 8.0, 3)) + rng.normal(size=(3, 3)) * 0.5
        if plane_spacings(lattice).min() < 0.6:
            continue
        frac = rng.random((n_atoms, 3)) * 3 - 1  # not wrapped
        g = densities(torch.from_numpy(frac[None]), torch.from_numpy(lattice[None]), BASIS)
        scalar, vector, _, _ = brute_force(frac, lattice, BASIS)
        np.testing.assert_allclose(g.scalar[0], scalar, atol=1e-10)
        np.testing.assert_allclose(g.vector[0], vector, atol=1e-10)


def test_an_atom_alone_in_a_large_cell_sees_nothing() -> None:
    g = densities(torch.zeros(2, 1, 3), 20 * torch.eye(3).expand(2, 3, 3), BASIS)
    assert g.scalar.shape == (2, 1, 6, 1)
    assert all((t == 0).all() for t in (g.scalar, g.vector, g.tensor, g.coarse))


def test_single_precision_is_enough() -> None:
    frac = torch.from_numpy(np.random.default_rng(1).random((len(CELLS), 6, 3)))
    lattice = torch.from_numpy(np.stack(list(CELLS.values())))
    exact, rounded = densities(frac, lattice, BASIS), densities(frac.float(), lattice.float(), BASIS)
    for name in ("scalar", "vector", "tensor", "coarse"):
        torch.testing.assert_close(getattr(rounded, name), getattr(exact, name).float(), atol=2e-4, rtol=1e-3)


def test_scalars_stay_and_vectors_turn_with_the_crystal() -> None:
    rotation = random_rotation()
    frac = torch.from_numpy(np.random.default_rng(2).random((len(CELLS), 3, 3)))
    lattice = torch.from_numpy(np.stack(list(CELLS.values())))
    g, turned = densities(frac, lattice, BASIS), densities(frac, lattice @ rotation, BASIS)
    torch.testing.assert_close(turned.scalar, g.scalar)
    torch.testing.assert_close(turned.coarse, g.coarse)
    torch.testing.assert_close(turned.vector, torch.einsum("bixkj,xy->biykj", g.vector, rotation))
    torch.testing.assert_close(
        as_matrices(turned), torch.einsum("biuvkj,ux,vy->bixykj", as_matrices(g), rotation, rotation)
    )
    assert (g.vector - turned.vector).abs().max() > 0.1
    mirrored = densities(-frac, lattice, BASIS)
    torch.testing.assert_close(mirrored.vector, -g.vector)
    torch.testing.assert_close(mirrored.tensor, g.tensor)


def test_shifts_hold_every_translation_that_can_matter() -> None:
    reach = 4.5
    lattice = np.stack(list(CELLS.values()))
    translations, penalty = lattice_shifts(torch.from_numpy(lattice), reach)
    rng = np.random.default_rng(5)
    for row, cell in enumerate(lattice):
        useful = images(cell, reach) @ cell
        wrapped = rng.uniform(-0.5, 0.5, (200, 3)) @ cell
        distances = np.linalg.norm(wrapped[:, None] + useful, axis=-1).min(axis=0)
        offered = translations[row][penalty[row] == 0].numpy()
        gaps = np.linalg.norm(useful[distances < reach][:, None] - offered, axis=-1).min(axis=1)
        assert gaps.max() < 1e-9
    assert torch.isinf(penalty).any()  # the large cell needs fewer than the thin one
    assert ((penalty == 0) | torch.isinf(penalty)).all()


def test_nearest_displacements_are_the_shortest_in_reduced_cells() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        cell = np.diag(rng.uniform(1.5, 9.0, 3)) + rng.normal(size=(3, 3)) * 1.5
        lattice, _, reduced = niggli_reduce(cell, np.zeros((1, 3)))
        assert reduced
        start, end = rng.random((4, 3)), rng.random((4, 3)) * 4 - 2
        found = nearest_displacements(*(torch.from_numpy(a[None]) for a in (start, end, lattice)))[0].numpy()
        grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
        direct = end[None] - start[:, None]
        every = (direct - np.round(direct))[:, :, None] + grid
        shortest = np.linalg.norm(every @ lattice, axis=-1).min(axis=-1)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), shortest, atol=1e-9)
        cells_apart = found @ np.linalg.inv(lattice) - direct
        np.testing.assert_allclose(cells_apart, np.round(cells_apart), atol=1e-9)


def test_quadrupole_matrices_are_symmetric_traceless_and_fit_the_harmonics() -> None:
    matrices = quadrupole_matrix(torch.float64).view(5, 3, 3)
    torch.testing.assert_close(matrices, matrices.transpose(1, 2))
    torch.testing.assert_close(torch.einsum("mii->m", matrices), torch.zeros(5, dtype=torch.float64))
    gram = torch.einsum("mxy,nxy->mn", matrices, matrices)
    torch.testing.assert_close(gram, 1.5 * torch.eye(5, dtype=torch.float64))
    # One neighbour at each of many directions, far from its own images.
    unit = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    frac = torch.stack([torch.zeros(50, 3, dtype=torch.float64), unit * 2.0 / 20.0], dim=1)
    g = densities(frac, 20 * torch.eye(3, dtype=torch.float64).expand(50, 3, 3), BASIS)
    size = torch.linalg.norm(g.tensor[:, 0, :, :, 1], dim=1)  # the squares of the harmonics sum to one
    expected = (3 * unit[:, :, None] * unit[:, None, :] - torch.eye(3, dtype=torch.float64)) / 2
    torch.testing.assert_close(as_matrices(g)[:, 0, :, :, :, 1], expected[..., None] * size[:, None, None, :])
    torch.testing.assert_close(size, size[:1].expand(50, -1))


def test_gradients_of_the_densities_equal_finite_differences() -> None:
    random = np.random.default_rng(3)
    lattice = torch.from_numpy(4 * np.eye(3) + 0.4 * random.normal(size=(2, 3, 3)))
    frac = torch.from_numpy(random.random((2, 3, 3)))
    plain = densities(frac, lattice, BASIS)
    weights = [torch.from_numpy(random.normal(size=tuple(part.shape))) for part in _parts(plain)]

    def weighted(frac: torch.Tensor, lattice: torch.Tensor) -> torch.Tensor:
        parts = _parts(differentiable_densities(frac, lattice, BASIS))
        return sum(((w * part).sum() for w, part in zip(weights, parts, strict=True)), torch.zeros(()))

    inputs = frac.requires_grad_(True), lattice.requires_grad_(True)
    for part, other in zip(_parts(plain), _parts(differentiable_densities(*inputs, BASIS)), strict=True):
        assert torch.allclose(part, other, rtol=1e-12, atol=1e-12)
        assert other.requires_grad
        assert not part.requires_grad
    assert torch.autograd.gradcheck(weighted, inputs, eps=1e-6, atol=1e-5)


def _parts(g: Densities) -> list[torch.Tensor]:
    return [g.scalar, g.vector, g.tensor, g.coarse]
