"""MEGNet, the graph network that predicts formation energies for searches (Chen et al. 2019), sized as in GN-OA.

Nodes are atoms, edges are neighbours within a cutoff, and each crystal has a state. A block updates edges, then nodes,
then states: e' = MLP[v_source, v_target, e, u]; v' = MLP[mean of e' over the atom's edges, v, u]; u' = MLP[mean e',
mean v', u]; and adds the block's input. Two Set2Set readouts and the state give the energy in eV/atom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lcoms.core.bounds import require
from lcoms.core.config import from_dict, to_dict
from lcoms.models.surrogate_file import must_fit, read_tensors, write_tensors
from lcoms.nn.distance_graph import DistanceGraph, distance_graph, merged
from lcoms.nn.layers import polynomial_envelope, segment_sum
from lcoms.nn.set2set import Set2Set
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import N_ELEMENTS
from lcoms.structure.lattice import plane_spacings

KIND = "lcoms-megnet"
VERSION = 1
MEGNET_FILE = "megnet.safetensors"
LOG_2 = math.log(2.0)
MAX_NEIGHBORS = 2000  # expected number per atom; energies of denser cells are meaningless
MAX_CELLS = 4000  # number of cells within reach of the cutoff; energies of flatter cells are also meaningless


@dataclass(frozen=True)
class MegnetConfig:
    """Sizes of the network.

    Attributes:
        cutoff: neighbour cutoff, angstrom.
        n_gaussians, gaussian_width: of the expansion exp(-(d - c)^2 / width^2), centres from 0 to cutoff + 1 angstrom.
        embedding: length of an element's embedding.
        hidden, width: sizes of the layers inside and between blocks.
        units, passes: of Set2Set.
        smooth: edges fade out towards the cutoff, so that the energy is continuous when neighbours enter or leave.
        tolerance: angstrom; atoms and edges that are equal within it are computed once.
    """

    cutoff: float = 5.0
    n_gaussians: int = 100
    gaussian_width: float = 0.5
    embedding: int = 16
    n_blocks: int = 3
    hidden: int = 64
    width: int = 32
    units: int = 16
    passes: int = 3
    smooth: bool = False
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        whole = ["n_gaussians", "embedding", "n_blocks", "hidden", "width", "units", "passes"]
        positive = ["cutoff", "gaussian_width"]
        require(self, "MEGNet", at_least_one=whole, positive=positive, not_negative=["tolerance"])


class ShiftedSoftplus(nn.Module):
    """The activation softplus(x) - ln 2, which is 0 at 0."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return functional.softplus(x) - LOG_2


def dense(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes, each followed by the shifted softplus."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [_linear(n_in, n_out), ShiftedSoftplus()]
    return nn.Sequential(*layers)


def _linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True, eq=False)
class Features:
    """Features of nodes, edges and states, all of equal width."""

    nodes: Float[Tensor, "n_nodes width"]
    edges: Float[Tensor, "n_edges width"]
    states: Float[Tensor, "n_crystals width"]


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of edges and nodes in means.

    Attributes:
        in_node: weight of each edge among those of its target; sums to one.
        in_crystal: weight of each edge among those of the crystal; sums to one.
        node: weight of each node among the crystal's atoms; sums to one.
        edge_total: weight of each edge in its crystal, not normalised.
    """

    in_node: Float[Tensor, "n_edges 1"]
    in_crystal: Float[Tensor, "n_edges 1"]
    node: Float[Tensor, "n_nodes 1"]
    edge_total: Float[Tensor, " n_edges"]


class Block(nn.Module):
    """Dense layers (not in the first block) and the MEGNet layer, with a skip connection.

    The first layer of the edge update is split, W [v_s, v_t, e, u] = W_s v_s + W_t v_t + W_e e + W_u u, so that most
    of it is computed once per node.
    """

    def __init__(self, width: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.width = width
        self.before = None if first else nn.ModuleList(dense(width, hidden, width) for _ in range(3))
        self.edge_first = _linear(4 * width, hidden)
        self.edge_rest = nn.Sequential(ShiftedSoftplus(), dense(hidden, hidden, width))
        self.node = dense(3 * width, hidden, hidden, width)
        self.state = dense(3 * width, hidden, hidden, width)

    def forward(self, graph: DistanceGraph, weights: Weights, old: Features) -> Features:
        nodes, edges, states = old.nodes, old.edges, old.states
        if self.before is not None:
            nodes, edges, states = (layers(x) for layers, x in zip(self.before, (nodes, edges, states), strict=True))
        parts = self.edge_first.weight.split(self.width, dim=1)
        at_target = functional.linear(nodes, parts[1]) + functional.linear(states, parts[3])[graph.crystal_idx]
        hidden = functional.linear(edges, parts[2], self.edge_first.bias)
        hidden = hidden + functional.linear(nodes, parts[0]).index_select(0, graph.source)
        new_edges = self.edge_rest(hidden + at_target.index_select(0, graph.target))
        incident = segment_sum(weights.in_node * new_edges, graph.target, len(nodes))
        new_nodes = self.node(torch.cat([incident, nodes, states[graph.crystal_idx]], dim=1))
        edge_crystal = graph.crystal_idx[graph.target]
        mean_edge = segment_sum(weights.in_crystal * new_edges, edge_crystal, graph.n_crystals)
        mean_node = segment_sum(weights.node * new_nodes, graph.crystal_idx, graph.n_crystals)
        new_states = self.state(torch.cat([mean_edge, mean_node, states], dim=1))
        return Features(old.nodes + new_nodes, old.edges + new_edges, old.states + new_states)


class Megnet(nn.Module):
    """Network for the formation energies (eV/atom) of crystals given as distance graphs."""

    centres: Tensor
    energy_mean: Tensor
    energy_std: Tensor

    def __init__(self, config: MegnetConfig | None = None) -> None:
        super().__init__()
        c = self.config = config or MegnetConfig()
        self.embed = nn.Embedding(N_ELEMENTS + 1, c.embedding)
        nn.init.uniform_(self.embed.weight, -0.5, 0.5)
        self.enter_nodes = dense(c.embedding, c.hidden, c.width)
        self.enter_edges = dense(c.n_gaussians, c.hidden, c.width)
        self.enter_states = dense(2, c.hidden, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.hidden, first=n == 0) for n in range(c.n_blocks))
        self.read_nodes = Set2Set(c.width, c.units, c.passes)
        self.read_edges = Set2Set(c.width, c.units, c.passes)
        self.head = nn.Sequential(dense(4 * c.units + c.width, 32, 16), _linear(16, 1))
        self.register_buffer("centres", torch.linspace(0.0, c.cutoff + 1.0, c.n_gaussians), persistent=False)
        self.register_buffer("energy_mean", torch.zeros(()))
        self.register_buffer("energy_std", torch.ones(()))

    @torch.no_grad()
    def fit_scale(self, energies: Float[NDArray[np.float64], " n"]) -> None:
        """Set mean and standard deviation of the training energies (eV/atom), by which predictions are scaled."""
        self.energy_mean.fill_(float(energies.mean()))
        self.energy_std.fill_(max(float(energies.std()), 1e-6))

    def forward(self, graph: DistanceGraph) -> Float[Tensor, " n_crystals"]:
        """Return formation energies in eV/atom; the value of a crystal without edges is meaningless."""
        return self.normalised(graph) * self.energy_std + self.energy_mean

    def normalised(self, graph: DistanceGraph) -> Float[Tensor, " n_crystals"]:
        """Return energies relative to the mean of the training energies, in units of their standard deviation."""
        weights = self._weights(graph)
        exponent = (graph.distance[:, None] - self.centres) / self.config.gaussian_width
        features = Features(
            self.enter_nodes(self.embed(graph.atomic_numbers)),
            self.enter_edges(torch.exp(-exponent.square())),
            self.enter_states(graph.distance.new_zeros(1, 2)).expand(graph.n_crystals, -1),
        )
        for block in self.blocks:
            features = block(graph, weights, features)
        edge_crystal = graph.crystal_idx[graph.target]
        nodes = self.read_nodes(features.nodes, graph.node_count, graph.crystal_idx, graph.n_crystals)
        edges = self.read_edges(features.edges, weights.edge_total, edge_crystal, graph.n_crystals)
        energy: Tensor = self.head(torch.cat([nodes, edges, features.states], dim=1)).squeeze(1)
        return energy

    def _weights(self, graph: DistanceGraph) -> Weights:
        count = graph.edge_count
        if self.config.smooth:
            count = count * polynomial_envelope(graph.distance / self.config.cutoff, 5)
        total = count * graph.node_count[graph.target]
        edge_crystal = graph.crystal_idx[graph.target]
        return Weights(
            _shares(count, graph.target, len(graph.atomic_numbers)),
            _shares(total, edge_crystal, graph.n_crystals),
            _shares(graph.node_count, graph.crystal_idx, graph.n_crystals),
            total,
        )


def _shares(counts: Tensor, index: Tensor, n_segments: int) -> Tensor:
    return (counts / segment_sum(counts, index, n_segments).clamp_min(1e-12)[index])[:, None]


@torch.no_grad()
def formation_energies(
    model: Megnet, crystals: Sequence[Crystal], *, batch_size: int = 64
) -> Float[NDArray[np.float64], " n"]:
    """Return predicted formation energies in eV/atom; NaN where an atom has no neighbour within the cutoff.

    Cells so dense or flat that an atom would have thousands of neighbours also give NaN.
    """
    energies = np.full(len(crystals), np.nan)
    computable = [
        i for i, crystal in enumerate(crystals) if is_computable(crystal.lattice, crystal.n_atoms, model.config.cutoff)
    ]
    for start in range(0, len(computable), batch_size):
        some = computable[start : start + batch_size]
        graph = distance_graph(CrystalBatch.from_crystals([crystals[i] for i in some]), model.config.cutoff)
        bonded = all_bonded(graph).numpy()
        graph = merged(graph, tolerance=model.config.tolerance).to(model.centres.device)
        energies[some] = np.where(bonded, model(graph).cpu().double().numpy(), np.nan)
    return energies


def all_bonded(graph: DistanceGraph) -> Tensor:
    """Return whether all atoms of each crystal have an edge, (n_crystals,)."""
    lonely = torch.bincount(graph.target, minlength=len(graph.atomic_numbers)) == 0
    return torch.bincount(graph.crystal_idx[lonely], minlength=graph.n_crystals) == 0


def is_computable(lattice: Float[NDArray[np.float64], "3 3"], n_atoms: int, cutoff: float) -> bool:
    """Return whether the number of neighbours in such a cell is small enough to compute."""
    volume = abs(float(np.linalg.det(lattice)))
    if not volume > 0 or 4.2 * cutoff**3 * n_atoms / volume > MAX_NEIGHBORS:
        return False
    return bool((2 * cutoff / plane_spacings(lattice) + 1).prod() <= MAX_CELLS)


def save_megnet(model: Megnet, path: Path | str, *, metadata: Mapping[str, Any]) -> None:
    """Save a network for inference.

    Args:
        metadata: facts about data and training; must be serialisable to JSON.
    """
    header = {"kind": KIND, "version": VERSION, "config": to_dict(model.config), "metadata": dict(metadata)}
    write_tensors(Path(path), model.state_dict(), header)


def load_megnet(path: Path | str) -> tuple[Megnet, dict[str, Any]]:
    """Return a saved network, ready for inference, and its metadata.

    Raises:
        WeightsError: the file is missing, damaged, of another version, or its tensors do not fit its configuration.
    """
    state, header = read_tensors(Path(path), KIND, VERSION)
    with must_fit(path, state):
        model = Megnet(from_dict(MegnetConfig, header["config"]))
        model.load_state_dict(state)
        metadata = dict(header["metadata"])
    return model.requires_grad_(False).eval(), metadata
