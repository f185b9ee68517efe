"""Neighbour densities of crystals with equal numbers of atoms, as dense tensors for matrix products.

For every pair of atoms (i, j) of a cell, the contributions of all periodic images of j within the cutoff of i are
summed into radial functions times real spherical harmonics up to l = 2:

    G_l[i, j, m, k] = sum over images of R_k(d) Y_lm(unit vector from i to the image of j)

A layer that is linear in G sees every image, whatever the choice of cell, for the cost of a batched matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SELF_DISTANCE = 0.01  # angstrom; anything closer is the atom itself
MAX_SHIFT = 12


@dataclass(frozen=True)
class DensityBasis:
    """Resolution of the neighbour densities.

    Attributes:
        cutoff: angstrom.
        n_scalar: number of radial functions for l = 0.
        n_vector: number of radial functions for l = 1.
        n_tensor: number of radial functions for l = 2.
        n_coarse: number of radial functions through which vectors are passed between atoms.
    """

    cutoff: float = 6.0
    n_scalar: int = 24
    n_vector: int = 16
    n_tensor: int = 8
    n_coarse: int = 6


@dataclass(frozen=True, eq=False)
class Densities:
    """Pair densities of a group of crystals; the neighbour index j is last, for products with features of j."""

    scalar: Float[Tensor, "n_crystals n_atoms n_scalar n_atoms"]
    vector: Float[Tensor, "n_crystals n_atoms 3 n_vector n_atoms"]
    tensor: Float[Tensor, "n_crystals n_atoms 5 n_tensor n_atoms"]
    coarse: Float[Tensor, "n_crystals n_atoms n_coarse n_atoms"]

    def to(self, dtype: torch.dtype) -> Densities:
        return Densities(*(t.to(dtype) for t in (self.scalar, self.vector, self.tensor, self.coarse)))


def lattice_shifts(
    lattice: Float[Tensor, "n_crystals 3 3"], reach: float
) -> tuple[Float[Tensor, "n_crystals n_shifts 3"], Float[Tensor, "n_crystals n_shifts"]]:
    """Return lattice translations (angstrom) that can bring atoms, wrapped to +-1/2, within `reach`, and a penalty.

    All crystals get as many translations as the one that needs the most; surplus ones have an infinite penalty.
    """
    spacings = 1.0 / torch.linalg.norm(torch.linalg.inv(lattice), dim=-2)
    needed = torch.ceil(reach / spacings + 0.5).clamp(1, MAX_SHIFT).amax(0).long().tolist()
    axes = [torch.arange(-n, n + 1, dtype=lattice.dtype, device=lattice.device) for n in needed]
    translations = torch.cartesian_prod(*axes) @ lattice
    corners = torch.cartesian_prod(*[lattice.new_tensor([-0.5, 0.5])] * 3) @ lattice
    limit = reach + torch.linalg.norm(corners, dim=-1).amax(-1)
    norms = torch.linalg.norm(translations, dim=-1)
    inside = norms < limit[:, None]
    n_shifts = int(inside.sum(-1).max())
    norms, order = torch.topk(norms, n_shifts, largest=False)
    translations = torch.gather(translations, 1, order[..., None].expand(-1, -1, 3))
    penalty = torch.where(norms < limit[:, None], 0.0, torch.inf)
    return translations, penalty


def wrapped_displacements(
    frac_coords: Float[Tensor, "n_crystals n_atoms 3"], lattice: Float[Tensor, "n_crystals 3 3"]
) -> Float[Tensor, "n_crystals n_atoms n_atoms 3"]:
    """Return Cartesian vectors from i to j with fractional differences in [-1/2, 1/2]."""
    difference = frac_coords[:, None, :, :] - frac_coords[:, :, None, :]
    return torch.einsum("bijc,bcd->bijd", difference - torch.round(difference), lattice)


@torch.no_grad()
def densities(
    frac_coords: Float[Tensor, "n_crystals n_atoms 3"], lattice: Float[Tensor, "n_crystals 3 3"], basis: DensityBasis
) -> Densities:
    """Return pair densities of crystals of equal size, without gradients with respect to the coordinates."""
    return differentiable_densities(frac_coords, lattice, basis)


def differentiable_densities(
    frac_coords: Float[Tensor, "n_crystals n_atoms 3"], lattice: Float[Tensor, "n_crystals 3 3"], basis: DensityBasis
) -> Densities:
    """Return pair densities of crystals of equal size, with gradients with respect to coordinates and lattices."""
    n_crystals, n_atoms = frac_coords.shape[:2]
    translations, penalty = lattice_shifts(lattice, basis.cutoff)
    direct = wrapped_displacements(frac_coords, lattice).reshape(n_crystals, n_atoms * n_atoms, 3)
    squared = (
        direct.square().sum(-1, keepdim=True)
        + 2 * torch.bmm(direct, translations.transpose(1, 2))
        + (translations.square().sum(-1) + penalty)[:, None, :]
    )
    near = (squared < basis.cutoff**2) & (squared > SELF_DISTANCE**2)
    crystal, pair, shift = torch.nonzero(near, as_tuple=True)
    vectors = direct[crystal, pair] + translations[crystal, shift]
    n_pairs = n_crystals * n_atoms * n_atoms
    counts = torch.bincount(crystal * n_atoms * n_atoms + pair, minlength=n_pairs)
    columns = _edge_columns(vectors, basis)
    summed = (
        functional.embedding_bag(
            torch.arange(len(columns), device=columns.device), columns, torch.cumsum(counts, 0) - counts, mode="sum"
        )
        if len(columns)
        else columns.new_zeros(n_pairs, columns.shape[1])
    )
    return _arrange(summed.view(n_crystals, n_atoms, n_atoms, -1), basis)


def _edge_columns(vectors: Float[Tensor, "n_edges 3"], basis: DensityBasis) -> Float[Tensor, "n_edges n_columns"]:
    distance = torch.linalg.norm(vectors, dim=-1).clamp_min(SELF_DISTANCE)
    unit = vectors / distance[:, None]
    x = distance / basis.cutoff
    envelope = (1 - x).clamp_min(0).square() * (1 + 2 * x)
    n0, n1, n2, n3 = basis.n_scalar, 3 * basis.n_vector, 5 * basis.n_tensor, basis.n_coarse

    def radial(n: int) -> Tensor:
        return _gaussians(distance, n, basis.cutoff) * envelope[:, None]

    if vectors.requires_grad:
        moments = [(unit, basis.n_vector), (_quadrupole(unit), basis.n_tensor)]
        products = [(angles[:, :, None] * radial(n)[:, None, :]).flatten(1) for angles, n in moments]
        return torch.cat([radial(n0), *products, radial(n3)], dim=1)
    columns = vectors.new_empty(len(vectors), n0 + n1 + n2 + n3)
    scalar, vector, tensor, coarse = columns.split([n0, n1, n2, n3], dim=1)
    scalar.copy_(radial(n0))
    torch.mul(unit[:, :, None], radial(basis.n_vector)[:, None, :], out=vector.unflatten(1, (3, -1)))
    torch.mul(_quadrupole(unit)[:, :, None], radial(basis.n_tensor)[:, None, :], out=tensor.unflatten(1, (5, -1)))
    coarse.copy_(radial(n3))
    return columns


def _gaussians(distance: Float[Tensor, " n_edges"], n: int, cutoff: float, start: float = 0.6) -> Tensor:
    """Return Gaussians with centres from `start` to the cutoff, as wide as their spacing."""
    centres = torch.linspace(start, cutoff, n, dtype=distance.dtype, device=distance.device)
    spacing = (cutoff - start) / (n - 1)
    return torch.exp(-0.5 * ((distance[:, None] - centres) / spacing).square())


def _quadrupole(unit: Float[Tensor, "n_edges 3"]) -> Float[Tensor, "n_edges 5"]:
    """Return real l = 2 harmonics, scaled so that their squares sum to one."""
    x, y, z = unit.unbind(-1)
    root3 = 3**0.5
    return torch.stack(
        [root3 * x * y, root3 * y * z, 0.5 * (3 * z * z - 1), root3 * x * z, 0.5 * root3 * (x * x - y * y)], dim=-1
    )


def quadrupole_matrix(dtype: torch.dtype) -> Float[Tensor, "5 9"]:
    """Return the map from five components to a symmetric traceless 3 x 3 matrix (flattened): sum_m t_m matrix_m."""
    matrix = torch.zeros(5, 3, 3, dtype=torch.float64)
    half = 0.5 * 3**0.5
    for m, (i, j) in ((0, (0, 1)), (1, (1, 2)), (3, (0, 2))):
        matrix[m, i, j] = matrix[m, j, i] = half
    matrix[2].diagonal().copy_(matrix.new_tensor([-0.5, -0.5, 1.0]))
    matrix[4].diagonal().copy_(matrix.new_tensor([half, -half, 0.0]))
    return matrix.flatten(1).to(dtype)


def _arrange(pairs: Float[Tensor, "n_crystals n_atoms n_atoms n_columns"], basis: DensityBasis) -> Densities:
    sizes = [basis.n_scalar, 3 * basis.n_vector, 5 * basis.n_tensor, basis.n_coarse]
    scalar, vector, tensor, coarse = pairs.permute(0, 1, 3, 2).split(sizes, dim=2)
    return Densities(
        scalar.contiguous(),
        vector.unflatten(2, (3, basis.n_vector)).contiguous(),
        tensor.unflatten(2, (5, basis.n_tensor)).contiguous(),
        coarse.contiguous(),
    )


def nearest_displacements(
    start: Float[Tensor, "n_crystals n_atoms 3"],
    end: Float[Tensor, "n_crystals n_atoms 3"],
    lattice: Float[Tensor, "n_crystals 3 3"],
) -> Float[Tensor, "n_crystals n_atoms n_atoms 3"]:
    """Return the shortest vectors from every start to every end atom (fractional inputs) over the 27 nearest images.

    The vectors are Cartesian; exact for reduced cells.
    """
    difference = end[:, None, :, :] - start[:, :, None, :]
    direct = torch.einsum("bijc,bcd->bijd", difference - torch.round(difference), lattice)
    axis = torch.arange(-1, 2, dtype=lattice.dtype, device=lattice.device)
    translations = torch.cartesian_prod(axis, axis, axis) @ lattice
    squared = torch.einsum("bijd,btd->bijt", direct, translations) * 2 + translations.square().sum(-1)[:, None, None, :]
    best = squared.argmin(-1)
    chosen = torch.gather(translations, 1, best.flatten(1)[..., None].expand(-1, -1, 3))
    return direct + chosen.view_as(direct)
