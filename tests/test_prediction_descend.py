"""Descent on energies with a known minimum, and independence of the samples in a batch."""

import pytest
import torch

from lcoms.core.errors import ConfigError
from lcoms.models.surrogate import ConservativeSurrogate, SurrogateConfig
from lcoms.prediction.descend import descend, nearest_distance, typical_distance

CENTRE = torch.tensor([0.5, -1.0, 2.0])


class Quadratic(ConservativeSurrogate):
    """Surrogate with E = |normalized z - (0.5, -1, 2)|^2 / 2 for every composition."""

    def normalised_energy(self, normalised, composition_features):
        return ((normalised - CENTRE.to(normalised)) ** 2).sum(dim=-1) / 2 + 0 * composition_features.sum(dim=-1)


def quadratic() -> Quadratic:
    surrogate = Quadratic(3, SurrogateConfig(hidden=2, step_size=0.5))
    surrogate.latent_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    surrogate.latent_std.copy_(torch.tensor([0.5, 1.0, 4.0]))
    surrogate.energy_mean.fill_(-2.0)
    surrogate.energy_std.fill_(0.25)
    return surrogate


def starts(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator) * 3, torch.rand(n, 103, generator=generator)


def test_descent_reaches_the_minimum_of_a_quadratic() -> None:
    surrogate, (z0, features) = quadratic(), starts(5)
    result = descend(surrogate, z0, features, steps=40, keep_path=True)
    expected = CENTRE * surrogate.latent_std + surrogate.latent_mean
    assert torch.allclose(result.z, expected.expand(5, 3), atol=1e-4)
    assert torch.allclose(result.energies, torch.full((5,), -2.0), atol=1e-5)
    assert result.path is not None
    assert result.path.shape == (41, 5, 3)
    assert torch.equal(result.path[0], z0)
    assert torch.equal(result.path[-1], result.z)
    assert (result.energy_path.diff(dim=0) <= 1e-6).all()


def test_path_is_the_closed_form_of_gradient_descent() -> None:
    surrogate, (z0, features) = quadratic(), starts(4)
    result = descend(surrogate, z0, features, steps=3, step_size=0.2, keep_path=True)
    assert result.path is not None
    away = surrogate.normalise(z0) - CENTRE
    for k in range(4):
        assert torch.allclose(surrogate.normalise(result.path[k]), CENTRE + 0.8**k * away, atol=1e-5)
        energy = -2.0 + 0.25 * 0.5 * (0.8**k * away).pow(2).sum(dim=1)
        assert torch.allclose(result.energy_path[k], energy, atol=1e-5)


def test_no_steps_give_the_start_back() -> None:
    surrogate, (z0, features) = quadratic(), starts(2)
    result = descend(surrogate, z0, features, steps=0)
    assert torch.allclose(result.z, z0, atol=1e-6)
    assert result.path is None
    assert result.energy_path.shape == (1, 2)
    with pytest.raises(ConfigError, match="0 or more steps"):
        descend(surrogate, z0, features, steps=-1)


def test_samples_do_not_depend_on_their_batch_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    surrogate = ConservativeSurrogate(3, SurrogateConfig(hidden=32)).double()
    surrogate.initialise(generator)
    z0, features = (t.double() for t in starts(30))
    together = descend(surrogate, z0, features, steps=20, step_size=0.5)
    assert (together.z - z0).norm(dim=1).min() > 1e-3
    for i in (0, 17):
        alone = descend(surrogate, z0[i : i + 1], features[i : i + 1], steps=20, step_size=0.5)
        assert torch.allclose(alone.z[0], together.z[i], rtol=0, atol=1e-12)


def test_collapsed_dimensions_keep_their_start() -> None:
    surrogate, (z0, features) = quadratic(), starts(3)
    surrogate.latent_mask[1] = 0
    result = descend(surrogate, z0, features, steps=30, keep_path=True)
    assert torch.equal(result.z[:, 1], z0[:, 1])
    assert torch.allclose(surrogate.normalise(result.z)[:, 0], CENTRE[0].expand(3), atol=1e-4)


def test_distances_to_the_nearest_datum() -> None:
    data = torch.tensor([[0.0, 0, 0], [3.0, 4.0, 0], [0, 0, 1.0]])
    assert nearest_distance(torch.tensor([[3.0, 4.0, 2.0]]), data).tolist() == [2.0]
    assert nearest_distance(data, data, skip_self=True).tolist() == pytest.approx([1.0, 5.0, 1.0])


def test_works_under_no_grad_and_inference_mode() -> None:
    surrogate, (z0, features) = quadratic(), starts(2)
    expected = descend(surrogate, z0, features, steps=5).z
    with torch.no_grad():
        assert torch.equal(descend(surrogate, z0, features, steps=5).z, expected)
    with torch.inference_mode():
        assert torch.equal(descend(surrogate, z0 + 0, features, steps=5).z, expected)
    assert not expected.requires_grad


def test_typical_distance_of_a_line() -> None:
    surrogate = quadratic()
    line = torch.zeros(11, 3)
    line[:10, 0] = torch.arange(10)
    line[10, 0] = 12.0  # the last lies 3 from its nearest neighbour, all others 1
    data = surrogate.denormalise(line, line)
    assert typical_distance(surrogate, data, quantile=0.5) == pytest.approx(1.0, abs=1e-4)
    assert typical_distance(surrogate, data, quantile=1.0) == pytest.approx(3.0, abs=1e-4)
    with pytest.raises(ConfigError, match="two"):
        typical_distance(surrogate, data[:1])
