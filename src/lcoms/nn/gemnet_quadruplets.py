"""Quadruplets of GemNet-dQ: messages to edge c->a from edges d->b, where b is near a, through the dihedral angle.

Gasteiger et al. 2021 (2106.08903). Edges c->a and d->b belong to the graph of the denoiser; a and b are the ends of an
interaction, which may be longer than an edge. All four atoms are different sites; copies of one atom are different.

No list of quadruplets is made. With the azimuths of c and d about the axis a->b as complex numbers w = sin(angle)
exp(i azimuth), cos(m dihedral) is Re(w_c^m conj(w_d)^m) over the sines, so that the sum over d is done once per
interaction and the sum over b once per edge. The contribution of quadruplets with c = d is subtracted afterwards.

Two changes: harmonics contain only the cosine of the dihedral, so that mirror images get mirrored vectors; and they
contain sin(angle)^m of both ends, so that they are smooth where collinear atoms leave the dihedral undefined.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lcoms.nn.harmonics import associated_legendre, axis_frames, azimuth_powers, parts_of
from lcoms.nn.layers import (
    INV_SQRT_2,
    GaussianBasis,
    dense,
    he_orthogonal_,
    legendre_harmonics,
)
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.neighbors import Edges, Slots, neighbor_list

# Constants that preserve variances, measured with 48 noisy training crystals in untrained networks of default sizes;
# blocks differ by less than 3 %.
GATE_SCALE = 11.9
CIRCULAR_SCALE = 31.9
SUM_SCALE = 3.34


@dataclass(frozen=True)
class QuadrupletConfig:
    """Sizes of the sums over quadruplets; those of GemNet-dQ where published.

    Attributes:
        channels: channels in the sum.
        bilinear: channels of the result of this sum.
        circular_basis: channels of the projected basis of the distance a-b and the angle abd.
        spherical_basis: channels of the projected basis of the distance c-a, the angle cab and the dihedral.
        cutoff: of interactions, angstrom.
        n_neighbors: number of nearest interactions of an atom, ties kept.
    """

    channels: int = 32
    bilinear: int = 32
    circular_basis: int = 16
    spherical_basis: int = 32
    cutoff: float = 10.0
    n_neighbors: int = 8


@dataclass(frozen=True, eq=False)
class QuadrupletGraph:
    """Interactions between atoms a and b with the bases of all quadruplets around them.

    Places are columns of padded tables: of edges d->b for each interaction, or of interactions for each atom a.

    Attributes:
        slots: edges by target.
        interactions: interactions by atom a.
        far_edges: the edge d->b at each place of an interaction.
        turns: real and imaginary parts of w_d^m, zero where there is no d.
        harmonics: for each m, the harmonics of c by the parts of w_c^m, for each atom a.
        closing: index of the edge c->b among all places of far edges, for each edge c->a and its interactions.
        closed: harmonics of quadruplets with c = d, zero where there is none.
        radial: projected radial basis of edges.
        circular: projected basis of interactions and the angles abd.
        spherical: projection of the harmonics for each edge.
    """

    slots: Slots
    interactions: Slots
    far_edges: Int[Tensor, "n_interactions n_slots"]
    turns: Float[Tensor, "n_interactions n_turns n_slots"]
    harmonics: tuple[Float[Tensor, "n_atoms _ _"], ...]
    closing: Int[Tensor, "n_edges n_places"]
    closed: Float[Tensor, "n_edges n_harmonics n_places"]
    radial: Float[Tensor, "n_edges basis"]
    circular: Float[Tensor, "n_interactions n_slots circular_basis"]
    spherical: Float[Tensor, "n_edges spherical_basis n_harmonics"]


class QuadrupletBasis(nn.Module):
    """Finds interactions and computes the bases that all blocks share."""

    def __init__(
        self, config: QuadrupletConfig, *, basis: int, n_radial: int, n_spherical: int, envelope_exponent: int
    ) -> None:
        super().__init__()
        self.config, self.n_spherical = config, n_spherical
        n_harmonics = n_spherical * (n_spherical + 1) // 2
        self.interaction_radial = GaussianBasis(n_radial, config.cutoff, exponent=envelope_exponent)
        self.radial = dense(n_radial, basis)
        self.circular = nn.Parameter(he_orthogonal_(torch.empty(n_spherical, n_radial, config.circular_basis)))
        self.spherical = nn.Parameter(he_orthogonal_(torch.empty(n_harmonics, n_radial, config.spherical_basis)))

    def forward(
        self, batch: CrystalBatch, edges: Edges, slots: Slots, gaussians: Float[Tensor, "n_edges n_radial"]
    ) -> QuadrupletGraph:
        """Return interactions and bases, without gradients with respect to the coordinates.

        Args:
            batch: the crystals.
            edges: the graph, symmetric.
            slots: its edges by target.
            gaussians: radial basis of its edges.
        """
        n = self.n_spherical
        pairs = neighbor_list(batch, cutoff=self.config.cutoff, k=self.config.n_neighbors)
        interactions = Slots.from_edges(pairs, len(batch.atomic_numbers))
        near, far = _near_places(edges, pairs, interactions), _far_places(edges, pairs, slots)
        vectors = pairs.vectors(batch).detach()
        frames, unit = axis_frames(_unit(vectors)), _unit(edges.vectors(batch).detach())
        c = (unit[:, None, None] * frames[near.index]).sum(-1)  # n_edges, n_places, 3
        d = (unit[far.index][:, :, None] * frames[:, None]).sum(-1)  # n_interactions, n_slots, 3
        closing = _closing_edges(edges, pairs, near.index)
        exists = near.valid & (closing >= 0)
        place = near.index * far.index.shape[1] + slots.slot[closing.clamp_min(0)]
        sine = d[..., :2].norm(dim=-1).flatten()[place] * c[..., :2].norm(dim=-1)
        factors = [p * near.valid[..., None] for p in associated_legendre(c[..., 2], n)]
        turns = azimuth_powers(c[..., 0], c[..., 1], n)
        angles = legendre_harmonics(-d[..., 2], n) * far.valid[..., None]
        circular = torch.einsum("ir,lrb->ilb", self.interaction_radial(vectors.norm(dim=1)), self.circular)
        return QuadrupletGraph(
            slots=slots,
            interactions=interactions,
            far_edges=far.index,
            turns=(azimuth_powers(d[..., 0], d[..., 1], n) * far.valid[..., None]).transpose(1, 2),
            harmonics=tuple(_rows(f, turns[..., parts_of(m)], slots) for m, f in enumerate(factors)),
            closing=place,
            closed=torch.cat([f * (exists * sine**m)[..., None] for m, f in enumerate(factors)], -1).transpose(1, 2),
            radial=self.radial(gaussians),
            circular=torch.bmm(angles, circular),
            spherical=torch.einsum("er,hrb->ebh", gaussians, self.spherical),
        )


class QuadrupletMessages(nn.Module):
    """Messages to edge c->a from all edges d->b around the interactions of a."""

    def __init__(self, config: QuadrupletConfig, *, edge: int, basis: int) -> None:
        super().__init__()
        c = config
        self.source = dense(edge, edge, activation=True)
        self.gate = dense(basis, edge)
        self.down = dense(edge, c.channels, activation=True)
        self.circular = dense(c.circular_basis, c.channels)
        self.bilinear = nn.Parameter(he_orthogonal_(torch.empty(c.channels, c.spherical_basis, c.bilinear)))
        self.up = dense(c.bilinear, edge, activation=True)
        self.up_reverse = dense(c.bilinear, edge, activation=True)

    def forward(
        self, m: Float[Tensor, "n_edges edge"], graph: QuadrupletGraph, reverse: Int[Tensor, " n_edges"]
    ) -> Float[Tensor, "n_edges edge"]:
        x = self.down(self.source(m) * self.gate(graph.radial) * GATE_SCALE)
        x = x[graph.far_edges] * self.circular(graph.circular) * CIRCULAR_SCALE  # one row per a, b and d
        table = graph.interactions.scatter(torch.bmm(graph.turns, x))  # n_atoms, n_places, n_turns, channels
        n_slots = graph.slots.filled.shape[1]
        sums = [
            torch.bmm(harmonics, table[:, :, parts_of(order)].flatten(1, 2)).unflatten(1, (n_slots, -1))
            for order, harmonics in enumerate(graph.harmonics)
        ]
        summed = graph.slots.gather(torch.cat(sums, dim=2))  # n_edges, n_harmonics, channels
        summed = summed - torch.bmm(graph.closed, x.flatten(0, 1)[graph.closing])
        mixed = torch.bmm(graph.spherical, summed)  # n_edges, spherical_basis, channels
        x = mixed.flatten(1) @ self.bilinear.transpose(0, 1).flatten(0, 1) * SUM_SCALE
        result: Tensor = (self.up(x) + self.up_reverse(x)[reverse]) * INV_SQRT_2
        return result


@dataclass(frozen=True, eq=False)
class _Places:
    """A padded table: index of the edge or interaction at each place, and whether it takes part."""

    index: Int[Tensor, "n n_places"]
    valid: Bool[Tensor, "n n_places"]


def _near_places(edges: Edges, pairs: Edges, interactions: Slots) -> _Places:
    """Return the interactions a-b of each edge c->a with b other than c."""
    index, filled = _members(interactions, edges.target)
    same = (pairs.edge_images[index] == edges.edge_images[:, None]).all(-1)
    return _Places(index, filled & ~(same & (pairs.source[index] == edges.source[:, None])))


def _far_places(edges: Edges, pairs: Edges, slots: Slots) -> _Places:
    """Return the edges d->b of each interaction a-b with d other than a."""
    index, filled = _members(slots, pairs.source)
    same = (edges.edge_images[index] == -pairs.edge_images[:, None]).all(-1)
    return _Places(index, filled & ~(same & (edges.source[index] == pairs.target[:, None])))


def _members(slots: Slots, atoms: Int[Tensor, " n"]) -> tuple[Int[Tensor, "n n_slots"], Bool[Tensor, "n n_slots"]]:
    """Return the indices of all edges into each atom, and which places hold one; edges are sorted by target."""
    degree = slots.filled.sum(dim=1)
    starts = torch.cumsum(degree, 0) - degree
    index = starts[atoms, None] + torch.arange(slots.filled.shape[1], device=atoms.device)
    return index.clamp_max(len(slots.atom) - 1), slots.filled[atoms]


def _closing_edges(edges: Edges, pairs: Edges, near: Int[Tensor, "n n_places"]) -> Int[Tensor, "n n_places"]:
    """Return the edge c->b for each edge c->a and interaction a-b, -1 if there is none."""
    index = torch.stack([edges.source[:, None].expand_as(near), pairs.source[near]])
    images = edges.edge_images[:, None] - pairs.edge_images[near]
    return edges.find(index.flatten(1), images.flatten(0, 1)).view_as(near)


def _unit(vectors: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _rows(factor: Tensor, turns: Tensor, slots: Slots) -> Float[Tensor, "n_atoms _ _"]:
    """Return the harmonics of one m: rows (slot of c, l), columns (place of b, part of w_c^m)."""
    product = factor.transpose(1, 2)[..., None] * turns[:, None]  # n_edges, n_l, n_places, n_parts
    return slots.scatter(product.flatten(2)).flatten(1, 2)
