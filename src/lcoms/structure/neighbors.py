"""Periodic neighbour lists of many crystals at once: within a cutoff, or the nearest k with ties kept together.

An edge runs from a source atom to a target atom in the home cell. The source is the copy of its atom shifted by the
edge's integer image, so that `vectors = cart[source] + image @ lattice - cart[target]` points from the target to its
neighbour. Every image in reach is searched, however thin or skewed the cell, and coordinates need not be wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lcoms.core.errors import ConfigError, CrystalError
from lcoms.structure.batch import CrystalBatch

TIE_TOLERANCE = 0.01  # angstrom; neighbours this close in distance belong to one shell
_CHUNK = 4_000_000  # candidate pairs held in memory at a time
_GROWTH = 1.35  # factor on the search radius of crystals whose neighbours were not all found


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges, sorted by target, then source, then image.

    Attributes:
        edge_index: source and target atom of each edge.
        edge_images: lattice shift of the source's copy, in cells.
    """

    edge_index: Int[Tensor, "2 n_edges"]
    edge_images: Int[Tensor, "n_edges 3"]

    @property
    def source(self) -> Int[Tensor, " n_edges"]:
        return self.edge_index[0]

    @property
    def target(self) -> Int[Tensor, " n_edges"]:
        return self.edge_index[1]

    def vectors(self, batch: CrystalBatch) -> Float[Tensor, "n_edges 3"]:
        """Return the vector from each target to its neighbour, in angstrom."""
        frac = batch.frac_coords[self.source] - batch.frac_coords[self.target] + self.edge_images.to(batch.frac_coords)
        return row_products(frac, batch.lattice[batch.crystal_idx[self.target]])

    def reverse(self) -> Int[Tensor, " n_edges"]:
        """Return the index of the reversed edge of each edge.

        Raises:
            ConfigError: the list is not symmetric.
        """
        found = self.find(self.edge_index.flip(0), -self.edge_images)
        if bool((found < 0).any()):
            raise ConfigError("reversed edges exist only in symmetric neighbour lists; ask for symmetric=True.")
        return found

    def find(self, edge_index: Int[Tensor, "2 n"], edge_images: Int[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        """Return the index of each requested edge, -1 if the list does not contain it."""
        n_own = len(self.edge_images)
        if not n_own:
            return edge_index.new_full(edge_index.shape[1:], -1)
        both = torch.cat([self.edge_index, edge_index], dim=1), torch.cat([self.edge_images, edge_images])
        own, wanted = _edge_keys(*both).tensor_split([n_own])
        found = torch.searchsorted(own, wanted).clamp_max(n_own - 1)
        return torch.where(own[found] == wanted, found, -1)


def neighbor_list(
    batch: CrystalBatch, *, cutoff: float | None = None, k: int | None = None, symmetric: bool = False
) -> Edges:
    """Return the neighbours of every atom, periodic copies of itself included.

    `k` selects the k nearest neighbours and all that tie with the k-th within TIE_TOLERANCE, `cutoff` those within it,
    and both together those that satisfy both. An atom without neighbours within the cutoff gets its k nearest (its
    nearest shell if k is not given), so that every atom has neighbours.

    Args:
        batch: crystals; atoms may lie anywhere, also outside their cell.
        cutoff: in angstrom.
        k: number of neighbours.
        symmetric: add the reverse of every edge, each edge once; atoms may then have more than k neighbours.

    Raises:
        ConfigError: neither cutoff nor k is given, or one of them is not positive.
        CrystalError: lattices or coordinates are not finite, or a cell has no volume.
    """
    if (cutoff is None and k is None) or (cutoff is not None and cutoff <= 0) or (k is not None and k < 1):
        raise ConfigError(f"a neighbour list needs a positive cutoff or k, not cutoff={cutoff} and k={k}.")
    lattice, frac = batch.lattice.detach().double(), batch.frac_coords.detach().double()
    if not (frac.isfinite().all() and lattice.isfinite().all() and (torch.linalg.det(lattice) != 0).all()):
        raise CrystalError("neighbours need finite coordinates and cells that span a volume; drop the broken crystals.")
    sizes = batch.n_atoms
    radius = _first_radius(lattice, sizes, cutoff, k)
    open_crystals = torch.ones_like(sizes, dtype=torch.bool)
    indices, images = [], []
    while bool(open_crystals.any()):
        closed, edge_index, edge_images = _search(batch, lattice, frac, radius, open_crystals, cutoff, k)
        indices.append(edge_index)
        images.append(edge_images)
        open_crystals = open_crystals & ~closed
        radius = radius * _GROWTH
    return _sorted(torch.cat(indices, dim=1), torch.cat(images), symmetric)


@torch.no_grad()
def minimum_image(frac_difference: Float[Tensor, "n 3"], lattice: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Return the shortest Cartesian vector, in angstrom, among all periodic copies of each fractional difference.

    All images that can be shorter than the rounded one are tried, so that skewed cells need no reduction.
    """
    nearest = frac_difference - frac_difference.round()
    length = row_products(nearest, lattice).norm(dim=1)
    reach = length[:, None] / _plane_spacings(lattice) * (1.0 + 1e-5) + 1e-5
    row, image = _images_in_reach(nearest, reach)
    vectors = row_products(nearest[row] + image, lattice[row])
    by_length = torch.argsort(vectors.norm(dim=1))
    order = by_length[torch.argsort(row[by_length], stable=True)]
    first = torch.diff(row[order], prepend=row.new_full((1,), -1)) != 0
    return vectors[order[first]]


def row_products(rows: Float[Tensor, "n 3"], matrices: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Return each row times its matrix, without a matrix product, so that mixed precision does not affect geometry."""
    return (rows[:, :, None] * matrices).sum(dim=1)


def triplets(edges: Edges) -> Int[Tensor, "2 n_triplets"]:
    """Return all ordered pairs of different edges into the same target: indices of edge b->a and of edge c->a.

    Edges are compared, not atoms: two copies of one neighbour make a triplet.
    """
    degree = torch.bincount(edges.target) if edges.target.numel() else edges.target
    starts = torch.cumsum(degree, 0) - degree
    per_edge = degree[edges.target]
    first = torch.repeat_interleave(torch.arange(len(per_edge), device=degree.device), per_edge)
    second = starts[edges.target][first] + _ranks(per_edge)
    keep = first != second
    return torch.stack([first[keep], second[keep]])


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges gathered by target into a padded table, so that sums over pairs of edges become matrix products.

    Attributes:
        atom: row of each edge, its target atom.
        slot: column of each edge.
        filled: which entries of the table hold an edge.
    """

    atom: Int[Tensor, " n_edges"]
    slot: Int[Tensor, " n_edges"]
    filled: Bool[Tensor, "n_atoms n_slots"]

    @classmethod
    def from_edges(cls, edges: Edges, n_atoms: int) -> Slots:
        degree = torch.bincount(edges.target, minlength=n_atoms)
        slot = _ranks(degree)
        filled = torch.arange(int(degree.max()), device=degree.device) < degree[:, None]
        return cls(edges.target, slot, filled)

    def scatter(self, values: Float[Tensor, "n_edges ..."]) -> Float[Tensor, "n_atoms n_slots ..."]:
        """Return edge values in the table, zero where there is no edge."""
        table = values.new_zeros((*self.filled.shape, *values.shape[1:]))
        return table.index_put((self.atom, self.slot), values)

    def gather(self, table: Float[Tensor, "n_atoms n_slots ..."]) -> Float[Tensor, "n_edges ..."]:
        """Return values of the table at the edges."""
        return table[self.atom, self.slot]


def _first_radius(lattice: Tensor, sizes: Tensor, cutoff: float | None, k: int | None) -> Tensor:
    """Return a radius (n_crystals,) that holds about twice k neighbours at the mean density, or the cutoff."""
    if k is None:
        return lattice.new_full((len(lattice),), float(cutoff or 0.0))
    density = sizes / torch.linalg.det(lattice).abs()
    radius: Tensor = (3.0 * (2.0 * k + 1.0) / (4.0 * torch.pi * density)) ** (1.0 / 3.0) + TIE_TOLERANCE
    return radius if cutoff is None else radius.clamp_max(cutoff)


def _search(
    batch: CrystalBatch,
    lattice: Tensor,
    frac: Tensor,
    radius: Tensor,
    crystals: Tensor,
    cutoff: float | None,
    k: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which crystals have all their neighbours within their radius, and the edges of these crystals."""
    n_atoms, idx = len(frac), batch.crystal_idx
    found = [[t.new_zeros(0)] for t in (idx, idx, frac)]
    shifts = [idx.new_zeros(0, 3)]
    for source, target in _pairs(batch.n_atoms, crystals, lattice, radius):
        pair, image, distance = _images_within(lattice, frac, idx, source, target, radius)
        for values, new in zip(found, (source[pair], target[pair], distance), strict=True):
            values.append(new)
        shifts.append(image)
    source, target, distance = (torch.cat(values) for values in found)
    keep, complete = _select(target, distance, radius[idx], n_atoms, cutoff, k)
    closed = crystals & (torch.bincount(idx[~complete], minlength=len(lattice)) == 0)
    keep &= closed[idx[target]]
    return closed, torch.stack([source[keep], target[keep]]), torch.cat(shifts)[keep]


def _pairs(sizes: Tensor, crystals: Tensor, lattice: Tensor, radius: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all ordered pairs of atoms of the same crystal, in chunks that expand to about _CHUNK candidates."""
    n_pairs = torch.where(crystals, sizes * sizes, 0)
    boxes = (2.0 * radius[:, None] / _plane_spacings(lattice) + 1.0).prod(dim=1)
    chunk = (torch.cumsum(n_pairs * boxes, 0) / _CHUNK).long()
    starts = torch.cumsum(sizes, 0) - sizes
    for number in torch.unique(chunk[crystals]).tolist():
        chosen = torch.nonzero(crystals & (chunk == number)).squeeze(1)
        owner = torch.repeat_interleave(chosen, n_pairs[chosen])
        rank = _ranks(n_pairs[chosen])
        yield starts[owner] + rank % sizes[owner], starts[owner] + rank // sizes[owner]


def _images_within(
    lattice: Tensor, frac: Tensor, idx: Tensor, source: Tensor, target: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return copies of each pair's source within the radius of its target, itself excluded: (pair, image, distance)."""
    crystal = idx[target]
    reach = (radius[:, None] / _plane_spacings(lattice) * (1.0 + 1e-9) + 1e-9)[crystal]
    difference = frac[source] - frac[target]
    pair, image = _images_in_reach(difference, reach)
    vector = row_products(difference[pair] + image, lattice[crystal[pair]])
    distance = vector.norm(dim=1)
    keep = (distance <= radius[crystal[pair]]) & ((source != target)[pair] | (image != 0).any(dim=1))
    return pair[keep], image[keep], distance[keep]


def _images_in_reach(difference: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Return all integer shifts with |difference + shift| <= reach on each axis: (row, shift)."""
    low = torch.ceil(-reach - difference).long()
    span = (torch.floor(reach - difference).long() - low + 1).clamp_min(0)
    counts = span.prod(dim=1)
    row = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    rank, span = _ranks(counts), span[row]
    steps = torch.stack([rank // (span[:, 1] * span[:, 2]), rank // span[:, 2] % span[:, 1], rank % span[:, 2]], dim=1)
    return row, low[row] + steps


def _select(
    target: Tensor, distance: Tensor, radius: Tensor, n_atoms: int, cutoff: float | None, k: int | None
) -> tuple[Tensor, Tensor]:
    """Return which candidates are neighbours, and for which atoms (n_atoms,) the radius was large enough to decide."""
    by_distance = torch.argsort(distance)
    order = by_distance[torch.argsort(target[by_distance], stable=True)]
    counts = torch.bincount(target, minlength=n_atoms)
    last = (torch.cumsum(counts, 0) - counts + (k or 1) - 1).clamp_max(max(len(order) - 1, 0))
    enough = counts >= (k or 1)
    shell = distance.new_full((n_atoms,), torch.inf)
    shell[enough] = distance[order[last[enough]]] + TIE_TOLERANCE
    complete = shell <= radius
    if cutoff is None:
        return distance <= shell[target], complete
    within = torch.bincount(target[distance <= cutoff], minlength=n_atoms) > 0
    complete |= (radius >= cutoff) & within
    limit = torch.where(within, shell.clamp_max(cutoff) if k else torch.full_like(shell, cutoff), shell)
    return distance <= limit[target], complete


def _sorted(edge_index: Tensor, edge_images: Tensor, symmetric: bool) -> Edges:
    """Return edges in order; if symmetric, reverses are added and duplicates dropped."""
    if symmetric:
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
        edge_images = torch.cat([edge_images, -edge_images])
    keys, order = torch.sort(_edge_keys(edge_index, edge_images))
    order = order[torch.diff(keys, prepend=keys.new_full((1,), -1)) != 0]
    return Edges(edge_index[:, order], edge_images[order])


def _edge_keys(edge_index: Tensor, edge_images: Tensor) -> Tensor:
    """Return one integer per edge, ordered by target, source and image."""
    if not len(edge_images):
        return edge_index[0]
    reach = int(edge_images.abs().max())
    width, n_atoms = 2 * reach + 1, int(edge_index.max()) + 1
    key = edge_index[1] * n_atoms + edge_index[0]
    for axis in range(3):
        key = key * width + edge_images[:, axis] + reach
    return key


def _plane_spacings(lattice: Tensor) -> Tensor:
    """Return distances (n_crystals, 3) in angstrom between neighbouring lattice planes."""
    spacings: Tensor = 1.0 / torch.linalg.inv(lattice).norm(dim=-2)
    return spacings


def _ranks(counts: Tensor) -> Tensor:
    """Return 0, 1, ... counts[0]-1, 0, 1, ... counts[1]-1, and so on."""
    total = int(counts.sum())
    starts = torch.cumsum(counts, 0) - counts
    return torch.arange(total, device=counts.device) - torch.repeat_interleave(starts, counts)
