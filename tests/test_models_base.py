"""Parts shared by all CD-VAEs: KL term, composition features, volume baseline, six-vectors of lattices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcoms.core.errors import DataError
from lcoms.models.base import (
    LatticeTransform,
    VolumeBaseline,
    batch_composition_features,
    composition_features,
    kl_divergence,
    sample_latent,
)
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal


def some_batch() -> CrystalBatch:
    rng = np.random.default_rng(0)
    return CrystalBatch.from_crystals(
        [
            Crystal(np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.5, rng.random((n, 3)), rng.integers(1, 40, n))
            for n in (1, 2, 4, 4, 7)
        ]
    )


def test_kl_equals_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator)
    posterior = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    exact = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert torch.allclose(kl_divergence(mu, logvar), exact)
    assert kl_divergence(mu, torch.full_like(mu, 1e9)).isfinite()
    other = torch.randn(mu.shape, generator=generator), torch.randn(mu.shape, generator=generator)
    wide = torch.distributions.Normal(other[0], (0.5 * other[1]).exp())
    exact = torch.distributions.kl_divergence(posterior, wide).sum(1).mean()
    assert torch.allclose(kl_divergence(mu, logvar, other), exact)
    assert float(kl_divergence(mu, logvar, (mu, logvar))) == pytest.approx(0, abs=1e-6)


def test_samples_have_mean_and_variance() -> None:
    mu, logvar = torch.full((40_000, 1), 2.0), torch.full((40_000, 1), 1.0)
    z = sample_latent(mu, logvar, torch.Generator().manual_seed(0))
    assert z.mean().item() == pytest.approx(2.0, abs=0.03)
    assert z.var().item() == pytest.approx(np.e, rel=0.03)


def test_features_of_compositions() -> None:
    features = composition_features([Composition.from_formula("Na4Cl4"), Composition.from_formula("NaCl")])
    assert features[0, 10] == features[0, 16] == 0.5
    assert torch.equal(features[0, :-1], features[1, :-1])
    assert torch.allclose(features[:, -1].exp(), torch.tensor([8.0, 2.0]))
    batch = some_batch()
    assert torch.allclose(batch_composition_features(batch), composition_features(batch.compositions()))


def test_baseline_finds_additive_volumes() -> None:
    rng = np.random.default_rng(0)
    true = {11: 30.0, 17: 20.0, 8: 10.0}
    compositions = [Composition.from_counts({z: int(rng.integers(1, 5)) for z in true}) for _ in range(200)]
    volumes = [sum(true[z] * n for z, n in zip(c.atomic_numbers, c.counts, strict=True)) for c in compositions]
    baseline, features = VolumeBaseline(), composition_features(compositions)
    untouched = baseline.atomic_volumes[25].clone()
    baseline.fit(features, torch.tensor(volumes), ridge=1e-3)
    assert torch.allclose(baseline(features), torch.tensor(volumes), rtol=1e-3)
    assert baseline.atomic_volumes[25] == untouched


def test_lattices_come_back_with_their_shape() -> None:
    batch, transform = some_batch(), LatticeTransform()
    volumes = 15.0 * batch.n_atoms
    transform.fit(batch.lattice, volumes)
    six = transform(batch.lattice, volumes)
    assert torch.allclose(six.mean(0), torch.zeros(6), atol=1e-4)
    rows, valid = transform.to_lattice(six, volumes)
    assert valid.all()
    assert torch.allclose(rows @ rows.transpose(1, 2), batch.lattice @ batch.lattice.transpose(1, 2), atol=1e-3)


def test_scale_of_the_reference_volume_is_the_scale_of_the_cell() -> None:
    transform, six = LatticeTransform(), torch.zeros(1, 6)
    small, large = (transform.to_lattice(six, torch.tensor([v]))[0] for v in (10.0, 80.0))
    assert torch.allclose(2 * small, large)


def test_impossible_cells_are_marked_and_replaced() -> None:
    transform = LatticeTransform()
    volumes = torch.full((6,), 64.0)
    raw = torch.tensor(
        [
            [0.0, 0.0, 0.0, 90.0, 90.0, 90.0],
            [torch.nan, 0.0, 0.0, 90.0, 90.0, 90.0],
            [0.0, 0.0, 99.0, 90.0, 90.0, 90.0],
            [0.0, 0.0, 0.0, 40.0, 50.0, 150.0],  # alpha + beta < gamma
            [0.0, 0.0, -3.0, 90.0, 90.0, 90.0],  # an edge of 0.2 angstrom
            [0.0, 0.0, 0.0, 60.0, 60.0, 119.9995],  # a cell almost without volume
        ]
    )
    rows, valid = transform.to_lattice((raw - transform.mean) / transform.std, volumes)
    assert valid.tolist() == [True, False, False, False, False, False]
    assert torch.allclose(rows[1:], torch.eye(3).expand(5, 3, 3) * 4.0)


def test_fitting_to_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one crystal"):
        LatticeTransform().fit(torch.zeros(0, 3, 3), torch.zeros(0))
