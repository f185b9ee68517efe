"""Crystals as graphs of distances, and the smallest graph that a network on distances cannot distinguish from these.

A network that sees only elements and distances gives equal features to atoms that have equal elements and, round by
round, equal neighbours at equal distances (colour refinement, Weisfeiler and Leman 1968). Such atoms become one node
and their equal edges one edge, each with its count: symmetric crystals shrink many times, and sums are unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy.typing import NDArray
from torch import Tensor

from lcoms.structure.batch import CrystalBatch
from lcoms.structure.neighbors import neighbor_list


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbourhoods:
    """Atoms and neighbours of many crystals, equal ones counted instead of listed.

    Attributes:
        atomic_numbers: Z of each node.
        node_count: number of atoms of the cell that a node represents.
        source, target: nodes of each edge; edges are sorted by target.
        distance: in angstrom.
        edge_count: number of such edges of one atom of the target.
    """

    atomic_numbers: Int[Tensor, " n_nodes"]
    node_count: Num[Tensor, " n_nodes"]
    source: Int[Tensor, " n_edges"]
    target: Int[Tensor, " n_edges"]
    distance: Float[Tensor, " n_edges"]
    edge_count: Num[Tensor, " n_edges"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DistanceGraph(Neighbourhoods):
    """One graph of many crystals.

    Attributes:
        crystal_idx: crystal that each node belongs to.
        n_crystals: number of crystals; a crystal may have no edges.
    """

    crystal_idx: Int[Tensor, " n_nodes"]
    n_crystals: int

    def to(self, device: torch.device | str) -> DistanceGraph:
        tensors = {name: t.to(device) for name, t in vars(self).items() if name != "n_crystals"}
        return DistanceGraph(**tensors, n_crystals=self.n_crystals)


def distance_graph(batch: CrystalBatch, cutoff: float) -> DistanceGraph:
    """Return all atoms and all neighbours within the cutoff (angstrom), with distances differentiable in the structure.

    Atoms without a neighbour within the cutoff have no edge.
    """
    edges = neighbor_list(batch, cutoff=cutoff)
    distance = edges.vectors(batch).norm(dim=1)
    near = torch.nonzero(distance.detach() <= cutoff).squeeze(1)
    ones = torch.ones_like(distance)
    return DistanceGraph(
        atomic_numbers=batch.atomic_numbers,
        node_count=torch.ones_like(batch.frac_coords[:, 0]),
        crystal_idx=batch.crystal_idx,
        source=edges.source[near],
        target=edges.target[near],
        distance=distance[near],
        edge_count=ones[near].detach(),
        n_crystals=batch.n_crystals,
    )


@torch.no_grad()
def merged(graph: DistanceGraph, *, tolerance: float) -> DistanceGraph:
    """Return the same graph with equal atoms and edges counted instead of listed.

    Args:
        graph: all of its counts are one.
        tolerance: largest step between successive sorted distances of a crystal that count as equal, angstrom.
    """
    crystal, source, target = (t.cpu().numpy() for t in (graph.crystal_idx, graph.source, graph.target))
    distance = graph.distance.detach().cpu().double().numpy()
    shell = _shells(distance, crystal[target], tolerance)
    colour = _colours(graph.atomic_numbers.cpu().numpy(), crystal, source, target, shell)
    _, first, count = np.unique(colour, return_index=True, return_counts=True)
    order = np.argsort(first)  # nodes keep the order of their crystals
    node_of = np.empty_like(order)
    node_of[order] = np.arange(len(order))
    node = node_of[colour]
    kept = np.flatnonzero(np.isin(target, first))
    key = np.stack([node[target[kept]], node[source[kept]], shell[kept]])
    (new_target, new_source, _), group, edge_count = np.unique(key, axis=1, return_inverse=True, return_counts=True)
    mean = np.bincount(group.ravel(), distance[kept], minlength=len(edge_count)) / edge_count
    rows = torch.from_numpy(first[order])
    return DistanceGraph(
        atomic_numbers=graph.atomic_numbers[rows],
        node_count=torch.from_numpy(count[order]).to(graph.node_count),
        crystal_idx=graph.crystal_idx[rows],
        source=torch.from_numpy(new_source),
        target=torch.from_numpy(new_target),
        distance=torch.from_numpy(mean).to(graph.distance),
        edge_count=torch.from_numpy(edge_count).to(graph.edge_count),
        n_crystals=graph.n_crystals,
    )


def _shells(distance: NDArray[np.float64], crystal: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    """Return a number for each distance of each crystal, equal if sorted distances differ within the tolerance."""
    order = np.lexsort((distance, crystal))
    steps = (np.diff(distance[order], prepend=0.0) > tolerance) | (np.diff(crystal[order], prepend=-1) != 0)
    shell = np.empty(len(order), dtype=np.int64)
    shell[order] = np.cumsum(steps)
    return shell


def _colours(
    numbers: NDArray[np.int64],
    crystal: NDArray[np.int64],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    shell: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return colours 0, 1, ... of atoms: equal if element and neighbours are equal, round by round, within a crystal.

    A set of neighbours is identified by the sum of 64-bit hashes of its members.
    """
    _, colour = np.unique(crystal * 256 + numbers, return_inverse=True)
    while True:
        edge_hash = _mixed(_mixed(shell.astype(np.uint64)) + colour[source].astype(np.uint64))
        sums = np.zeros(len(colour), dtype=np.uint64)
        np.add.at(sums, target, edge_hash)
        _, finer = np.unique(_mixed(sums) + colour.astype(np.uint64), return_inverse=True)
        if finer.max(initial=-1) == colour.max(initial=-1):
            return colour.astype(np.int64)
        _, colour = np.unique(np.stack([colour, finer]), axis=1, return_inverse=True)
        colour = colour.ravel()


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a well-distributed 64-bit hash of each number (splitmix64)."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
