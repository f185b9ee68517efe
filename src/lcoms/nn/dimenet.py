"""DimeNet++ encoder: one invariant vector per crystal, from the nearest neighbours of every atom.

Gasteiger et al. 2020 (2011.14115) in the form of CDVAE, with two changes. The graph is the symmetric list of nearest
neighbours, and only angles between an edge and its own reverse are omitted: cells of one or two atoms keep theirs.
The sum over neighbours k of edge j->i is evaluated with the angular part last,

    sum_k x_kj sum_ln W_ln b_ln(d_kj) Y_l(angle) = sum_l sum_k Y_l(angle) [x_kj sum_n W_ln b_ln(d_kj)],

which is one matrix product per atom j.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lcoms.nn.layers import (
    Residual,
    SineBasis,
    SphericalBesselBasis,
    angular_table,
    glorot_linear,
    segment_mean,
    segment_sum,
)
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.elements import N_ELEMENTS
from lcoms.structure.neighbors import Edges, Slots, neighbor_list

MIN_DISTANCE = 0.1  # angstrom; the basis diverges at 0


@dataclass(frozen=True)
class DimeNetConfig:
    """Sizes of the encoder.

    Attributes:
        hidden: channels of an edge.
        n_blocks: interaction blocks.
        triplet: channels in the sum over angles.
        basis: channels between basis and hidden.
        output: channels of the result.
        n_spherical: angular functions.
        n_radial: radial functions.
        cutoff: where messages vanish, angstrom.
        envelope_exponent: how sharply they vanish.
        n_neighbors: number of nearest neighbours of an atom, ties kept.
        n_output_layers: number of layers of an output block.
    """

    hidden: int = 128
    n_blocks: int = 4
    triplet: int = 64
    basis: int = 8
    output: int = 256
    n_spherical: int = 7
    n_radial: int = 6
    cutoff: float = 7.0
    envelope_exponent: int = 5
    n_neighbors: int = 12
    n_output_layers: int = 3


class DimeNetEncoder(nn.Module):
    """Maps crystals to vectors that do not depend on orientation, origin, order of atoms or choice of cell."""

    def __init__(self, config: DimeNetConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed_atom = nn.Embedding(N_ELEMENTS + 1, c.hidden)
        nn.init.uniform_(self.embed_atom.weight, -(3**0.5), 3**0.5)
        self.radial = SineBasis(c.n_radial, c.cutoff, exponent=c.envelope_exponent)
        self.bessel = SphericalBesselBasis(c.n_spherical, c.n_radial, c.cutoff, exponent=c.envelope_exponent)
        self.embed_radial = nn.Sequential(glorot_linear(c.n_radial, c.hidden), nn.SiLU())
        self.embed_edge = nn.Sequential(glorot_linear(3 * c.hidden, c.hidden), nn.SiLU())
        self.interactions = nn.ModuleList(_Interaction(c) for _ in range(c.n_blocks))
        self.outputs = nn.ModuleList(_Output(c) for _ in range(c.n_blocks + 1))

    def forward(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals output"]:
        """Return one vector per crystal: the mean over its atoms."""
        n_atoms = len(batch.atomic_numbers)
        edges = neighbor_list(batch, k=self.config.n_neighbors, symmetric=True)
        graph, distance = _graph(edges, batch, self.config.n_spherical)
        radial, bessel = self.radial(distance), self.bessel(distance)
        h = self.embed_atom(batch.atomic_numbers)
        m = self.embed_edge(torch.cat([h[edges.target], h[edges.source], self.embed_radial(radial)], dim=1))
        total = self.outputs[0](m, radial, edges.target, n_atoms)
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            m = interaction(m, radial, bessel, graph)
            total = total + output(m, radial, edges.target, n_atoms)
        return segment_mean(total, batch.crystal_idx, batch.n_crystals)


@dataclass(frozen=True, eq=False)
class _Graph:
    """Geometry for the interaction blocks.

    Attributes:
        slots: edges into each atom.
        reverse: index of the reverse of each edge.
        angular: Y_l of the angle between two edges into the same atom; zero for an edge with itself.
    """

    slots: Slots
    reverse: Int[Tensor, " n_edges"]
    angular: Float[Tensor, "n_atoms n_slots n_slots n_spherical"]


def _graph(edges: Edges, batch: CrystalBatch, n_spherical: int) -> tuple[_Graph, Tensor]:
    """Return the graph, and the distances of the edges."""
    vectors = edges.vectors(batch).detach()
    distance = vectors.norm(dim=1).clamp_min(MIN_DISTANCE)
    slots = Slots.from_edges(edges, len(batch.atomic_numbers))
    return _Graph(slots, edges.reverse(), angular_table(slots, vectors, n_spherical)), distance


class _Interaction(nn.Module):
    def __init__(self, config: DimeNetConfig) -> None:
        super().__init__()
        c = config
        self.own = nn.Sequential(glorot_linear(c.hidden, c.hidden), nn.SiLU())
        self.neighbor = nn.Sequential(glorot_linear(c.hidden, c.hidden), nn.SiLU())
        self.gate = nn.Sequential(
            glorot_linear(c.n_radial, c.basis, bias=False), glorot_linear(c.basis, c.hidden, bias=False)
        )
        self.down = nn.Sequential(glorot_linear(c.hidden, c.triplet, bias=False), nn.SiLU())
        self.basis_in = glorot_linear(c.n_spherical * c.n_radial, c.basis, bias=False)
        self.basis_out = glorot_linear(c.basis, c.triplet, bias=False)
        self.up = nn.Sequential(glorot_linear(c.triplet, c.hidden, bias=False), nn.SiLU())
        self.before = Residual(c.hidden)
        self.skip = nn.Sequential(glorot_linear(c.hidden, c.hidden), nn.SiLU())
        self.after = nn.Sequential(Residual(c.hidden), Residual(c.hidden))

    def forward(
        self,
        m: Float[Tensor, "n_edges hidden"],
        radial: Float[Tensor, "n_edges n_radial"],
        bessel: Float[Tensor, "n_edges n_spherical n_radial"],
        graph: _Graph,
    ) -> Float[Tensor, "n_edges hidden"]:
        """Pass messages between edges once."""
        x = self.down(self.neighbor(m) * self.gate(radial))
        weight = self.basis_in.weight.view(-1, *bessel.shape[1:])  # basis, n_spherical, n_radial
        filters = torch.einsum("eln,bln->elb", bessel, weight) @ self.basis_out.weight.T
        table = graph.slots.scatter(filters * x[:, None])  # atom j, its neighbours k, l, channels
        summed = torch.bmm(graph.angular.flatten(2), table.flatten(1, 2))
        # Seen from j, the edge j->i is the reverse of the edge i->j, which is in a slot of j.
        x = self.own(m) + self.up(graph.slots.gather(summed)[graph.reverse])
        result: Tensor = self.after(self.skip(self.before(x)) + m)
        return result


class _Output(nn.Module):
    def __init__(self, config: DimeNetConfig) -> None:
        super().__init__()
        c = config
        self.gate = glorot_linear(c.n_radial, c.hidden, bias=False)
        layers: list[nn.Module] = [glorot_linear(c.hidden, c.output, bias=False)]
        for _ in range(c.n_output_layers):
            layers += [glorot_linear(c.output, c.output), nn.SiLU()]
        last = nn.Linear(c.output, c.output, bias=False)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, m: Tensor, radial: Tensor, target: Tensor, n_atoms: int) -> Float[Tensor, "n_atoms output"]:
        return self.layers(segment_sum(self.gate(radial) * m, target, n_atoms))
