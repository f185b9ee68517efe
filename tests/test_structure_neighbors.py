"""Neighbor lists compared with brute force over more images than needed, and exact shells of known crystals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcoms.core.errors import ConfigError, CrystalError
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import is_valid_lattice, lattice_from_parameters, plane_spacings
from lcoms.structure.neighbors import TIE_TOLERANCE, Edges, Slots, minimum_image, neighbor_list, triplets

GENERATOR = torch.Generator().manual_seed(0)
FCC = Crystal(np.array([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), np.zeros((1, 3)), np.array([29]))


def random_crystal(rng: np.random.Generator, number: int) -> Crystal:
    """Return a random crystal; every third cell is skewed, every fourth thin, every fifth has one atom."""
    while True:
        lengths = rng.uniform(3.0, 8.0, 3)
        if number % 4 == 0:
            lengths *= rng.permutation([0.35, 1.0, 1.6])
        angles = rng.uniform(25, 150, 3) if number % 3 == 0 else rng.uniform(60, 120, 3)
        with np.errstate(invalid="ignore"):
            lattice = lattice_from_parameters(lengths, angles)
        if is_valid_lattice(lattice) and np.abs(np.linalg.det(lattice)) > 0.1 * np.prod(lengths):
            break
    n_atoms = 1 if number % 5 == 0 else int(rng.integers(1, 6))
    return Crystal(lattice, rng.random((n_atoms, 3)), np.full(n_atoms, 11))


def brute_force(crystal: Crystal, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (source, target, image) and distances of all pairs closer than reach, from a block of images."""
    ranges = [np.arange(-m, m + 1) for m in np.ceil(reach / plane_spacings(crystal.lattice)).astype(int) + 1]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    cart = crystal.cart_coords
    vectors = (cart[:, None] - cart[None])[:, :, None] + images @ crystal.lattice
    distance = np.linalg.norm(vectors, axis=-1)
    itself = np.eye(len(cart), dtype=bool)[:, :, None] & (images == 0).all(1)
    s, t, i = np.nonzero((distance <= reach) & ~itself)
    return np.column_stack([s, t, images[i]]), distance[s, t, i]


def rows_of(edges: Edges, batch: CrystalBatch) -> list[set[tuple[int, ...]]]:
    """Return the edges of each crystal as (source, target, image), with atoms numbered from 0."""
    starts = (torch.cumsum(batch.n_atoms, 0) - batch.n_atoms)[batch.crystal_idx[edges.target]]
    table = torch.cat([(edges.edge_index - starts).T, edges.edge_images], dim=1).tolist()
    rows: list[set[tuple[int, ...]]] = [set() for _ in range(batch.n_crystals)]
    for owner, row in zip(batch.crystal_idx[edges.target].tolist(), table, strict=True):
        assert tuple(row) not in rows[owner]
        rows[owner].add(tuple(row))
    return rows


def expected_rows(crystal: Crystal, cutoff: float | None, k: int | None) -> set[tuple[int, ...]]:
    reach = max(cutoff or 0.0, 6.0)
    while True:
        rows, distance = brute_force(crystal, reach)
        counts = np.bincount(rows[:, 1], minlength=crystal.n_atoms)
        if counts.min() > (k or 1) + 1 and all(
            np.sort(distance[rows[:, 1] == t])[(k or 1) - 1] + TIE_TOLERANCE < reach for t in range(crystal.n_atoms)
        ):
            break
        reach *= 1.5
    keep = np.zeros(len(rows), dtype=bool)
    for t in range(crystal.n_atoms):
        own = rows[:, 1] == t
        shell = np.sort(distance[own])[(k or 1) - 1] + TIE_TOLERANCE
        if cutoff is not None and (distance[own] <= cutoff).any():
            shell = cutoff if k is None else min(shell, cutoff)
        keep |= own & (distance <= shell)
    return {tuple(row) for row in rows[keep].tolist()}


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    rng = np.random.default_rng(0)
    return [random_crystal(rng, number) for number in range(1000)]


@pytest.mark.parametrize(("cutoff", "k"), [(5.0, None), (None, 8), (3.5, 12)])
def test_equals_brute_force_on_1000_random_cells(crystals: list[Crystal], cutoff: float | None, k: int | None) -> None:
    batch = CrystalBatch.from_crystals(crystals, dtype=torch.float64)
    found = rows_of(neighbor_list(batch, cutoff=cutoff, k=k), batch)
    for number, crystal in enumerate(crystals):
        assert found[number] == expected_rows(crystal, cutoff, k), f"cell {number}"


def test_symmetric_list_is_the_union_of_both_ends(crystals: list[Crystal]) -> None:
    batch = CrystalBatch.from_crystals(crystals[:100], dtype=torch.float64)
    one_sided = rows_of(neighbor_list(batch, k=6), batch)
    edges = neighbor_list(batch, k=6, symmetric=True)
    for one, both in zip(one_sided, rows_of(edges, batch), strict=True):
        assert both == one | {(t, s, -x, -y, -z) for s, t, x, y, z in one}
    reverse = edges.reverse()
    assert torch.equal(edges.edge_index[:, reverse], edges.edge_index.flip(0))
    assert torch.allclose(edges.vectors(batch)[reverse], -edges.vectors(batch))


def test_shells_of_face_centred_cubic_stay_together() -> None:
    batch = CrystalBatch.from_crystals([FCC])
    for k, shells in ((1, 12), (12, 12), (13, 18), (19, 42), (134, 134)):
        assert neighbor_list(batch, k=k).edge_index.shape[1] == shells
    assert neighbor_list(batch, cutoff=7.0).edge_index.shape[1] == 134


def test_thin_cell_finds_its_twenty_neighbours() -> None:
    thin = Crystal(np.diag([2.8, 2.8, 15.0]), np.zeros((1, 3)), np.array([26]))
    edges = neighbor_list(CrystalBatch.from_crystals([thin]), k=20, cutoff=7.0)
    assert edges.edge_index.shape[1] == 20
    assert edges.edge_images.abs().max() == 2


def test_lonely_atom_falls_back_to_its_nearest_shell() -> None:
    lonely = Crystal(np.eye(3) * 10.0, np.zeros((1, 3)), np.array([2]))
    batch = CrystalBatch.from_crystals([lonely, FCC])
    edges = neighbor_list(batch, cutoff=3.0)
    assert torch.bincount(edges.target).tolist() == [6, 12]
    assert torch.allclose(edges.vectors(batch)[:6].norm(dim=1), torch.tensor(10.0))


def test_atoms_outside_their_cell_have_the_same_neighbours(crystals: list[Crystal]) -> None:
    batch = CrystalBatch.from_crystals(crystals[:50], dtype=torch.float64)
    moved = batch.replace(
        frac_coords=batch.frac_coords + torch.randint(-3, 4, batch.frac_coords.shape, generator=GENERATOR)
    )
    before, after = neighbor_list(batch, k=7), neighbor_list(moved, k=7)
    lengths = [torch.sort(e.vectors(b).norm(dim=1)).values for e, b in ((before, batch), (after, moved))]
    assert torch.allclose(*lengths)


def test_triplets_compare_edges_not_atoms() -> None:
    edges = neighbor_list(CrystalBatch.from_crystals([FCC]), k=12)
    pairs = triplets(edges)
    assert pairs.shape[1] == 12 * 11
    assert (pairs[0] != pairs[1]).all()
    assert torch.equal(edges.target[pairs[0]], edges.target[pairs[1]])


def test_slots_hold_every_edge_once(crystals: list[Crystal]) -> None:
    batch = CrystalBatch.from_crystals(crystals[:20])
    edges = neighbor_list(batch, k=5)
    slots = Slots.from_edges(edges, len(batch.frac_coords))
    values = torch.randn(edges.edge_index.shape[1], 2, generator=GENERATOR)
    table = slots.scatter(values)
    assert torch.equal(slots.gather(table), values)
    assert torch.equal(slots.filled.sum(1), torch.bincount(edges.target))
    assert (table[~slots.filled] == 0).all()


def test_asking_for_nothing_is_an_error() -> None:
    batch = CrystalBatch.from_crystals([FCC])
    for options in ({}, {"cutoff": -1.0}, {"k": 0}):
        with pytest.raises(ConfigError, match="positive cutoff or k"):
            neighbor_list(batch, **options)


def test_reverse_needs_a_symmetric_list() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.25, 0.0, 0.0]])
    batch = CrystalBatch.from_crystals([Crystal(np.eye(3) * 10.0, positions, np.array([1, 1, 1]))])
    with pytest.raises(ConfigError, match="symmetric"):
        neighbor_list(batch, k=1).reverse()


def test_edges_are_found_where_they_stand_and_others_are_not(crystals: list[Crystal]) -> None:
    edges = neighbor_list(CrystalBatch.from_crystals(crystals[:20]), k=5)
    order = torch.randperm(len(edges.source), generator=torch.Generator().manual_seed(0))
    assert torch.equal(edges.find(edges.edge_index[:, order], edges.edge_images[order]), order)
    far = edges.edge_images + torch.tensor([0, 40, 0])
    assert (edges.find(edges.edge_index, far) == -1).all()
    itself = edges.target.expand(2, -1)
    assert (edges.find(itself, torch.zeros_like(edges.edge_images)) == -1).all()
    none = Edges(edges.edge_index[:, :0], edges.edge_images[:0])
    assert (none.find(edges.edge_index, edges.edge_images) == -1).all()


def test_broken_coordinates_are_refused() -> None:
    batch = CrystalBatch.from_crystals([FCC])
    with pytest.raises(CrystalError, match="finite"):
        neighbor_list(batch.replace(frac_coords=batch.frac_coords * torch.nan), k=3)


def test_minimum_image_equals_brute_force(crystals: list[Crystal]) -> None:
    batch = CrystalBatch.from_crystals(crystals, dtype=torch.float64)
    lattice = batch.lattice[batch.crystal_idx]
    difference = 4.0 * torch.rand(batch.frac_coords.shape, dtype=torch.float64, generator=GENERATOR) - 2.0
    axis = torch.arange(-9.0, 10.0, dtype=torch.float64)
    images = torch.cartesian_prod(axis, axis, axis)
    for rows in torch.arange(len(lattice)).split(200):
        vectors = (difference[rows] - difference[rows].round())[:, None] @ lattice[rows] + images @ lattice[rows]
        shortest = vectors.norm(dim=2).min(dim=1).values
        assert torch.allclose(minimum_image(difference[rows], lattice[rows]).norm(dim=1), shortest)
    shift = (minimum_image(difference, lattice)[:, None] @ torch.linalg.inv(lattice))[:, 0] - difference
    assert torch.allclose(shift, shift.round(), atol=1e-9)
