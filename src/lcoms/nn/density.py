"""Equivariant message passing on pair densities: the trunk of the fast encoder and denoiser.

Scalars h (n_atoms, channels) and vectors v (n_atoms, 3, n_vectors). A message is a matrix-valued radial filter applied
to the features of neighbours, m_i = sum_k W_k sum_j G[i, j, k] phi_j, so that nearly all work is matrix products.
Vectors and quadrupoles of the density enter the scalars through their invariant products; the output vectors are
displacements.
"""

from __future__ import annotations

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
        self, h: Tensor, v: Tensor, g: Densities, condition: Tensor
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n 3 v"]]:
        scale, shift = self.modulate(condition)[:, None, :].chunk(2, dim=-1)
        x = self.norm(h) * (1 + scale) + shift
        phi = self.neighbor(x) * FILTER_SCALE
        message = self.scalar_filter(_gather(g.scalar, phi).flatten(2))
        u = self.vector_filter(_gather(g.vector, phi).flatten(3)) + self._passed_on(v, g)
        t = self.tensor_filter(_gather(g.tensor, phi).flatten(3))
        w = v + u
        bent = torch.einsum("bnmc,mxy,bnyc->bnxc", t, self.quadrupole.view(5, 3, 3).to(t.dtype), self.turn_in(w))
        invariants = torch.cat([(self.left(w) * self.right(w)).sum(2), t.square().sum(2)], dim=-1)
        hidden = functional.silu(self.expand(torch.cat([x, message, invariants], dim=-1)))
        h = h + self.contract(hidden)
        gate_u, gate_v = self.gate(hidden)[:, :, None, :].chunk(2, dim=-1)
        return h, _normalised(w + gate_u * self.mix(u) + gate_v * self.turn_out(bent))

    def _passed_on(self, v: Tensor, g: Densities) -> Tensor:
        sent = self.pass_in(v).flatten(2)
        received = _gather(g.coarse, sent).unflatten(3, (3, -1))
        return self.pass_out(received.transpose(2, 3).flatten(3))


class DensityTrunk(nn.Module):
    """A stack of layers for one group of crystals with equal numbers of atoms."""

    def __init__(
        self, basis: DensityBasis, *, layers: int, channels: int, filters: int, vectors: int, condition: int
    ) -> None:
        super().__init__()
        self.vectors = vectors
        self.layers = nn.ModuleList(
            DensityLayer(basis, channels=channels, filters=filters, vectors=vectors, condition=condition)
            for _ in range(layers)
        )

    def forward(self, h: Tensor, g: Densities, condition: Tensor) -> tuple[Tensor, Tensor]:
        v = h.new_zeros(*h.shape[:2], 3, self.vectors)
        for layer in self.layers:
            h, v = layer(h, v, g, condition)
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

    def forward(self, h: Tensor, v: Tensor, g: Densities) -> Float[Tensor, "b n 3"]:
        x = self.norm(h)
        pulled = _gather(g.vector, self.neighbor(x) * FILTER_SCALE).flatten(3)
        weights = self.own(x)
        pairs = torch.einsum("bnxk,bnk->bnx", pulled, weights) / weights.shape[-1] ** 0.5
        return (pairs + torch.einsum("bnxc,bnc->bnx", v, self.gate(x)) / v.shape[-1] ** 0.5).float()


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

    def forward(self, h: Tensor, v: Tensor, g: Densities) -> Float[Tensor, "b 3 3"]:
        x = self.norm(h)
        pulled = _gather(g.tensor, self.neighbor(x) * FILTER_SCALE).flatten(3)
        weights = self.own(x)
        five = torch.einsum("bnmk,bnk->bnm", pulled, weights).float().mean(1) / weights.shape[-1] ** 0.5
        outer = torch.einsum("bnxc,bnyc->bnxy", self.left(v) * self.gate(x)[:, :, None, :], self.right(v))
        outer = outer.float().mean(1) / v.shape[-1] ** 0.5
        eye = torch.eye(3, device=h.device)
        return (
            (five @ self.quadrupole).view(-1, 3, 3)
            + (outer + outer.transpose(1, 2)) / 2
            + self.trace(x).float().mean(1)[..., None] * eye
        )


def _gather(g: Tensor, phi: Float[Tensor, "b n f"]) -> Tensor:
    """Return sum_j G[b, i, ..., j] phi[b, j, f] as one batched matrix product."""
    b, n = phi.shape[:2]
    phi = phi.to(g.dtype)
    return torch.bmm(g.reshape(b, -1, n), phi).view(*g.shape[:-1], phi.shape[-1])


def _normalised(v: Float[Tensor, "b n 3 c"]) -> Float[Tensor, "b n 3 c"]:
    """Return vectors over sqrt(1 + their mean square length), so that they do not diverge with depth."""
    size = v.float().square().sum(2, keepdim=True).mean(3, keepdim=True)
    return v * torch.rsqrt(1 + size).to(v.dtype)
