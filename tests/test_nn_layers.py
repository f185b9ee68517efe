"""Bases compared with scipy and closed forms, and initializations by their moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre, spherical_jn

from lcoms.nn.layers import (
    GaussianBasis,
    ScaledSiLU,
    SineBasis,
    SphericalBesselBasis,
    angular_table,
    glorot_orthogonal_,
    he_orthogonal_,
    legendre_harmonics,
    polynomial_envelope,
    segment_mean,
    segment_sum,
    spherical_bessel,
    spherical_bessel_zeros,
)
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.neighbors import Slots, neighbor_list, triplets


def test_bessel_functions_equal_scipy() -> None:
    x = np.concatenate([np.geomspace(1e-4, 1.0, 40), np.linspace(1.0, 60.0, 400)])
    for order in range(8):
        ours = spherical_bessel(torch.from_numpy(x), order).numpy()
        assert np.abs(ours - spherical_jn(order, x)).max() < 1e-12


def test_zeros_are_the_first_zeros_in_order() -> None:
    zeros = spherical_bessel_zeros(7, 6)
    for order, row in enumerate(zeros):
        assert np.abs(spherical_jn(order, row)).max() < 1e-9
        grid = spherical_jn(order, np.linspace(0.5, row[-1] + 0.1, 20_000))
        assert (np.diff(np.sign(grid)) != 0).sum() == 6
    assert np.allclose(zeros[0], np.pi * np.arange(1, 7))


def test_bessel_basis_is_orthonormal_without_its_envelope() -> None:
    basis = SphericalBesselBasis(4, 3, 2.0, exponent=5)
    x = torch.linspace(1e-4, 1 - 1e-6, 20_001, dtype=torch.float64)
    values = basis(2.0 * x) / (polynomial_envelope(x, 6) / x)[:, None, None]
    weight = x.square() * (x[1] - x[0])
    for order in range(4):
        gram = torch.einsum("xn,xm,x->nm", values[:, order], values[:, order], weight)
        assert torch.allclose(gram, torch.eye(3, dtype=torch.float64), atol=2e-3)


def test_envelope_ends_smoothly() -> None:
    x = torch.tensor([0.0, 1.0 - 1e-12, 1.0, 1.3], dtype=torch.float64, requires_grad=True)
    for exponent in (5, 6):
        value = polynomial_envelope(x, exponent)
        assert torch.allclose(value, torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64), atol=1e-9)
        (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), x)
        assert slope.abs().max() < 1e-8
        assert curvature.abs().max() < 1e-8


def test_harmonics_equal_scipy() -> None:
    cosine = torch.linspace(-1, 1, 31, dtype=torch.float64)
    for order, values in enumerate(legendre_harmonics(cosine, 7).T):
        exact = math.sqrt((2 * order + 1) / (4 * math.pi)) * eval_legendre(order, cosine.numpy())
        assert np.allclose(values.numpy(), exact)


def test_sine_basis_is_the_zeroth_bessel_function() -> None:
    distance = torch.linspace(0.5, 6.9, 50)
    sine = SineBasis(4, 7.0, exponent=5)(distance)
    bessel = SphericalBesselBasis(1, 4, 7.0, exponent=5)(distance)[:, 0]
    ratio = sine / (distance / 7.0)[:, None] / bessel
    assert torch.allclose(ratio, torch.full_like(ratio, 1 / math.sqrt(2)), rtol=2e-3)


def test_gaussians_peak_at_their_centres_and_vanish_at_the_cutoff() -> None:
    basis = GaussianBasis(8, 7.0, exponent=5)
    values = basis(7.0 * basis.centres)
    assert values.argmax(dim=1).tolist()[:7] == list(range(7))
    assert values[-1].abs().max() == 0
    assert values[0, 0] == 1


def test_initialisations_have_their_moments() -> None:
    torch.manual_seed(0)
    weight = he_orthogonal_(torch.empty(64, 32))
    assert torch.allclose(weight.mean(1), torch.zeros(64), atol=1e-6)
    assert torch.allclose(weight.var(1), torch.full((64,), 1 / 32), rtol=1e-3)
    assert he_orthogonal_(torch.empty(4, 16, 8)).var().item() == pytest.approx(1 / 64, rel=0.05)
    assert glorot_orthogonal_(torch.empty(48, 16)).var().item() == pytest.approx(2 / 64, rel=1e-4)
    assert ScaledSiLU()(torch.randn(200_000)).square().mean().item() == pytest.approx(1.0, rel=0.05)


def test_segments() -> None:
    values, index = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([0, 0, 2])
    assert segment_sum(values, index, 3).flatten().tolist() == [3.0, 0.0, 5.0]
    assert segment_mean(values, index, 3).flatten().tolist() == [1.5, 0.0, 5.0]


def test_angular_table_holds_exactly_the_triplets() -> None:
    rng = np.random.default_rng(0)
    batch = CrystalBatch.from_crystals(
        [Crystal(np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.5, rng.random((n, 3)), np.full(n, 3)) for n in (1, 3)]
    )
    edges = neighbor_list(batch, k=7)
    vectors = edges.vectors(batch)
    slots = Slots.from_edges(edges, 4)
    table = angular_table(slots, vectors, 3)
    first, second = triplets(edges)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    expected = legendre_harmonics((unit[first] * unit[second]).sum(1), 3)
    found = table[slots.atom[first], slots.slot[first], slots.slot[second]]
    assert torch.allclose(found, expected, atol=1e-5)
    assert (table[..., 0] != 0).sum() == len(first)
