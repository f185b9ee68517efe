"""Input of the network: one atom, bond and angle of each set that the symmetry of a crystal makes equal.

All features of CHGNet are invariant, so equivalent atoms, bonds and angles have equal features. One of each set is
computed and counted as often as it occurs; a crystal without symmetry has sets of one. Energies depend on positions and
cells only through the vectors. The derivatives by these vectors contain those of all equivalent ones, so that forces
and stress follow from their average over the group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.oracles.chgnet_graph import BondGraph, hydrogen_cluster
from lcoms.structure.operations import Operations, bond_keys

Index = NDArray[np.int64]
KEPT = 128  # graphs of orbits that are remembered, more than relax at once


@dataclass(frozen=True, eq=False)
class OrbitGraph:
    """Atoms, bonds and angles that differ, of one crystal or of a batch.

    Attributes:
        atomic_numbers: Z of each atom.
        crystal_idx: crystal that each atom belongs to.
        atom_counts: number of atoms that each represents.
        first, second: atoms that represent those at the ends of each bond.
        bond_shares: messages of each bond to its first and to its second atom count as often.
        vectors: from the first to the second atom of bonds, in angstrom.
        ends: first and second atom of each vector in the crystal itself.
        bond_vector: vector of each bond.
        short: indices of bonds up to the angle cutoff.
        angle_left: index in `short` of one bond of each angle, plus n_short if the angle is at its second atom.
        angle_right: the same for the other bond. Each angle is listed once; swapping the two gives its mirror.
        angle_shares: messages of each angle to its left and to its right bond count as often.
        angle_vectors: vectors of its left and of its right bond.
        angle_signs: -1 if just one of these vectors points to the atom at which the angle is.
    """

    atomic_numbers: Int[Index, " n_atoms"]
    crystal_idx: Int[Index, " n_atoms"]
    atom_counts: Float[NDArray[np.float32], " n_atoms"]
    first: Int[Index, " n_bonds"]
    second: Int[Index, " n_bonds"]
    bond_shares: Float[NDArray[np.float32], "2 n_bonds"]
    vectors: Float[NDArray[np.float64], "n_vectors 3"]
    ends: Int[Index, "2 n_vectors"]
    bond_vector: Int[Index, " n_bonds"]
    short: Int[Index, " n_short"]
    angle_left: Int[Index, " n_angles"]
    angle_right: Int[Index, " n_angles"]
    angle_shares: Float[NDArray[np.float32], "2 n_angles"]
    angle_vectors: Int[Index, "2 n_angles"]
    angle_signs: Float[NDArray[np.float32], " n_angles"]

    @property
    def n_rows(self) -> int:
        """Number of bonds and angles."""
        return len(self.first) + len(self.angle_left)


_KNOWN: dict[bytes, tuple[OrbitGraph, Index]] = {}


def orbit_graph(graph: BondGraph, operations: Operations | None = None) -> OrbitGraph:
    """Return what differs under the operations; everything if there are none.

    Everything is returned as well if equivalent bonds are just inside and just outside the angle cutoff. All but the
    vectors stays the same in the many steps of a relaxation in which no bond crosses a cutoff, and is then reused.
    """
    key = _key(graph, operations)
    known = _KNOWN.get(key)
    if known is None:
        while len(_KNOWN) >= KEPT:
            _KNOWN.pop(next(iter(_KNOWN)), None)
        known = _KNOWN[key] = _searched(graph, operations)
    found, used = known
    return replace(found, vectors=graph.vectors[used])


def _key(graph: BondGraph, operations: Operations | None) -> bytes:
    """Return a digest of all that the graph of the orbits depends on, its vectors excepted."""
    arrays = [graph.atomic_numbers, graph.first, graph.second, graph.images, graph.short]
    if operations is not None:
        arrays += [operations.rotations, operations.images, operations.shifts]
    digest = hashlib.blake2b(repr([array.shape for array in arrays]).encode(), digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def _searched(graph: BondGraph, operations: Operations | None) -> tuple[OrbitGraph, Index]:
    """Return the graph of the orbits, and the bond whose vector each of its vectors is."""
    if operations is not None and len(operations) > 1:
        atoms, bonds, n_short = operations.images.min(axis=0), _bond_sets(graph, operations), len(graph.short)
        directed = _images_of_short(graph, operations)
        if directed is not None:
            left, right = directed[:, graph.angle_left], directed[:, graph.angle_right]
            angles = (np.minimum(left, right) * (2 * n_short) + np.maximum(left, right)).min(axis=0)
            return _represented(graph, atoms, bonds, angles)
    return _represented(graph, *(np.arange(len(x)) for x in (graph.atomic_numbers, graph.first, graph.angle_left)))


def _represented(graph: BondGraph, atoms: Index, bonds: Index, angles: Index) -> tuple[OrbitGraph, Index]:
    """Return one of each set, given a label of the set of each atom, bond and angle, and the bond of each vector."""
    n_short = len(graph.short)
    atom, atom_set, n_atom = _sets(atoms)
    bond, bond_set, n_bond = _sets(bonds)
    angle, _, n_angle = _sets(angles)
    first, second = atom_set[graph.first[bond]], atom_set[graph.second[bond]]
    is_short = np.zeros(len(bonds), dtype=bool)
    is_short[graph.short] = True
    short = np.flatnonzero(is_short[bond])
    place = np.cumsum(is_short[bond]) - 1
    sides = graph.angle_left[angle], graph.angle_right[angle]
    own = [graph.short[side % n_short] for side in sides] if n_short else [sides[0], sides[1]]
    sets = [bond_set[one] for one in own]
    backward = np.array([side >= n_short for side in sides])
    centre = atom_set[np.where(backward[0], graph.second[own[0]], graph.first[own[0]])]
    left, right = (place[s] + len(short) * (first[s] != centre) for s in sets)
    used, where = np.unique(np.concatenate([bond, *own]), return_inverse=True)
    vector_of_bond, *vector_of_side = np.split(where.reshape(-1), [len(bond), len(bond) + len(angle)])
    found = OrbitGraph(
        atomic_numbers=graph.atomic_numbers[atom],
        crystal_idx=np.zeros(len(atom), dtype=np.int64),
        atom_counts=n_atom.astype(np.float32),
        first=first,
        second=second,
        bond_shares=(n_bond / n_atom[np.stack([first, second])]).astype(np.float32),
        vectors=graph.vectors[used],
        ends=np.stack([graph.first[used], graph.second[used]]),
        bond_vector=vector_of_bond,
        short=short,
        angle_left=left,
        angle_right=right,
        angle_shares=(n_angle / n_bond[np.stack(sets)]).astype(np.float32),
        angle_vectors=np.stack(vector_of_side),
        angle_signs=np.where(backward[0] == backward[1], 1, -1).astype(np.float32),
    )
    return found, used


def _sets(labels: Index) -> tuple[Index, Index, Index]:
    """Return the first of each set of equal labels, the set of each label, and the sizes of the sets."""
    _, first, inverse, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)], counts[order]


def _bond_sets(graph: BondGraph, operations: Operations) -> Index:
    """Return a label for each bond that is equal for equivalent bonds."""
    forth, back = operations.bond_keys(graph.first, graph.second, graph.images)
    return np.asarray(np.minimum(forth, back).min(axis=0))


def _images_of_short(graph: BondGraph, operations: Operations) -> Index | None:
    """Return the short bond, from either end, that each becomes under each operation; None if one is not short."""
    first, second, images = graph.first[graph.short], graph.second[graph.short], graph.images[graph.short]
    keys = np.concatenate(operations.bond_keys(first, second, images), axis=1)
    n = len(graph.atomic_numbers)
    own = np.concatenate([bond_keys(n, first, second, images), bond_keys(n, second, first, -images)])
    order = np.argsort(own)
    at = np.minimum(np.searchsorted(own, keys, sorter=order), max(len(own) - 1, 0))
    found = order[at] if len(own) else at
    return found if (own[found] == keys).all() else None


@cache
def ballast() -> OrbitGraph:
    """Return a cluster of hydrogen with seven atoms and 21 bonds, in the format of a crystal.

    Matrix products of few rows are rounded differently from larger ones: fewer than four on some processors, and up to
    five for the atoms and 15 for the bonds on others. Adding this to a batch prevents them, so that the numbers of a
    crystal are the same to the last bit alone and among others.
    """
    return orbit_graph(hydrogen_cluster())


def join(graphs: Sequence[OrbitGraph]) -> OrbitGraph:
    """Return one graph of all, in order."""
    atoms = _starts([len(g.atomic_numbers) for g in graphs])
    bonds, vectors = _starts([len(g.first) for g in graphs]), _starts([len(g.vectors) for g in graphs])
    n_short = [len(g.short) for g in graphs]
    shorts, total = _starts(n_short), sum(n_short)

    def moved(name: str, starts: Sequence[int]) -> Index:
        parts = [getattr(g, name) + start for g, start in zip(graphs, starts, strict=True)]
        return np.concatenate(parts, axis=-1)

    def joined(name: str) -> NDArray[np.float32]:
        return np.concatenate([getattr(g, name) for g in graphs], axis=-1)

    def directed(name: str) -> Index:
        sides = [getattr(g, name) for g in graphs]
        parts = zip(sides, n_short, shorts, strict=True)
        return np.concatenate([np.where(side < n, side + start, side - n + total + start) for side, n, start in parts])

    return OrbitGraph(
        atomic_numbers=np.concatenate([g.atomic_numbers for g in graphs]),
        crystal_idx=np.repeat(np.arange(len(graphs)), [len(g.atomic_numbers) for g in graphs]),
        atom_counts=joined("atom_counts"),
        first=moved("first", atoms),
        second=moved("second", atoms),
        bond_shares=joined("bond_shares"),
        vectors=np.concatenate([g.vectors for g in graphs]),
        ends=np.concatenate([g.ends for g in graphs], axis=-1),
        bond_vector=moved("bond_vector", vectors),
        short=moved("short", bonds),
        angle_left=directed("angle_left"),
        angle_right=directed("angle_right"),
        angle_shares=joined("angle_shares"),
        angle_vectors=moved("angle_vectors", vectors),
        angle_signs=joined("angle_signs"),
    )


def _starts(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths)[:-1].tolist()]
