"""The surrogate: units, masks, the sign of conservatism and the destination of its gradients."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from lcoms.core.errors import ConfigError, DataError, WeightsError
from lcoms.models.composition import batch_element_fractions, composition_keys, element_fractions
from lcoms.models.conservative import adversarial_latents, conservative_losses
from lcoms.models.energy_head import EnergyHead
from lcoms.models.surrogate import (
    ConservativeSurrogate,
    SurrogateConfig,
    predict_energies,
)
from lcoms.models.surrogate_file import load_surrogate, read_tensors, save_surrogate, write_tensors
from lcoms.structure.crystal import Composition

SMALL = SurrogateConfig(hidden=16, precision="float32")


def random_head(latent_dim: int = 6) -> EnergyHead:
    """Return an energy head with random weights whose energies differ by some tenths of eV/atom."""
    torch.manual_seed(1)
    head = EnergyHead(latent_dim, 8, 12)
    head.energy_mean.fill_(-2.0)
    head.energy_std.fill_(3.0)
    return head


def make(config: SurrogateConfig = SMALL, *, n: int = 40, d: int = 6, seed: int = 0, head: EnergyHead | None = None):
    """Return a surrogate with random weights and normalization from random data, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator, dtype=torch.double) * torch.linspace(0.2, 3, d) + 1
    features = torch.rand(n, 103, generator=generator, dtype=torch.double)
    features = features / features.sum(dim=1, keepdim=True)
    energies = torch.randn(n, generator=generator, dtype=torch.double) * 0.7 - 2
    surrogate = ConservativeSurrogate(d, config, head).double()
    surrogate.initialise(generator)
    surrogate.fit_normalisation(z, features, energies)
    return surrogate, z, features, energies


def test_element_fractions_do_not_know_formula_units() -> None:
    one, four = (element_fractions(Composition.from_formula(f)) for f in ("NaCl", "Na4Cl4"))
    assert torch.equal(one, four)
    assert one[0, 10] == one[0, 16] == 0.5
    assert one.sum() == 1
    titanate = element_fractions([Composition.from_formula("SrTiO3")])
    assert titanate[0, 7] == pytest.approx(0.6)
    flat = batch_element_fractions(torch.tensor([11, 17, 38, 22, 8, 8, 8]), torch.tensor([0, 0, 1, 1, 1, 1, 1]), 2)
    assert torch.allclose(flat, torch.cat([one, titanate]))
    keys = composition_keys(torch.cat([one, titanate, four]))
    assert keys[0] == keys[2] != keys[1]


def test_normalised_latents_have_zero_mean_and_unit_spread() -> None:
    surrogate, z, features, energies = make()
    normalised = surrogate.normalise(z)
    assert torch.allclose(normalised.mean(dim=0), torch.zeros(6).double(), atol=1e-6)
    assert torch.allclose(normalised.std(dim=0, unbiased=False), torch.ones(6).double(), atol=1e-6)
    assert torch.allclose(surrogate.denormalise(normalised, torch.zeros_like(z)), z)
    units = surrogate.normalise_energies(energies, features)
    assert units.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(surrogate.in_ev(units, features), energies)


def test_collapsed_dimensions_change_neither_energy_nor_latent() -> None:
    surrogate, z, features, energies = make()
    z[:, 2] = 0.3 + 0.01 * torch.randn(len(z), generator=torch.Generator().manual_seed(1), dtype=torch.double)
    surrogate.fit_normalisation(z, features, energies)
    assert surrogate.latent_mask.tolist() == [1, 1, 0, 1, 1, 1]
    pushed = z.clone()
    pushed[:, 2] += 5
    assert torch.equal(surrogate(z, features), surrogate(pushed, features))
    normalised = surrogate.normalise(pushed)
    moved, _ = surrogate.descent_step(normalised, features, 0.5)
    assert torch.equal(moved[:, 2], torch.zeros(len(z)).double())
    assert not torch.allclose(moved[:, 1], normalised[:, 1])
    assert torch.equal(surrogate.denormalise(moved, pushed)[:, 2], pushed[:, 2])


def test_ridge_baseline_leaves_only_what_composition_cannot_explain() -> None:
    weights = torch.linspace(-3, 1, 103).double()
    surrogate, z, features, _ = make(replace(SMALL, residual=True, ridge=1e-12), n=300)
    energies = features @ weights + 0.02 * z[:, 0]
    surrogate.fit_normalisation(z, features, energies)
    spread = (features @ weights).std().item()
    assert surrogate.energy_std.item() < 0.02 * z[:, 0].std().item() * 1.01 < 0.2 * spread
    assert torch.allclose(surrogate.in_ev(surrogate.normalise_energies(energies, features), features), energies)


def test_ridge_baseline_does_not_depend_on_how_often_the_data_are_repeated() -> None:
    surrogate, z, features, energies = make(replace(SMALL, residual=True, ridge=1e-3))
    once = surrogate.baseline.clone()
    surrogate.fit_normalisation(z.repeat(3, 1), features.repeat(3, 1), energies.repeat(3))
    assert once.abs().max() > 0.01
    assert torch.allclose(surrogate.baseline, once)


def test_fit_refuses_useless_data() -> None:
    surrogate, z, features, energies = make()
    with pytest.raises(DataError, match="finite"):
        surrogate.fit_normalisation(z, features, energies * float("nan"))
    with pytest.raises(DataError, match="all training energies are equal"):
        surrogate.fit_normalisation(z, features, torch.zeros_like(energies))


def test_descent_step_is_the_normalised_gradient() -> None:
    surrogate, z, features, _ = make()
    normalised = surrogate.normalise(z)
    moved, energy = surrogate.descent_step(normalised, features, 0.1)
    assert torch.allclose(energy, surrogate.normalised_energy(normalised, features))
    nudge = 1e-6
    for axis in range(z.shape[1]):
        up, down = normalised.clone(), normalised.clone()
        up[:, axis] += nudge
        down[:, axis] -= nudge
        slope = (surrogate.normalised_energy(up, features) - surrogate.normalised_energy(down, features)) / (2 * nudge)
        assert torch.allclose(normalised[:, axis] - 0.1 * slope, moved[:, axis], atol=1e-6)


def test_adversary_lowers_the_energy_and_training_raises_it_again() -> None:
    """Minimizing the loss must decrease E(z) - E(z-), so that energies far from the data are not underestimated."""
    surrogate, z, features, energies = make(replace(SMALL, inner_steps=5, step_size=0.05))
    normalised, targets = surrogate.normalise(z), surrogate.normalise_energies(energies, features)
    adversary = adversarial_latents(surrogate, normalised, features, steps=5, step_size=0.05)

    def drop() -> float:
        data = surrogate.normalised_energy(normalised, features)
        return (data - surrogate.normalised_energy(adversary, features)).mean().item()

    losses = conservative_losses(surrogate, normalised, features, targets, torch.tensor(8.0).double())
    assert losses.overestimation.item() == pytest.approx(drop())
    assert losses.overestimation.item() > 0
    before = drop()
    losses.model.backward()
    with torch.no_grad():
        for parameter in surrogate.parameters():
            parameter -= 1e-6 * parameter.grad
    assert drop() < before


def test_losses_are_the_stated_formulas() -> None:
    surrogate, z, features, energies = make(replace(SMALL, tau=0.4, inner_steps=3))
    normalised, targets = surrogate.normalise(z), surrogate.normalise_energies(energies, features)
    log_alpha = torch.tensor(0.3, dtype=torch.double, requires_grad=True)
    losses = conservative_losses(surrogate, normalised, features, targets, log_alpha)
    adversary = adversarial_latents(surrogate, normalised, features, steps=3, step_size=SMALL.step_size)
    data, lowered = (surrogate.normalised_energy(at, features) for at in (normalised, adversary))
    over, alpha = (data - lowered).mean(), log_alpha.exp()
    assert losses.squared_error.item() == pytest.approx(((data - targets) ** 2).mean().item())
    assert losses.absolute_error.item() == pytest.approx((data - targets).abs().mean().item())
    assert losses.model.item() == pytest.approx((losses.squared_error + alpha * over).item())
    assert losses.alpha.item() == pytest.approx((alpha * (0.4 - over)).item())
    losses.alpha.backward()
    assert log_alpha.grad.item() == pytest.approx((alpha * (0.4 - over)).item())
    assert all(p.grad is None for p in surrogate.parameters())


def test_gradient_reaches_weights_through_both_energies_but_not_through_the_adversary() -> None:
    surrogate, z, features, energies = make(replace(SMALL, inner_steps=2, step_size=0.3))
    normalised, targets = surrogate.normalise(z), surrogate.normalise_energies(energies, features)
    alpha, weights = 2.0, list(surrogate.parameters())

    def gradients(at_data: torch.Tensor, lowered: torch.Tensor) -> torch.Tensor:
        loss = ((surrogate.normalised_energy(normalised, features) - targets) ** 2 + alpha * (at_data - lowered)).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])

    losses = conservative_losses(surrogate, normalised, features, targets, torch.tensor(alpha).double().log())
    actual = torch.cat([g.flatten() for g in torch.autograd.grad(losses.model, weights)])

    def data() -> torch.Tensor:
        return surrogate.normalised_energy(normalised, features)

    fixed = adversarial_latents(surrogate, normalised, features, steps=2, step_size=0.3)
    expected = gradients(data(), surrogate.normalised_energy(fixed, features))
    assert torch.allclose(actual, expected)
    followed = normalised.clone().requires_grad_(True)
    for _ in range(2):
        energy = surrogate.normalised_energy(followed, features)
        followed = followed - 0.3 * torch.autograd.grad(energy.sum(), followed, create_graph=True)[0]
    assert torch.allclose(followed, fixed)
    through_adversary = gradients(data(), surrogate.normalised_energy(followed, features))
    without_data = gradients(data().detach(), surrogate.normalised_energy(fixed, features))
    without_adversary = gradients(data(), surrogate.normalised_energy(fixed, features).detach())
    for other in (through_adversary, without_data, without_adversary):
        assert (actual - other).norm() > 1e-3 * actual.norm()


def test_conservatism_off_is_plain_regression() -> None:
    surrogate, z, features, energies = make(replace(SMALL, conservatism="off"))
    normalised, targets = surrogate.normalise(z), surrogate.normalise_energies(energies, features)
    losses = conservative_losses(surrogate, normalised, features, targets, torch.tensor(3.0).double())
    expected = ((surrogate.normalised_energy(normalised, features) - targets) ** 2).mean()
    assert losses.model.item() == pytest.approx(expected.item())
    assert losses.overestimation.item() == 0


def test_products_are_those_of_two_linear_maps() -> None:
    surrogate, z, features, _ = make(replace(SMALL, hidden=1, layers=1, element_pairs=2, latent_pairs=3))
    (network,) = surrogate.networks
    normalised, scaled = surrogate.normalise(z), features * SMALL.composition_scale
    with torch.no_grad():
        network.hidden[0].weight.zero_()
        network.hidden[0].weight[0, 6 + 103 :] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
        network.hidden[0].bias.fill_(1000.0)  # where the leaky ReLU is linear
        network.head.weight.fill_(1.0)
        network.head.bias.fill_(-1000.0)
        (of_elements, of_latent), (second, third) = network.left, network.right
        expected = 0.3 * (of_elements(scaled) * second(scaled)) @ torch.tensor([1.0, 2.0]).double()
        expected += 0.3 * (of_latent(normalised) * third(scaled)) @ torch.tensor([3.0, 4.0, 5.0]).double()
    assert torch.allclose(surrogate.normalised_energy(normalised, features), expected)


def test_each_member_is_fitted_and_descent_follows_their_mean() -> None:
    config = replace(SMALL, members=3, tau=0.4, inner_steps=2, absolute=0.7)
    surrogate, z, features, energies = make(config)
    normalised, targets = surrogate.normalise(z), surrogate.normalise_energies(energies, features)
    members = surrogate.member_energies(normalised, features)
    assert members.std(dim=0).min() > 1e-4
    assert torch.allclose(surrogate.normalised_energy(normalised, features), members.mean(dim=0))
    losses = conservative_losses(surrogate, normalised, features, targets, torch.tensor(0.3).double())
    adversary = adversarial_latents(surrogate, normalised, features, steps=2, step_size=SMALL.step_size)
    lowered = surrogate.member_energies(adversary, features).mean(dim=0)
    over = (members.mean(dim=0) - lowered).mean()
    error = members - targets
    expected = (error**2).mean() + 0.7 * error.abs().mean()
    assert losses.overestimation.item() == pytest.approx(over.item())
    assert losses.model.item() == pytest.approx((expected + torch.tensor(0.3).exp() * over).item())
    assert losses.absolute_error.item() == pytest.approx((members.mean(dim=0) - targets).abs().mean().item())


def test_networks_correct_the_energies_of_the_head() -> None:
    config = replace(SMALL, members=2, from_head=True, residual=True)
    head = random_head()
    surrogate, z, features, _ = make(config, head=head)
    normalised = surrogate.normalise(z)
    given = deepcopy(head).double()(z, features)
    assert given.std() > 0.05
    corrections = torch.stack([network(normalised, features) for network in surrogate.networks])
    expected = given + corrections.mean(dim=0) * surrogate.energy_std
    assert torch.allclose(surrogate(z, features), expected)
    assert torch.allclose(surrogate.in_ev(surrogate.normalised_energy(normalised, features), features), expected)
    moved, _ = surrogate.descent_step(normalised, features, 0.01)
    at = z.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(surrogate(at, features).sum() / surrogate.energy_std, at)
    assert torch.allclose(moved, normalised - 0.01 * slope * surrogate.latent_std)
    assert {id(p) for p in surrogate.parameters() if p.requires_grad} == {
        id(p) for p in surrogate.networks.parameters()
    }
    with pytest.raises(ConfigError, match="from_head needs the energy head of an autoencoder"):
        ConservativeSurrogate(6, config, None)
    with pytest.raises(ConfigError, match="an energy head is used only with the surrogate option from_head"):
        ConservativeSurrogate(6, SMALL, head)


def test_a_saved_surrogate_keeps_its_head_in_full_precision(tmp_path) -> None:
    surrogate, z, features, _ = make(replace(SMALL, from_head=True), head=random_head())
    surrogate.float()
    with torch.no_grad():
        for parameter in surrogate.networks.parameters():
            parameter.zero_()
    save_surrogate(surrogate, tmp_path / "s.safetensors", dtype=torch.int8)
    loaded, _ = load_surrogate(tmp_path / "s.safetensors")
    assert torch.equal(loaded(z.float(), features.float()), surrogate(z.float(), features.float()))
    tensors, header = read_tensors(tmp_path / "s.safetensors", "lcoms-surrogate", 2)
    for wrong in (None, [6, 8], [6, 8, 11], [6, 8, -1]):
        write_tensors(tmp_path / "wrong.safetensors", tensors, {**header, "head": wrong})
        with pytest.raises(WeightsError, match="does not fit this version"):
            load_surrogate(tmp_path / "wrong.safetensors")


def test_config_refuses_what_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match="inner_steps must be at least 1, not 0"):
        SurrogateConfig(inner_steps=0)
    with pytest.raises(ConfigError, match="step_size must be positive"):
        SurrogateConfig(step_size=-0.1)
    with pytest.raises(ConfigError, match="final_lr_fraction"):
        SurrogateConfig(final_lr_fraction=1.5)


def test_saved_surrogate_predicts_the_same(tmp_path) -> None:
    surrogate, z, features, _ = make()
    surrogate.float()
    z, features = z.float(), features.float()
    save_surrogate(surrogate, tmp_path / "s.safetensors", metadata={"note": "x"})
    loaded, metadata = load_surrogate(tmp_path / "s.safetensors")
    assert metadata == {"note": "x"}
    assert loaded.config == surrogate.config
    assert torch.equal(loaded(z, features), surrogate(z, features))
    assert torch.allclose(predict_energies(loaded, z, features, chunk=7), loaded(z, features), atol=1e-5)
    save_surrogate(surrogate, tmp_path / "half.safetensors", dtype=torch.float16)
    half, _ = load_surrogate(tmp_path / "half.safetensors")
    assert torch.equal(half.latent_mean, surrogate.latent_mean)
    assert torch.allclose(half(z, features), surrogate(z, features), atol=5e-3)
    save_surrogate(surrogate, tmp_path / "int8.safetensors", dtype=torch.int8)
    coarse, _ = load_surrogate(tmp_path / "int8.safetensors")
    assert torch.allclose(coarse(z, features), surrogate(z, features), atol=2e-2)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("s", "half", "int8")]
    assert sizes == sorted(sizes, reverse=True)


def test_a_file_of_the_first_format_holds_one_network(tmp_path) -> None:
    surrogate, z, features, _ = make()
    surrogate.float()
    save_surrogate(surrogate, tmp_path / "now.safetensors", dtype=torch.int8)
    tensors, header = read_tensors(tmp_path / "now.safetensors", "lcoms-surrogate", 2)
    earlier = {name.removeprefix("networks.0."): tensor for name, tensor in tensors.items()}
    assert "hidden.0.weight" in earlier
    write_tensors(tmp_path / "then.safetensors", earlier, header | {"version": 1})
    now, then = (load_surrogate(tmp_path / f"{name}.safetensors")[0] for name in ("now", "then"))
    assert torch.equal(now(z.float(), features.float()), then(z.float(), features.float()))


def test_damaged_or_foreign_weights_are_named(tmp_path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        load_surrogate(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="damaged"):
        load_surrogate(tmp_path / "bad.safetensors")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="something else"):
        load_surrogate(tmp_path / "other.safetensors")
