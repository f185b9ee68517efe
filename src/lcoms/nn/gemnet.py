"""GemNet with direct forces: one equivariant vector per atom, from noisy atoms and a condition.

Gasteiger et al. 2021 (2106.08903) in the triplet form of CDVAE, or with quadruplets (GemNet-dQ), with two changes: the
graph contains the nearest neighbours of both ends, ties kept, so that it does not depend on the order of atoms, and the
condition may contain more than the latent. The noise level is not an input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lcoms.nn.gemnet_quadruplets import QuadrupletBasis, QuadrupletConfig, QuadrupletGraph, QuadrupletMessages
from lcoms.nn.layers import (
    INV_SQRT_2,
    GaussianBasis,
    ScaledResidual,
    angular_table,
    dense,
    he_orthogonal_,
    segment_sum,
)
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.elements import N_ELEMENTS
from lcoms.structure.neighbors import Slots, neighbor_list

# Constants that preserve variances, block by block, as published with CDVAE (fitted on another data set).
TRIPLET_GATE_SCALES = (18.87, 16.11, 15.02)
TRIPLET_SUM_SCALES = (8.00, 7.61, 7.03)
ATOM_SUM_SCALES = (1.220, 0.969, 0.890)
OUTPUT_GATE_SCALES = (16.16, 13.55, 12.75, 13.48)


@dataclass(frozen=True)
class GemNetConfig:
    """Sizes of the denoiser.

    Attributes:
        atom: channels of an atom.
        edge: channels of an edge.
        n_blocks: interaction blocks.
        triplet: channels in the sum over angles.
        bilinear: channels of the result of this sum.
        basis: channels of the projected bases.
        n_radial: number of Gaussians.
        n_spherical: number of angular functions.
        cutoff: where messages vanish, angstrom.
        envelope_exponent: how sharply they vanish.
        n_neighbors: number of nearest neighbours of an atom, ties kept.
        n_atom_residuals: number of residual layers of the atom update and of the output.
        quadruplets: whether edges also see dihedral angles, as in GemNet-dQ.
        quadruplet_sizes: sizes of the sums over quadruplets, if they do.
    """

    atom: int = 128
    edge: int = 128
    n_blocks: int = 3
    triplet: int = 64
    bilinear: int = 64
    basis: int = 16
    n_radial: int = 128
    n_spherical: int = 7
    cutoff: float = 7.0
    envelope_exponent: int = 5
    n_neighbors: int = 20
    n_atom_residuals: int = 3
    quadruplets: bool = False
    quadruplet_sizes: QuadrupletConfig = field(default_factory=QuadrupletConfig)


class GemNetDenoiser(nn.Module):
    """Maps noisy crystals, each with a condition, to one vector per atom: (clean - noisy) / sigma if so trained."""

    def __init__(self, config: GemNetConfig, condition: int) -> None:
        super().__init__()
        self.config = c = config
        self.embed_atom = nn.Embedding(N_ELEMENTS + 1, c.atom)
        nn.init.uniform_(self.embed_atom.weight, -(3**0.5), 3**0.5)
        self.embed_condition = nn.Linear(c.atom + condition, c.atom)
        self.radial = GaussianBasis(c.n_radial, c.cutoff, exponent=c.envelope_exponent)
        self.embed_edge = dense(2 * c.atom + c.n_radial, c.edge, activation=True)
        self.radial_triplet = dense(c.n_radial, c.basis)
        self.radial_atom = dense(c.n_radial, c.basis)
        self.radial_output = dense(c.n_radial, c.basis)
        self.circular = nn.Parameter(he_orthogonal_(torch.empty(c.n_spherical, c.n_radial, c.basis)))
        self.blocks = nn.ModuleList(_Block(c, number) for number in range(c.n_blocks))
        self.outputs = nn.ModuleList(_Output(c, number) for number in range(c.n_blocks + 1))
        self.quadruplet_basis = (
            QuadrupletBasis(
                c.quadruplet_sizes,
                basis=c.basis,
                n_radial=c.n_radial,
                n_spherical=c.n_spherical,
                envelope_exponent=c.envelope_exponent,
            )
            if c.quadruplets
            else None
        )

    def forward(
        self, batch: CrystalBatch, condition: Float[Tensor, "n_crystals condition"]
    ) -> Float[Tensor, "n_atoms 3"]:
        """Build the graph from the coordinates, without gradients with respect to them, and return the vectors."""
        c, basis = self.config, self.quadruplet_basis
        edges = neighbor_list(batch, cutoff=c.cutoff, k=c.n_neighbors, symmetric=True)
        vectors = edges.vectors(batch).detach()
        distance = vectors.norm(dim=1)
        slots = Slots.from_edges(edges, len(batch.atomic_numbers))
        gaussians = self.radial(distance)
        graph = _Graph(
            source=edges.source,
            target=edges.target,
            reverse=edges.reverse(),
            slots=slots,
            angular=angular_table(slots, vectors, c.n_spherical).transpose(2, 3).flatten(1, 2),
            radial_triplet=self.radial_triplet(gaussians),
            radial_atom=self.radial_atom(gaussians),
            circular=torch.einsum("er,lrb->ebl", gaussians, self.circular),
            quadruplets=None if basis is None else basis(batch, edges, slots, gaussians),
        )
        h = self.embed_atom(batch.atomic_numbers)
        h = self.embed_condition(torch.cat([h, condition[batch.crystal_idx]], dim=1))
        m = self.embed_edge(torch.cat([h[graph.source], h[graph.target], gaussians], dim=1))
        radial_output = self.radial_output(gaussians)
        force = self.outputs[0](m, radial_output)
        for block, output in zip(self.blocks, self.outputs[1:], strict=True):
            h, m = block(h, m, graph)
            force = force + output(m, radial_output)
        unit = vectors / distance.clamp_min(1e-6)[:, None]
        return segment_sum(force * unit, edges.target, len(h))


@dataclass(frozen=True, eq=False)
class _Graph:
    """Edges with their projected bases; `angular` is Y_l with rows (slot of c, l), columns (slot of b) per atom a."""

    source: Int[Tensor, " n_edges"]
    target: Int[Tensor, " n_edges"]
    reverse: Int[Tensor, " n_edges"]
    slots: Slots
    angular: Float[Tensor, "n_atoms slots_by_l n_slots"]
    radial_triplet: Float[Tensor, "n_edges basis"]
    radial_atom: Float[Tensor, "n_edges basis"]
    circular: Float[Tensor, "n_edges basis n_spherical"]
    quadruplets: QuadrupletGraph | None


class _Triplets(nn.Module):
    """Messages to edge c->a from all other edges b->a, through the angle at a."""

    def __init__(self, config: GemNetConfig, number: int) -> None:
        super().__init__()
        c = config
        self.gate_scale, self.sum_scale = _pick(TRIPLET_GATE_SCALES, number), _pick(TRIPLET_SUM_SCALES, number)
        self.source = dense(c.edge, c.edge, activation=True)
        self.gate = dense(c.basis, c.edge)
        self.down = dense(c.edge, c.triplet, activation=True)
        self.bilinear = nn.Parameter(he_orthogonal_(torch.empty(c.triplet, c.basis, c.bilinear)))
        self.up = dense(c.bilinear, c.edge, activation=True)
        self.up_reverse = dense(c.bilinear, c.edge, activation=True)

    def forward(self, m: Float[Tensor, "n_edges edge"], graph: _Graph) -> Float[Tensor, "n_edges edge"]:
        x = self.down(self.source(m) * self.gate(graph.radial_triplet) * self.gate_scale)
        table = torch.bmm(graph.angular, graph.slots.scatter(x))
        n_slots, n_spherical = graph.slots.filled.shape[1], graph.circular.shape[2]
        summed = graph.slots.gather(table.unflatten(1, (n_slots, n_spherical)))  # n_edges, n_spherical, triplet
        mixed = torch.bmm(graph.circular, summed)  # n_edges, basis, triplet
        weight = self.bilinear.transpose(0, 1).flatten(0, 1)
        x = mixed.flatten(1) @ weight * self.sum_scale
        result: Tensor = (self.up(x) + self.up_reverse(x)[graph.reverse]) * INV_SQRT_2
        return result


class _Block(nn.Module):
    def __init__(self, config: GemNetConfig, number: int) -> None:
        super().__init__()
        c = config
        self.atom_scale = _pick(ATOM_SUM_SCALES, number)
        self.own = dense(c.edge, c.edge, activation=True)
        self.triplets = _Triplets(c, number)
        self.before = ScaledResidual(c.edge)
        self.after = nn.Sequential(ScaledResidual(c.edge), ScaledResidual(c.edge))
        self.gate = dense(c.basis, c.edge)
        self.atom = nn.Sequential(
            dense(c.edge, c.atom, activation=True), *(ScaledResidual(c.atom) for _ in range(c.n_atom_residuals))
        )
        self.join = nn.Sequential(dense(2 * c.atom + c.edge, c.edge, activation=True), ScaledResidual(c.edge))
        self.quadruplets = QuadrupletMessages(c.quadruplet_sizes, edge=c.edge, basis=c.basis) if c.quadruplets else None

    def forward(self, h: Tensor, m: Tensor, graph: _Graph) -> tuple[Tensor, Tensor]:
        """Return updated features of atoms (n_atoms, atom) and edges (n_edges, edge)."""
        terms = [self.own(m), self.triplets(m, graph)]
        if self.quadruplets is not None and graph.quadruplets is not None:
            terms.append(self.quadruplets(m, graph.quadruplets, graph.reverse))
        x = self.before(sum(terms[1:], terms[0]) * len(terms) ** -0.5)
        m = self.after((m + x) * INV_SQRT_2)
        gathered = segment_sum(m * self.gate(graph.radial_atom), graph.target, len(h)) * self.atom_scale
        h = (h + self.atom(gathered)) * INV_SQRT_2
        joined = self.join(torch.cat([h[graph.source], h[graph.target], m], dim=1))
        return h, (m + joined) * INV_SQRT_2


class _Output(nn.Module):
    """Magnitude of the force along each edge."""

    def __init__(self, config: GemNetConfig, number: int) -> None:
        super().__init__()
        c = config
        self.scale = _pick(OUTPUT_GATE_SCALES, number)
        self.stack = nn.Sequential(
            dense(c.edge, c.edge, activation=True), *(ScaledResidual(c.edge) for _ in range(c.n_atom_residuals))
        )
        self.gate = dense(c.basis, c.edge)
        self.force = dense(c.edge, 1)

    def forward(self, m: Tensor, radial: Tensor) -> Float[Tensor, "n_edges 1"]:
        return self.force(self.stack(m) * self.gate(radial) * self.scale)


def _pick(scales: tuple[float, ...], number: int) -> float:
    """Return the constant of a block; blocks beyond the published ones use the last."""
    return scales[min(number, len(scales) - 1)]
