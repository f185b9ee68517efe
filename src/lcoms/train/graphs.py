"""Distance graphs of a whole training set, computed once and cached in one file, and the batches of every step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lcoms.core.errors import ConfigError, DataError
from lcoms.data.dataset import to_batch
from lcoms.data.store import CrystalArrays, Store
from lcoms.models.composition import batch_element_fractions, composition_keys
from lcoms.models.megnet import MegnetConfig, all_bonded
from lcoms.models.surrogate_file import must_fit, read_tensors, write_tensors
from lcoms.nn.distance_graph import DistanceGraph, Neighbourhoods, distance_graph, merged
from lcoms.train.latents import select_rows

KIND = "lcoms-distance-graphs"
VERSION = 1
CHUNK = 200  # crystals


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphTable(Neighbourhoods):
    """Concatenated merged graphs of many crystals; the node indices of edges count within each crystal.

    Attributes:
        rows: ascending indices of the given crystals that have a graph.
        node_offsets, edge_offsets: nodes and edges of graph i are `offsets[i]:offsets[i + 1]`.
    """

    rows: Int[Tensor, " n"]
    node_offsets: Int[Tensor, " n_plus_1"]
    edge_offsets: Int[Tensor, " n_plus_1"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_edges(self) -> Int[Tensor, " n"]:
        """Number of edges of each graph."""
        return torch.diff(self.edge_offsets)

    def take(self, indices: Int[Tensor, " n_chosen"]) -> DistanceGraph:
        """Return the chosen graphs as one, in the given order."""
        node_owner, nodes = _ranges(self.node_offsets, indices)
        edge_owner, edges = _ranges(self.edge_offsets, indices)
        sizes = torch.diff(self.node_offsets)[indices]
        starts = (torch.cumsum(sizes, 0) - sizes)[edge_owner]
        return DistanceGraph(
            atomic_numbers=self.atomic_numbers[nodes].long(),
            node_count=self.node_count[nodes].float(),
            crystal_idx=node_owner,
            source=self.source[edges] + starts,
            target=self.target[edges] + starts,
            distance=self.distance[edges],
            edge_count=self.edge_count[edges].float(),
            n_crystals=len(indices),
        )


def build_graphs(
    crystals: CrystalArrays, config: MegnetConfig, *, on_chunk: Callable[[int], None] | None = None
) -> GraphTable:
    """Return graphs of all crystals in which every atom has a neighbour within the cutoff.

    Args:
        on_chunk: called with the number of crystals finished since the last call.

    Raises:
        DataError: there is no such crystal.
    """
    columns: dict[str, list[Tensor]] = {field.name: [] for field in fields(GraphTable)}
    for start in range(0, len(crystals), CHUNK):
        batch = to_batch(crystals.take(np.arange(start, min(start + CHUNK, len(crystals)))))
        graph = distance_graph(batch, config.cutoff)
        kept = torch.nonzero(all_bonded(graph)).squeeze(1)
        table = _table(merged(graph, tolerance=config.tolerance), kept)
        for name, values in vars(table).items():
            columns[name].append(values + start if name == "rows" else values)
        if on_chunk is not None:
            on_chunk(batch.n_crystals)
    if not any(len(some) for some in columns["rows"]):
        raise DataError("there is no crystal whose atoms all have neighbours; check the split and the largest cell.")
    for name in ("node_offsets", "edge_offsets"):
        sizes = torch.cat([torch.diff(some) for some in columns[name]])
        columns[name] = [_offsets(sizes)]
    return GraphTable(**{name: torch.cat(values) for name, values in columns.items()})


def cached_graphs(
    path: Path, crystals: CrystalArrays, config: MegnetConfig, *, on_chunk: Callable[[int], None] | None = None
) -> GraphTable:
    """Return the graphs of these crystals from a file, which is written if it is missing or holds other graphs."""
    digest = hashlib.sha256()
    for array in (crystals.offsets, crystals.atomic_numbers, crystals.frac_coords, crystals.lattice):
        digest.update(np.ascontiguousarray(array).tobytes())
    header = {"kind": KIND, "version": VERSION, "crystals": digest.hexdigest()}
    header |= {"cutoff": str(config.cutoff), "tolerance": str(config.tolerance)}
    if path.is_file():
        tensors, stored = read_tensors(path, KIND, VERSION)
        if stored == header:
            with must_fit(path):
                return GraphTable(**tensors)
    table = build_graphs(crystals, config, on_chunk=on_chunk)
    write_tensors(path, vars(table), header)
    return table


@dataclass(frozen=True, eq=False)
class MegnetData:
    """Training and validation data.

    Attributes:
        graphs: merged graphs of the crystals.
        crystals: the same crystals, in the same order, with their formation energies.
        groups: labels, equal for equal compositions.
        is_train, is_val: which crystals are for training and which for validation.

    Raises:
        DataError: lengths differ, an energy is unknown, a composition is in both splits, or there are no training
            crystals.
    """

    graphs: GraphTable
    crystals: CrystalArrays
    groups: Int[Tensor, " n"]
    is_train: Bool[Tensor, " n"]
    is_val: Bool[Tensor, " n"]

    def __post_init__(self) -> None:
        if len({len(x) for x in (self.graphs, self.crystals, self.groups, self.is_train, self.is_val)}) != 1:
            raise DataError("graphs, crystals, compositions and splits must be equally many.")
        if not np.isfinite(self.crystals.formation_energy).all():
            raise DataError("a crystal has no formation energy; leave out those without.")
        if not bool(self.is_train.any()):
            raise DataError("there is no training crystal; ingest data with a split first.")
        if np.intersect1d(self.groups[self.is_val].numpy(), self.groups[self.is_train].numpy()).size:
            raise DataError("a composition is in both training and validation; split by composition.")


def megnet_data(
    store: Store,
    config: MegnetConfig,
    cache: Path,
    *,
    max_atoms: int,
    on_chunk: Callable[[int], None] | None = None,
) -> MegnetData:
    """Return training and validation crystals whose energy is known and whose atoms all have neighbours.

    Validation crystals of compositions in the training set are left out.

    Args:
        cache: file of the graphs, which is written if it is missing or holds other graphs.
        on_chunk: called with the number of crystals finished since the last call.

    Raises:
        DataError: there is nothing to train on.
    """
    rows = select_rows(store, max_atoms=max_atoms)
    split = store.columns("split")["split"][rows]
    known = np.isfinite(store.columns("formation_energy_per_atom")["formation_energy_per_atom"][rows])
    kept = known & ((split == "train") | (split == "val"))
    crystals, is_val = store.arrays(rows[kept]), (split[kept] == "val").astype(bool)
    if not len(crystals):
        raise DataError(f"{store.path} has no crystals with formation energies in the splits train and val.")
    graphs = cached_graphs(cache, crystals, config, on_chunk=on_chunk)
    crystals, is_val = crystals.take(graphs.rows.numpy()), is_val[graphs.rows.numpy()]
    batch = to_batch(crystals)
    groups = composition_keys(batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals))
    unseen = is_val & ~np.isin(groups, groups[~is_val])
    labels, is_train, is_new = (torch.from_numpy(some) for some in (groups, ~is_val, unseen))
    return MegnetData(graphs, crystals, labels, is_train, is_new)


class GraphSteps:
    """Indices of the graphs of each training step, which follow from seed and step alone.

    The graphs of an epoch are shuffled and split into batches of similar numbers of edges.

    Raises:
        ConfigError: the number of epochs or edges is below one.
    """

    def __init__(self, n_edges: Int[Tensor, " n"], *, epochs: int, edges_per_batch: int, seed: int) -> None:
        if epochs < 1 or edges_per_batch < 1:
            raise ConfigError("training needs at least one epoch and one edge a batch.")
        self.n_edges = n_edges.numpy()
        self.seed = seed
        total = int(self.n_edges.sum())
        # A batch with room for the largest graph is never empty.
        self.steps_per_epoch = max(1, total // max(edges_per_batch, int(self.n_edges.max())))
        self.epochs = epochs
        self._plan = lru_cache(maxsize=1)(self._plan_epoch)

    @property
    def mean_batch(self) -> float:
        """Mean number of graphs in a batch."""
        return len(self.n_edges) / self.steps_per_epoch

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> Int[Tensor, " n_chosen"]:
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._plan(epoch)[position]

    def _plan_epoch(self, epoch: int) -> list[Tensor]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.n_edges))
        sizes = self.n_edges[order]
        starts = np.cumsum(sizes) - sizes
        batch = starts * self.steps_per_epoch // sizes.sum()
        return [torch.from_numpy(some) for some in np.split(order, np.flatnonzero(np.diff(batch)) + 1)]


def _table(graph: DistanceGraph, kept: Tensor) -> GraphTable:
    """Return the table of the kept crystals of a graph."""
    nodes = torch.isin(graph.crystal_idx, kept)
    edges = nodes[graph.target]
    node_sizes = torch.bincount(graph.crystal_idx, minlength=graph.n_crystals)
    edge_crystal = graph.crystal_idx[graph.target]
    edge_sizes = torch.bincount(edge_crystal, minlength=graph.n_crystals)
    starts = (torch.cumsum(node_sizes, 0) - node_sizes)[edge_crystal[edges]]
    return GraphTable(
        rows=kept,
        node_offsets=_offsets(node_sizes[kept]),
        edge_offsets=_offsets(edge_sizes[kept]),
        atomic_numbers=graph.atomic_numbers[nodes].to(torch.int16),
        node_count=graph.node_count[nodes].to(torch.int16),
        source=(graph.source[edges] - starts).to(torch.int16),
        target=(graph.target[edges] - starts).to(torch.int16),
        distance=graph.distance[edges].float(),
        edge_count=graph.edge_count[edges].to(torch.int16),
    )


def _offsets(sizes: Tensor) -> Tensor:
    return torch.cat([sizes.new_zeros(1), torch.cumsum(sizes, 0)])


def _ranges(offsets: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of the range that each position belongs to, and all positions of the chosen ranges."""
    sizes = torch.diff(offsets)[indices]
    owner = torch.repeat_interleave(torch.arange(len(indices)), sizes)
    first = offsets[indices] - (torch.cumsum(sizes, 0) - sizes)
    return owner, torch.arange(len(owner)) + first[owner]
