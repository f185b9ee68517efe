"""Independent atoms and edges of crystals for SevenNet.

Features of equivalent atoms are rotations of one another, so those of one atom of each set determine all others. The
messages to such an atom come in sets that the rotations about its site turn into one another; their sum is that of one
message of each set, times the size of the set, averaged over these rotations. Only proper operations are used, since
SevenNet's features have no parity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lcoms.oracles.sevennet_network import spherical_harmonics
from lcoms.structure.crystal import Crystal
from lcoms.structure.operations import operations_of

_POINTS = 32  # directions from which rotation matrices of harmonics are determined; the harmonics up to l = 3 are 16


@dataclass(frozen=True, eq=False)
class Orbits:
    """Independent atoms and edges of one crystal, or of a batch.

    Attributes:
        atoms: independent atoms, as indices of the crystal's atoms.
        counts: number of atoms that each represents.
        of: place in `atoms` of the one that represents each atom of the crystal.
        turns: for degrees 0 to 3, matrices from the features of the independent atom to those of each atom.
        averages: the same, averages over the rotations about the site of each independent atom.
        center: place in `atoms` of the center of each edge.
        neighbor: atom of the crystal at the end of each edge.
        vectors: from the center to the neighbour, angstrom.
        weights: number of edges of its center that each represents.
    """

    atoms: Int[Tensor, " k"]
    counts: Float[Tensor, " k"]
    of: Int[Tensor, " n_atoms"]
    turns: tuple[Float[Tensor, "n_atoms _ _"], ...]
    averages: tuple[Float[Tensor, "k _ _"], ...]
    center: Int[Tensor, " n_edges"]
    neighbor: Int[Tensor, " n_edges"]
    vectors: Float[Tensor, "n_edges 3"]
    weights: Float[Tensor, " n_edges"]


def orbits_of(
    crystal: Crystal,
    center: Int[NDArray[np.int64], " n"],
    neighbor: Int[NDArray[np.int64], " n"],
    images: Int[NDArray[np.int64], "n 3"],
) -> Orbits:
    """Return the independent atoms and edges of a crystal.

    Args:
        center: first atoms of all its edges.
        neighbor: second atoms of these edges.
        images: lattice shift of the neighbour's copy, in cells.
    """
    found = operations_of(crystal).proper
    atoms, of, counts = np.unique(found.images.min(axis=0), return_inverse=True, return_counts=True)
    mine = np.flatnonzero(np.isin(center, atoms))
    forth, _ = found.bond_keys(center[mine], neighbor[mine], images[mine])
    _, first, sizes = np.unique(forth.min(axis=0), return_index=True, return_counts=True)
    # Equivalent edges of one center are one set; so are those of other centers, which are not among `mine`.
    chosen = mine[first]
    cart = crystal.cart_coords
    vectors = cart[neighbor[chosen]] + images[chosen] @ crystal.lattice - cart[center[chosen]]
    turns = [torch.from_numpy(d).float() for d in _turns(found.cartesian(crystal.lattice))]
    to_atom = (found.images[:, atoms[of]] == np.arange(crystal.n_atoms)).argmax(axis=0)
    about = torch.from_numpy(found.images[:, atoms] == atoms).float()
    about = about / about.sum(dim=0)
    return Orbits(
        atoms=torch.from_numpy(atoms),
        counts=torch.from_numpy(counts).float(),
        of=torch.from_numpy(of.reshape(-1)),
        turns=tuple(d[to_atom] for d in turns),
        averages=tuple(torch.einsum("gk,gab->kab", about, d) for d in turns),
        center=torch.from_numpy(np.searchsorted(atoms, center[chosen])),
        neighbor=torch.from_numpy(neighbor[chosen]),
        vectors=torch.from_numpy(vectors).float(),
        weights=torch.from_numpy(sizes).float(),
    )


def _turns(rotations: Float[NDArray[np.float64], "g 3 3"]) -> list[Float[NDArray[np.float64], "g _ _"]]:
    """Return matrices of degrees 0 to 3 that turn harmonics at u into those at u R."""
    points = np.random.default_rng(0).normal(size=(_POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    before = [y.numpy() for y in spherical_harmonics(torch.from_numpy(points))]
    after = [y.numpy() for y in spherical_harmonics(torch.from_numpy((points @ rotations).reshape(-1, 3)))]
    pairs = zip(before, after, strict=True)
    return [(np.linalg.pinv(y) @ z.reshape(len(rotations), _POINTS, -1)).transpose(0, 2, 1) for y, z in pairs]


def join(parts: Sequence[Orbits]) -> Orbits:
    """Return the orbits of several crystals as those of one batch."""
    k = np.cumsum([0, *(len(part.atoms) for part in parts)]).tolist()
    n = np.cumsum([0, *(len(part.of) for part in parts)]).tolist()
    return Orbits(
        atoms=torch.cat([part.atoms + start for part, start in zip(parts, n, strict=False)]),
        counts=torch.cat([part.counts for part in parts]),
        of=torch.cat([part.of + start for part, start in zip(parts, k, strict=False)]),
        turns=tuple(torch.cat(some) for some in zip(*(part.turns for part in parts), strict=True)),
        averages=tuple(torch.cat(some) for some in zip(*(part.averages for part in parts), strict=True)),
        center=torch.cat([part.center + start for part, start in zip(parts, k, strict=False)]),
        neighbor=torch.cat([part.neighbor + start for part, start in zip(parts, n, strict=False)]),
        vectors=torch.cat([part.vectors for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
    )
