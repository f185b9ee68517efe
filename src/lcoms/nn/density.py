"""Equivariant message passing on pair densities: the trunk of the fast encoder and denoiser.

Scalars h (n_atoms, channels) and vectors v (n_atoms, 3, n_vectors). A message is a matrix-valued radial filter applied
to the features of neighbours, m_i = sum_k W_k sum_j G[i, j, k] phi_j, so that nearly all work is matrix products.
Vectors and quadrupoles of the density enter the scalars through their invariant products; the output vectors are
displacements.

Crystals with equal numbers of atoms are a group. Only the densities G are separate for each group: all else is computed
for the atoms of all groups at once, in the order of groups, crystals and atoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lcoms.nn.geometry import Densities, DensityBasis, quadrupole_matrix

FILTER_SCALE = 0.5


class DensityLayer(nn.Module):
    """One round of messages; `condition` scales and shifts the normalised scalars (adaptive layer norm)."""

    quadrupole: Tensor

    def __init__(self, basis: DensityBasis, *, channels: int, filters: int, vectors: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.modulate = nn.Linear(condition, 2 * channels)
        self.neighbor = nn.Linear(channels, filters, bias=False)
        self.scalar_filter = nn.Linear(basis.n_scalar * filters, channels, bias=False)
        self.vector_filter = nn.Linear(basis.n_vector * filters, vectors, bias=False)
        self.tensor_filter = nn.Linear(basis.n_tensor * filters, vectors // 2, bias=False)
        self.pass_in = nn.Linear(vectors, vectors // 2, bias=False)
        self.pass_out = nn.Linear(basis.n_coarse * (vectors // 2), vectors, bias=False)
        self.left = nn.Linear(vectors, vectors, bias=False)
        self.right = nn.Linear(vectors, vectors, bias=False)
        self.turn_in = nn.Linear(vectors, vectors // 2, bias=False)
        self.turn_out = nn.Linear(vectors // 2, vectors, bias=False)
        self.mix = nn.Linear(vectors, vectors, bias=False)
        self.expand = nn.Linear(2 * channels + vectors + vectors // 2, 2 * channels)
        self.contract = nn.Linear(2 * channels, channels)
        self.gate = nn.Linear(2 * channels, 2 * vectors)
        self.register_buffer("quadrupole", quadrupole_matrix(torch.float32), persistent=False)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(
        self, h: Tensor, v: Tensor, groups: Sequence[Densities], condition: Float[Tensor, "n_crystals k"]
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n 3 v"]]:
        scale, shift = to_atoms(self.modulate(condition), groups).chunk(2, dim=-1)
        x = self.norm(h) * (1 + scale) + shift
        phi = self.neighbor(x) * FILTER_SCALE
        message = self.scalar_filter(_gather([g.scalar for g in groups], phi).flatten(1))
        u = self.vector_filter(_gather([g.vector for g in groups], phi).flatten(2)) + self._passed_on(v, groups)
        t = self.tensor_filter(_gather([g.tensor for g in groups], phi).flatten(2))
        w = v + u
        bent = _bent(t, self.quadrupole, self.turn_in(w))
        invariants = torch.cat([(self.left(w) * self.right(w)).sum(1), t.square().sum(1)], dim=-1)
        hidden = functional.silu(self.expand(torch.cat([x, message, invariants], dim=-1)))
        h = h + self.contract(hidden)
        gate_u, gate_v = self.gate(hidden)[:, None, :].chunk(2, dim=-1)
        return h, _normalised(w + gate_u * self.mix(u) + gate_v * self.turn_out(bent))

    def _passed_on(self, v: Tensor, groups: Sequence[Densities]) -> Tensor:
        sent = self.pass_in(v).flatten(1)
        received = _gather([g.coarse for g in groups], sent).unflatten(2, (3, -1))
        return self.pass_out(received.transpose(1, 2).flatten(2))


class DensityTrunk(nn.Module):
    """A stack of layers."""

    def __init__(
        self, basis: DensityBasis, *, layers: int, channels: int, filters: int, vectors: int, condition: int
    ) -> None:
        super().__init__()
        self.vectors = vectors
        self.layers = nn.ModuleList(
            DensityLayer(basis, channels=channels, filters=filters, vectors=vectors, condition=condition)
            for _ in range(layers)
        )

    def forward(
        self, h: Float[Tensor, "n c"], groups: Sequence[Densities], condition: Float[Tensor, "n_crystals k"]
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n 3 v"]]:
        v = h.new_zeros(len(h), 3, self.vectors)
        for layer in self.layers:
            h, v = layer(h, v, groups, condition)
        return h, v


class PairReadout(nn.Module):
    """Displacements from neighbour directions, each weighted by a bilinear form of both atoms' scalars."""

    def __init__(self, basis: DensityBasis, *, channels: int, filters: int, vectors: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.neighbor = nn.Linear(channels, filters, bias=False)
        self.own = nn.Linear(channels, basis.n_vector * filters)
        self.gate = nn.Linear(channels, vectors)
        nn.init.zeros_(self.own.weight)

    def forward(self, h: Tensor, v: Tensor, groups: Sequence[Densities]) -> Float[Tensor, "n 3"]:
        x = self.norm(h)
        pulled = _gather([g.vector for g in groups], self.neighbor(x) * FILTER_SCALE).flatten(2)
        weights = self.own(x)
        pairs = torch.einsum("nxk,nk->nx", pulled, weights) / weights.shape[-1] ** 0.5
        return (pairs + torch.einsum("nxc,nc->nx", v, self.gate(x)) / v.shape[-1] ** 0.5).float()


class StrainReadout(nn.Module):
    """A symmetric strain of the cell: quadrupoles of the neighbours and products of vectors, averaged over atoms."""

    quadrupole: Tensor

    def __init__(self, basis: DensityBasis, *, channels: int, filters: int, vectors: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.neighbor = nn.Linear(channels, filters, bias=False)
        self.own = nn.Linear(channels, basis.n_tensor * filters)
        self.left = nn.Linear(vectors, vectors, bias=False)
        self.right = nn.Linear(vectors, vectors, bias=False)
        self.gate = nn.Linear(channels, vectors)
        self.trace = nn.Linear(channels, 1)
        self.register_buffer("quadrupole", quadrupole_matrix(torch.float32), persistent=False)
        for layer in (self.own, self.gate, self.trace):
            nn.init.zeros_(layer.weight)

    def forward(self, h: Tensor, v: Tensor, groups: Sequence[Densities]) -> Float[Tensor, "n_crystals 3 3"]:
        x = self.norm(h)
        pulled = _gather([g.tensor for g in groups], self.neighbor(x) * FILTER_SCALE).flatten(2)
        weights = self.own(x)
        five = mean_over_atoms(torch.einsum("nmk,nk->nm", pulled, weights).float(), groups) / weights.shape[-1] ** 0.5
        outer = torch.einsum("nxc,nyc->nxy", self.left(v) * self.gate(x)[:, None, :], self.right(v))
        outer = mean_over_atoms(outer.float(), groups) / v.shape[-1] ** 0.5
        eye = torch.eye(3, device=h.device)
        return (
            (five @ self.quadrupole).view(-1, 3, 3)
            + (outer + outer.transpose(1, 2)) / 2
            + mean_over_atoms(self.trace(x).float(), groups)[..., None] * eye
        )


def by_group(values: Float[Tensor, "n ..."], groups: Sequence[Densities]) -> list[Float[Tensor, "b m ..."]]:
    """Return values of atoms by group, crystal and atom."""
    shapes = [g.scalar.shape[:2] for g in groups]
    parts = values.split([b * m for b, m in shapes])
    return [part.unflatten(0, tuple(shape)) for part, shape in zip(parts, shapes, strict=True)]


def mean_over_atoms(values: Float[Tensor, "n ..."], groups: Sequence[Densities]) -> Float[Tensor, "n_crystals ..."]:
    """Return the mean of each crystal's atoms."""
    return torch.cat([part.mean(1) for part in by_group(values, groups)])


def to_atoms(values: Float[Tensor, "n_crystals k"], groups: Sequence[Densities]) -> Float[Tensor, "n k"]:
    """Return values of crystals for each of their atoms."""
    parts = values.split([len(g.scalar) for g in groups])
    wide = [part[:, None].expand(-1, g.scalar.shape[1], -1) for part, g in zip(parts, groups, strict=True)]
    return torch.cat([part.flatten(0, 1) for part in wide])


def _gather(densities: Sequence[Tensor], phi: Float[Tensor, "n f"]) -> Float[Tensor, "n ... f"]:
    """Return sum_j G[b, i, ..., j] phi[b, j, f], of each group as one batched matrix product."""
    sizes = [(len(g), g.shape[1]) for g in densities]
    parts = phi.to(densities[0].dtype).split([b * m for b, m in sizes])
    products = [
        torch.bmm(g.reshape(b, -1, m), part.view(b, m, -1)).view(b * m, *g.shape[2:-1], -1)
        for g, part, (b, m) in zip(densities, parts, sizes, strict=True)
    ]
    return torch.cat(products)


def _bent(
    t: Float[Tensor, "n 5 c"], quadrupole: Float[Tensor, "5 9"], u: Float[Tensor, "n 3 c"]
) -> Float[Tensor, "n 3 c"]:
    """Return sum_m t_m Q_m u: vectors multiplied by the matrices of quadrupoles.

    In two steps, since torch.einsum searches for the best order of three factors at each call.
    """
    matrices = quadrupole.view(5, 3, 3).transpose(0, 1).reshape(3, 15).to(t.dtype)
    return torch.matmul(matrices, (t[:, :, None] * u[:, None]).flatten(1, 2))


def _normalised(v: Float[Tensor, "n 3 c"]) -> Float[Tensor, "n 3 c"]:
    """Return vectors over sqrt(1 + their mean square length), so that they do not diverge with depth."""
    size = v.float().square().sum(1, keepdim=True).mean(2, keepdim=True)
    return v * torch.rsqrt(1 + size).to(v.dtype)
