"""Vectors of the denoiser rotate with the crystal and are otherwise invariant, with and without quadruplets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from symmetry_cases import as_batch, other_cell, random_rotation, shuffled, some_crystals, supercell
from torch import Tensor

from lcoms.nn.gemnet import GemNetConfig, GemNetDenoiser
from lcoms.nn.gemnet_quadruplets import QuadrupletConfig
from lcoms.nn.layers import legendre_harmonics, segment_sum
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.neighbors import neighbor_list, triplets

SMALL = GemNetConfig(atom=12, edge=14, n_blocks=2, triplet=6, bilinear=5, basis=4, n_radial=16, n_spherical=4)
SIZES = QuadrupletConfig(channels=5, bilinear=4, circular_basis=3, spherical_basis=6, n_neighbors=4)
FORMS = {"triplets": SMALL, "quadruplets": replace(SMALL, quadruplets=True, quadruplet_sizes=SIZES)}
CONDITION = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=FORMS)
def denoiser(request: pytest.FixtureRequest) -> GemNetDenoiser:
    torch.manual_seed(0)
    return GemNetDenoiser(FORMS[request.param], 3).double()


def same(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() < 1e-8 * (1 + a.abs().max())).all())


def test_vectors_rotate_and_do_not_translate(denoiser: GemNetDenoiser) -> None:
    batch, rotation = as_batch(some_crystals()), random_rotation()
    vectors = denoiser(batch, CONDITION)
    moved = batch.replace(lattice=batch.lattice @ rotation, frac_coords=batch.frac_coords + 0.37)
    assert vectors[4:].norm(dim=1).min() > 1e-3
    assert same(vectors @ rotation, denoiser(moved, CONDITION))


def test_mirror_images_get_mirrored_vectors(denoiser: GemNetDenoiser) -> None:
    batch, mirror = as_batch(some_crystals()), random_rotation() @ torch.diag(torch.tensor([1.0, 1.0, -1.0]).double())
    mirrored = batch.replace(lattice=batch.lattice @ mirror)
    assert same(denoiser(batch, CONDITION) @ mirror, denoiser(mirrored, CONDITION))


def test_vectors_vanish_where_symmetry_says_so(denoiser: GemNetDenoiser) -> None:
    """Rock salt and one-atom cells have inversion centers on their atoms."""
    assert denoiser(as_batch(some_crystals()), CONDITION)[:4].abs().max() < 1e-8


def test_order_of_atoms(denoiser: GemNetDenoiser) -> None:
    crystals = some_crystals()
    others, orders = shuffled(crystals)
    batch = as_batch(crystals)
    starts = np.cumsum([0, *(c.n_atoms for c in crystals[:-1])])
    order = np.concatenate([start + o for start, o in zip(starts, orders, strict=True)])
    assert same(denoiser(batch, CONDITION)[torch.from_numpy(order)], denoiser(as_batch(others), CONDITION))


def test_choice_of_cell_and_supercell(denoiser: GemNetDenoiser) -> None:
    crystals = some_crystals()
    vectors = denoiser(as_batch(crystals), CONDITION)
    assert same(vectors, denoiser(as_batch(other_cell(crystals)), CONDITION))
    parts = vectors.split([c.n_atoms for c in crystals])
    doubled = torch.cat([torch.cat([part, part]) for part in parts])
    assert same(doubled, denoiser(as_batch(supercell(crystals)), CONDITION))


def test_condition_and_element_matter(denoiser: GemNetDenoiser) -> None:
    batch = as_batch(some_crystals())
    vectors = denoiser(batch, CONDITION)
    assert (denoiser(batch, CONDITION.flip(0)) - vectors)[4:].norm(dim=1).min() > 1e-4
    other = batch.replace(atomic_numbers=batch.atomic_numbers % 90 + 5)
    assert (denoiser(other, CONDITION) - vectors)[4:].norm(dim=1).min() > 1e-4


def test_angles_are_seen(denoiser: GemNetDenoiser) -> None:
    batch = as_batch(some_crystals())
    blind = GemNetDenoiser(denoiser.config, 3).double()
    blind.load_state_dict(denoiser.state_dict())
    for block in blind.blocks:
        torch.nn.init.zeros_(block.triplets.bilinear)
    assert (blind(batch, CONDITION) - denoiser(batch, CONDITION))[4:].norm(dim=1).min() > 1e-4


def test_sum_over_angles_equals_the_sum_over_triplets(denoiser: GemNetDenoiser) -> None:
    """sum over b of W[t, b', u] x_ba[t] (sum_lr C[l, r, b'] g_r(d_ca) Y_l(angle cab)), and its swap of the two ends."""
    batch, layer = as_batch(some_crystals()), denoiser.blocks[0].triplets
    seen: dict[str, Any] = {}
    hook = layer.register_forward_hook(lambda _, inputs, output: seen.update(m=inputs[0], graph=inputs[1], out=output))
    denoiser(batch, CONDITION)
    hook.remove()
    edges = neighbor_list(batch, cutoff=SMALL.cutoff, k=SMALL.n_neighbors, symmetric=True)
    other, own = triplets(edges)  # b->a and c->a
    vectors = edges.vectors(batch)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    angular = legendre_harmonics((unit[other] * unit[own]).sum(1), SMALL.n_spherical)
    gaussians = denoiser.radial(vectors.norm(dim=1))
    basis = torch.einsum("pr,pl,lrb->pb", gaussians[own], angular, denoiser.circular)
    x = layer.down(layer.source(seen["m"]) * layer.gate(seen["graph"].radial_triplet) * layer.gate_scale)
    messages = torch.einsum("pt,pb,tbu->pu", x[other], basis, layer.bilinear)
    summed = segment_sum(messages, own, len(unit)) * layer.sum_scale
    expected = (layer.up(summed) + layer.up_reverse(summed)[edges.reverse()]) / 2**0.5
    assert expected.abs().max() > 1e-3
    assert same(expected, seen["out"])


@pytest.mark.parametrize("quadruplets", [False, True])
def test_full_size_starts_with_outputs_of_order_one(quadruplets: bool) -> None:
    torch.manual_seed(0)
    crystals = some_crystals()[3:]
    vectors = GemNetDenoiser(GemNetConfig(quadruplets=quadruplets), 8)(
        CrystalBatch.from_crystals(crystals), torch.randn(2, 8)
    )
    assert 0.01 < vectors.square().mean().sqrt() < 20


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_even_for_atoms_on_top_of_each_other(form: str) -> None:
    denoiser = GemNetDenoiser(FORMS[form], 3)
    crystal = Crystal(np.eye(3) * 9.0, np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]), np.array([3, 8]))
    denoiser(CrystalBatch.from_crystals([crystal]), torch.zeros(1, 3)).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in denoiser.parameters())
