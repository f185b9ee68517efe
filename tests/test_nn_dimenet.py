"""The encoder depends on the crystal, not on its description."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symmetry_cases import as_batch, other_cell, random_rotation, shuffled, some_crystals, supercell
from torch import Tensor, nn

from lcoms.nn.dimenet import DimeNetConfig, DimeNetEncoder
from lcoms.nn.layers import legendre_harmonics, segment_sum
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.neighbors import neighbor_list, triplets

SMALL = DimeNetConfig(hidden=12, n_blocks=2, triplet=6, basis=4, output=10, n_spherical=4, n_radial=3)


@pytest.fixture(scope="module")
def encoder() -> DimeNetEncoder:
    torch.manual_seed(0)
    encoder = DimeNetEncoder(SMALL).double()
    for output in encoder.outputs:
        nn.init.normal_(output.layers[-1].weight)  # zero at the start
    return encoder


def same(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() < 1e-8 * (1 + a.abs())).all())


def test_crystals_differ(encoder: DimeNetEncoder) -> None:
    vectors = encoder(as_batch(some_crystals()))
    assert vectors.shape == (5, 10)
    assert torch.pdist(vectors).min() > 0.1


def test_rotation_and_translation(encoder: DimeNetEncoder) -> None:
    batch = as_batch(some_crystals())
    moved = batch.replace(lattice=batch.lattice @ random_rotation(), frac_coords=batch.frac_coords + 0.37)
    assert same(encoder(batch), encoder(moved))


def test_order_of_atoms_choice_of_cell_and_supercell(encoder: DimeNetEncoder) -> None:
    crystals = some_crystals()
    vectors = encoder(as_batch(crystals))
    for others in (shuffled(crystals)[0], other_cell(crystals), supercell(crystals)):
        assert same(vectors, encoder(as_batch(others)))


def test_crystals_of_a_batch_do_not_see_each_other(encoder: DimeNetEncoder) -> None:
    crystals = some_crystals()
    alone = torch.cat([encoder(as_batch([crystal])) for crystal in crystals])
    assert same(alone, encoder(as_batch(crystals)))


def test_angles_are_seen(encoder: DimeNetEncoder) -> None:
    batch = as_batch(some_crystals())
    blind = DimeNetEncoder(SMALL).double()
    blind.load_state_dict(encoder.state_dict())
    for interaction in blind.interactions:
        nn.init.zeros_(interaction.up[0].weight)
    assert (blind(batch) - encoder(batch)).abs().min(dim=1).values.max() > 1e-3


def test_sum_over_angles_equals_the_sum_over_triplets(encoder: DimeNetEncoder) -> None:
    """sum over edges k->j, other than the reverse of j->i, of x_kj W2 W1 b_ln(d_kj) Y_l(angle kji)."""
    batch, block = as_batch(some_crystals()), encoder.interactions[0]
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_pre_hook(lambda _, inputs: seen.update(m=inputs[0], radial=inputs[1], bessel=inputs[2])),
        block.up.register_forward_pre_hook(lambda _, inputs: seen.update(summed=inputs[0])),
    ]
    encoder(batch)
    for hook in hooks:
        hook.remove()
    edges = neighbor_list(batch, k=SMALL.n_neighbors, symmetric=True)
    pairs = triplets(edges)  # k->j and i->j; the latter is the reverse of j->i
    unit = edges.vectors(batch)
    unit = unit / unit.norm(dim=1, keepdim=True)
    angular = legendre_harmonics((unit[pairs[0]] * unit[pairs[1]]).sum(1), SMALL.n_spherical)
    basis = (seen["bessel"][pairs[0]] * angular[:, :, None]).flatten(1)
    x = block.down(block.neighbor(seen["m"]) * block.gate(seen["radial"]))[pairs[0]]
    messages = x * block.basis_out(block.basis_in(basis))
    expected = segment_sum(messages, edges.reverse()[pairs[1]], len(unit))
    assert expected.abs().max() > 1e-3
    assert same(expected, seen["summed"])


def test_full_size_has_the_published_number_of_parameters() -> None:
    n_parameters = sum(p.numel() for p in DimeNetEncoder(DimeNetConfig()).parameters())
    assert n_parameters == pytest.approx(2.21e6, rel=0.01)


def test_gradients_are_finite_even_for_atoms_on_top_of_each_other() -> None:
    encoder = DimeNetEncoder(SMALL)
    crystal = Crystal(np.eye(3) * 4.0, np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]), np.array([3, 8]))
    encoder(CrystalBatch.from_crystals([crystal])).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())
