"""The fast preset: invariance of latents and displacements, seeds, gradients, and learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from symmetry_cases import other_cell, random_rotation, shuffled, some_crystals, supercell
from tiny import TINY, perovskite, prototypes, rock_salt, tiny_cdvae, wurtzite, zinc_blende
from torch import Tensor

from lcoms.core.config import from_dict, to_dict
from lcoms.core.errors import ConfigError
from lcoms.models.composition import batch_element_fractions, element_fractions
from lcoms.models.fast import FastCDVAE
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_loss import STRAIN_SEEN, energy_losses, noisy_positions
from lcoms.models.schedule import NoiseSchedule, random_strains
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def batch_of(crystals: list[Crystal]) -> CrystalBatch:
    return CrystalBatch.from_crystals(crystals)


def mirrored(crystals: list[Crystal]) -> list[Crystal]:
    return [Crystal(c.lattice, -c.frac_coords, c.atomic_numbers) for c in crystals]


def turned(crystals: list[Crystal]) -> list[Crystal]:
    rotation = random_rotation().numpy()
    return [Crystal(c.lattice @ rotation, c.frac_coords + 0.21, c.atomic_numbers) for c in crystals]


def features_of(model: FastCDVAE, crystals: list[Crystal]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mu, logvar and the energy predicted from mu and the composition (independent of the cell)."""
    mu, logvar = model.encode(batch_of(crystals))
    energies = model.energy_model()(mu, element_fractions([c.composition for c in crystals]))
    return mu, logvar, energies


@pytest.mark.parametrize("other", [turned, mirrored, other_cell, supercell, lambda c: shuffled(c)[0]])
def test_latents_and_energies_do_not_depend_on_how_the_crystal_is_told(other) -> None:
    model, crystals = tiny_cdvae(), [*some_crystals(), wurtzite(), perovskite()]
    told, told_otherwise = features_of(model, crystals), features_of(model, other(crystals))
    for one, two in zip(told, told_otherwise, strict=True):
        torch.testing.assert_close(two, one, **CLOSE)
    assert torch.pdist(told[0]).min() > 0.05
    assert told[2].std() > 0.05


def denoise_inputs(n: int = 5, size: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "z": torch.randn(n, TINY.latent_dim, generator=generator),
        "frac_coords": torch.rand(n, size, 3, generator=generator),
        "lattice": 4 * torch.eye(3) + 0.4 * torch.randn(n, 3, 3, generator=generator),
        "numbers": torch.randint(1, 90, (n, size), generator=generator),
        "sigma": torch.tensor([0.05, 0.2, 0.5, 1.0, 4.0])[:n],
    }


def test_displacements_turn_with_the_crystal() -> None:
    model, inputs, rotation = tiny_cdvae(), denoise_inputs(), random_rotation().float()
    moves, strain = model.denoise(**inputs)

    def check(expected_moves: Tensor, expected_strain: Tensor, **changed: Tensor) -> None:
        found = model.denoise(**{**inputs, **changed})
        torch.testing.assert_close(found, (expected_moves, expected_strain), **CLOSE)

    check(moves @ rotation, rotation.T @ strain @ rotation, lattice=inputs["lattice"] @ rotation)
    check(moves, strain, frac_coords=inputs["frac_coords"] + 0.37)
    check(-moves, strain, frac_coords=-inputs["frac_coords"])
    order = torch.tensor([3, 1, 0, 2])
    check(moves[:, order], strain, frac_coords=inputs["frac_coords"][:, order], numbers=inputs["numbers"][:, order])
    torch.testing.assert_close(strain, strain.transpose(1, 2))
    assert strain.abs().amax((1, 2)).min() > 1e-3
    relative = moves.abs().amax((1, 2)) / TINY.noise.scale(inputs["sigma"])
    assert relative.min() > 1e-2
    assert (moves - moves @ rotation).abs().max() > 0.05


def test_displacements_have_no_common_translation_and_depend_on_every_input() -> None:
    model, inputs = tiny_cdvae(), denoise_inputs()
    moves, strain = model.denoise(**inputs)
    torch.testing.assert_close(moves.mean(1), torch.zeros(5, 3), atol=1e-6, rtol=0)
    changed = {
        "z": inputs["z"] + 1,
        "lattice": inputs["lattice"] * 1.1,
        "numbers": inputs["numbers"].flip(1),
        "sigma": inputs["sigma"].flip(0),
    }
    for name, value in changed.items():
        other_moves, other_strain = model.denoise(**{**inputs, name: value})
        assert (other_moves - moves).abs().max() > 1e-3, name
        assert (other_strain - strain).abs().max() > 1e-4, name


def test_displacements_are_the_readout_in_units_of_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = tiny_cdvae(), denoise_inputs()
    fixed = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8))
    monkeypatch.setattr(model.readout, "forward", lambda *_: fixed)
    expected = (fixed - fixed.mean(1, keepdim=True)) * TINY.noise.scale(inputs["sigma"])[:, None, None]
    torch.testing.assert_close(model.denoise(**inputs)[0], expected)


def test_groups_of_different_sizes_do_not_influence_each_other() -> None:
    model = tiny_cdvae()
    crystals = some_crystals() + list(prototypes().values())
    mu, logvar = model.encode(batch_of(crystals))
    for row, crystal in enumerate(crystals):
        alone = model.encode(batch_of([crystal]))
        torch.testing.assert_close(alone[0][0], mu[row], **CLOSE)
        torch.testing.assert_close(alone[1][0], logvar[row], **CLOSE)


def test_losses_of_a_mixed_batch_are_the_weighted_mean_of_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the parts without noise are compared; one-atom cells have no coordinates to learn."""
    monkeypatch.setattr("lcoms.models.fast.sample_latent", lambda mu, *_: mu)
    model, crystals = tiny_cdvae(), some_crystals()
    energies = torch.linspace(-2, 1, len(crystals))
    whole = model.losses(batch_of(crystals).replace(formation_energy=energies), torch.Generator().manual_seed(0))
    parts = [
        model.losses(batch_of([c]).replace(formation_energy=energies[i : i + 1]), torch.Generator().manual_seed(0))
        for i, c in enumerate(crystals)
    ]
    for name in ("lattice", "kl", "energy"):
        torch.testing.assert_close(whole[name], sum(part[name] for part in parts) / len(parts), **CLOSE)
    assert parts[1]["coord"] == 0
    assert crystals[1].n_atoms == 1
    c = model.config
    total = (
        whole["coord"] + c.strain_weight * whole["strain"] + c.lattice_weight * whole["lattice"]
        + c.kl_weight * whole["kl"] + c.energy_weight * whole["energy"] + c.difference_weight * whole["difference"]
    )  # fmt: skip
    torch.testing.assert_close(whole["loss"], total)
    assert all(value.shape == () and value.isfinite() for value in whole.values())


def test_losses_repeat_with_the_seed_and_only_with_it() -> None:
    model, batch = tiny_cdvae(), batch_of(some_crystals())
    first, again, other = (model.losses(batch, torch.Generator().manual_seed(s))["coord"] for s in (4, 4, 5))
    assert first == again
    assert first != other


def test_the_encoder_sees_crystals_with_noise_up_to_the_given_one_in_training() -> None:
    batch, generator = batch_of([wurtzite()]), torch.Generator().manual_seed(0)
    frac_coords, lattice = batch.frac_coords[None].repeat(2000, 1, 1), batch.lattice.repeat(2000, 1, 1)
    moves = (noisy_positions(frac_coords, lattice, 0.05, generator) - frac_coords) @ lattice
    sizes = moves.square().mean((1, 2)).sqrt()
    assert float(sizes.mean()) == pytest.approx(0.025, rel=0.1)
    assert float(moves.square().mean().sqrt()) == pytest.approx(0.05 / 3**0.5, rel=0.05)
    assert 0.2 < float((sizes > 0.025).float().mean()) < 0.6
    model = tiny_cdvae()
    noisy = FastCDVAE(replace(model.config, encoder_noise=0.3))
    noisy.load_state_dict(model.state_dict())
    crystals = batch_of([wurtzite(), rock_salt()])
    one, other = (m.losses(crystals, torch.Generator().manual_seed(0)) for m in (model, noisy))
    assert not torch.equal(one["kl"], other["kl"])
    assert torch.equal(model.encode(crystals)[0], noisy.encode(crystals)[0])


def test_unknown_energies_are_left_out() -> None:
    model, batch = tiny_cdvae(), batch_of(list(prototypes().values())[:3])

    def loss(*energies: float) -> Tensor:
        values = torch.tensor(energies)
        return model.losses(batch.replace(formation_energy=values), torch.Generator().manual_seed(0))["energy"]

    assert "energy" not in model.losses(batch, torch.Generator().manual_seed(0))
    nan = float("nan")
    singles = [loss(-1.0, nan, nan), loss(nan, -2.0, nan), loss(nan, nan, -3.0)]
    torch.testing.assert_close(loss(-1.0, -2.0, -3.0), sum(singles))
    assert loss(nan, nan, nan) == 0


def test_the_energy_head_can_be_used_without_the_autoencoder() -> None:
    model, crystals = tiny_cdvae(), [wurtzite(), rock_salt()]
    model.energy_mean.fill_(-1.5)
    model.energy_std.fill_(0.7)
    batch = batch_of(crystals)
    mu = model.encode(batch)[0]
    fractions = batch_element_fractions(batch.atomic_numbers, batch.crystal_idx, batch.n_crystals)
    energies = model.energy_model()(mu, fractions)
    assert (energies[0] - energies[1]).abs() > 1e-3
    truth = torch.tensor([-1.0, -2.0])
    losses = model.losses(batch.replace(formation_energy=truth), torch.Generator().manual_seed(0))
    errors = (energies - truth).abs() / 0.7
    torch.testing.assert_close(losses["energy"], (errors - 0.01).mean(), **CLOSE)


def test_energies_of_a_composition_are_also_compared_with_each_other() -> None:
    labels = torch.tensor([3, 3, 3, 0])
    energies, differences = energy_losses(torch.tensor([0.5, 0.8, 0.8, 0.9]), labels)
    torch.testing.assert_close(energies, torch.tensor(0.5 + 0.8 + 0.8 + 0.9 - 4 * 0.01))
    torch.testing.assert_close(differences, torch.tensor(0.2 + 0.1 + 0.1 - 3 * 0.0025))
    shifted, same = energy_losses(torch.tensor([1.5, 1.8, 1.8, 1.9]), labels)
    torch.testing.assert_close(shifted, energies + 4)
    torch.testing.assert_close(same, differences)
    assert energy_losses(torch.zeros(0), labels[:0]) == (0, 0)


def test_the_energy_head_learns_from_the_mean_latent_of_the_undisplaced_crystal() -> None:
    """Neither the noise on the atoms nor the sampled latent changes the loss of the energies."""
    model = tiny_cdvae()
    noisy = FastCDVAE(replace(model.config, encoder_noise=0.3))
    noisy.load_state_dict(model.state_dict())
    batch = batch_of([wurtzite(), rock_salt()]).replace(formation_energy=torch.tensor([-1.0, -2.0]))
    losses = [m.losses(batch, torch.Generator().manual_seed(s))["energy"] for m in (model, noisy) for s in (0, 1)]
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], **CLOSE)


def test_losses_of_energies_compare_crystals_of_different_sizes() -> None:
    """They equal those of the training on crystals of one size, and treat a supercell as the same composition."""
    model = tiny_cdvae()
    some = batch_of([wurtzite(), rock_salt()]).replace(formation_energy=torch.tensor([-1.0, -2.0]))
    alone, whole = model.losses_of_energies(some), model.losses(some, torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone["energy"], whole["energy"], **CLOSE)
    assert alone["difference"] == whole["difference"] == 0
    crystals = [rock_salt(5.2), *supercell([rock_salt(5.9)]), wurtzite(), zinc_blende()]
    assert crystals[1].n_atoms > crystals[0].n_atoms
    truth = torch.tensor([-1.0, -2.0, -1.5, float("nan")])
    losses = model.losses_of_energies(batch_of(crystals).replace(formation_energy=truth))
    mu = model.encode(batch_of(crystals))[0]
    told = model.energy_model()(mu, element_fractions([c.composition for c in crystals]))
    errors = (told - truth)[:3] / model.energy_std
    torch.testing.assert_close(losses["energy"], (errors.abs() - 0.01).sum() / 4, **CLOSE)
    apart = (errors[0] - errors[1]).abs() / 2
    torch.testing.assert_close(losses["difference"], 2 * (apart - 0.0025) / 4, **CLOSE)
    c = model.config
    expected = c.energy_weight * losses["energy"] + c.difference_weight * losses["difference"]
    torch.testing.assert_close(losses["loss"], expected)


def test_losses_of_energies_train_the_encoder_but_not_the_denoiser() -> None:
    model = tiny_cdvae()
    batch = batch_of(list(prototypes().values())).replace(formation_energy=torch.linspace(-2, 0, 5))
    model.losses_of_energies(batch)["loss"].backward()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"embed", "embed_composition", "encoder", "encoder_norm", "to_latent", "energy_head"}


def test_every_parameter_gets_a_finite_gradient() -> None:
    model = tiny_cdvae()
    batch = batch_of(list(prototypes().values())).replace(formation_energy=torch.linspace(-2, 0, 5))
    model.losses(batch, torch.Generator().manual_seed(0))["loss"].backward()
    without = set()
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not parameter.grad.any():
            without.add(name)
        else:
            assert parameter.grad.isfinite().all(), name
    # The first layers have no vectors yet to pass on, and the encoder drops the vectors of its last layer.
    first = {f"{part}.layers.0.{name}.weight" for part in ("encoder", "decoder") for name in ("pass_in", "pass_out")}
    last = {f"encoder.layers.1.{name}" for name in ("turn_in.weight", "turn_out.weight", "mix.weight", "gate.weight")}
    assert without == first | last | {"encoder.layers.1.gate.bias"}


def test_perfect_denoiser_has_no_coordinate_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """For noise far below half a bond, the target is the displacement back to the clean sites, divided by the scale."""
    model = tiny_cdvae(replace(TINY, noise=NoiseSchedule(0.05, 0.06, 0.5, 0.07), strain=(1e-7, 1e-7)))
    crystal = wurtzite()
    clean = torch.tensor(crystal.frac_coords).float()
    seen = []

    def perfect(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        _, frac_coords, lattice, _, sigma = inputs
        difference = clean - frac_coords
        moves = (difference - difference.round()) @ lattice
        seen.append(moves.std() / sigma.mean())
        return moves - moves.mean(1, keepdim=True), torch.zeros_like(lattice)

    monkeypatch.setattr(model, "denoise", perfect)
    losses = model.losses(batch_of([crystal] * 30), torch.Generator().manual_seed(0))
    assert losses["coord"] < 1e-8
    assert seen[0].item() == pytest.approx(0.87, abs=0.1)  # sqrt(3/4): the mean of four atoms is taken off
    monkeypatch.setattr(model, "denoise", lambda *inputs: (torch.zeros_like(inputs[1]), torch.zeros_like(inputs[2])))
    blind = model.losses(batch_of([crystal] * 300), torch.Generator().manual_seed(0))["coord"].item()
    assert blind == pytest.approx(3 * 0.75, rel=0.1)  # three axes, unit variance


def test_the_strain_that_undoes_the_noise_on_the_cell_has_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cdvae(replace(TINY, strain=(0.02, 0.05)))
    crystal = wurtzite()
    clean = torch.tensor(crystal.lattice).float()
    asked: list[Tensor] = []

    def perfect(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        lattice = inputs[2]
        asked.append(torch.linalg.inv(lattice) @ clean - torch.eye(3))
        return torch.zeros_like(inputs[1]), asked[-1]

    monkeypatch.setattr(model, "denoise", perfect)
    assert model.losses(batch_of([crystal] * 50), torch.Generator().manual_seed(0))["strain"] < 1e-4
    assert 0.01 < asked[0].std() < 0.06
    monkeypatch.setattr(model, "denoise", lambda *inputs: (perfect(*inputs)[0], -perfect(*inputs)[1]))
    assert model.losses(batch_of([crystal] * 50), torch.Generator().manual_seed(0))["strain"] > 0.3


def test_strain_counts_half_at_the_noise_that_hides_it_and_falls_with_its_fourth_power(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loss(sigma: float) -> float:
        model = tiny_cdvae(replace(TINY, strain=(0.1, 0.1), noise=NoiseSchedule(sigma, sigma, 0.5, sigma)))
        monkeypatch.setattr(model, "denoise", lambda *inputs: (inputs[1], torch.ones(len(inputs[1]), 3, 3)))
        return float(model.losses(batch_of([rock_salt()] * 8), torch.Generator().manual_seed(0))["strain"])

    whole = loss(1e-3)
    assert loss(STRAIN_SEEN) == pytest.approx(whole / 2, rel=1e-3)
    assert loss(2 * STRAIN_SEEN) == pytest.approx(whole / 17, rel=1e-3)


def test_random_strains_are_symmetric_and_of_the_sizes_asked_for() -> None:
    strains = random_strains(4000, (0.01, 0.04), torch.Generator().manual_seed(0))
    torch.testing.assert_close(strains, strains.transpose(1, 2))
    diagonal = strains.diagonal(dim1=1, dim2=2)
    rms = (torch.linspace(0, 1, 1001) * 2 * np.log(4)).exp().mean().sqrt() * 0.01  # sizes uniform in the logarithm
    assert diagonal.std().item() == pytest.approx(rms.item(), rel=0.05)


def test_decoding_keeps_order_composition_and_seed() -> None:
    model = tiny_cdvae()
    contents = [Composition.from_formula(f) for f in ("Na4Cl4", "Cu", "NaCl", "SrTiO3", "KBr")]
    z = torch.randn(5, TINY.latent_dim, generator=torch.Generator().manual_seed(0))
    first, again, other = (model.decode(z, contents, torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    for a, b, c, content in zip(first, again, other, contents, strict=True):
        assert a is not None
        assert b is not None
        assert c is not None
        np.testing.assert_array_equal(a.atomic_numbers, content.expand())
        np.testing.assert_array_equal(a.frac_coords, b.frac_coords)
        np.testing.assert_array_equal(a.lattice, b.lattice)
        assert (a.frac_coords != c.frac_coords).any()


def test_of_several_samples_the_one_that_encodes_nearest_is_kept() -> None:
    model = tiny_cdvae(replace(TINY, samples=5))
    contents = [Composition.from_formula("SrTiO3")] * 6
    z = torch.randn(6, TINY.latent_dim, generator=torch.Generator().manual_seed(0))
    kept = model.decode(z, contents, torch.Generator().manual_seed(1))
    model.config = replace(TINY, samples=1)
    every = model.decode(z.repeat_interleave(5, 0), contents * 5, torch.Generator().manual_seed(1))
    mu, _ = model.encode(batch_of([c for c in every if c is not None]))
    best = (mu.view(6, 5, -1) - z[:, None]).norm(dim=-1).argmin(1)
    assert len(set(best.tolist())) > 1
    for row, crystal in enumerate(kept):
        expected = every[5 * row + int(best[row])]
        assert crystal is not None
        assert expected is not None
        np.testing.assert_allclose(crystal.frac_coords, expected.frac_coords, atol=1e-4)


def test_latents_that_are_not_finite_give_none_and_spare_the_others() -> None:
    model = tiny_cdvae()
    z = torch.zeros(3, TINY.latent_dim)
    z[1] = torch.nan
    contents = [Composition.from_formula(f) for f in ("NaCl", "KCl", "CsCl")]
    decoded = model.decode(z, contents, torch.Generator().manual_seed(0))
    assert [crystal is None for crystal in decoded] == [False, True, False]
    with pytest.raises(ConfigError, match="one composition per latent"):
        model.decode(z, contents[:2], torch.Generator())
    assert model.decode(torch.zeros(0, TINY.latent_dim), [], torch.Generator()) == []


def test_mixed_precision_stays_close() -> None:
    model, batch = tiny_cdvae(), batch_of(list(prototypes().values()))
    exact = model.losses(batch, torch.Generator().manual_seed(0))
    latents = model.encode(batch)[0]
    model.mixed = True
    mixed = model.losses(batch, torch.Generator().manual_seed(0))
    assert mixed["loss"].item() == pytest.approx(exact["loss"].item(), rel=0.05)
    assert (model.encode(batch)[0] - latents).abs().max() < 0.05 * latents.abs().max()


def test_statistics_without_energies_keep_the_scale() -> None:
    model, batch = FastCDVAE(TINY), batch_of(list(prototypes().values()))
    model.fit_statistics(batch)
    model.fit_statistics(batch.replace(formation_energy=torch.full((5,), torch.nan)))
    assert (model.energy_mean, model.energy_std) == (0, 1)
    model.fit_statistics(batch.replace(formation_energy=torch.tensor([1.0, 3.0, torch.nan, torch.nan, torch.nan])))
    assert model.energy_mean == 2
    assert model.energy_std.item() == pytest.approx(2**0.5)
    vectors = torch.stack([model.lattice_transform(c.lattice, model._cell_volume(c.atomic_numbers[None]))[0]
                           for c in (batch_of([p]) for p in prototypes().values())])  # fmt: skip
    torch.testing.assert_close(vectors.mean(0), torch.zeros(6), atol=1e-3, rtol=0)


def test_a_perfect_network_would_decode_the_true_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, crystal = tiny_cdvae(replace(TINY, strain_below=0.0)), wurtzite()
    numbers = torch.tensor(crystal.atomic_numbers)[None]
    lattice = torch.tensor(crystal.lattice).float()[None]
    six = model.lattice_transform(lattice, model._cell_volume(numbers))
    monkeypatch.setattr(model, "_lattice_vector", lambda z, _: six.expand(len(z), 6))
    (decoded,) = model.decode(torch.zeros(1, TINY.latent_dim), [crystal.composition], torch.Generator().manual_seed(0))
    assert decoded is not None
    np.testing.assert_allclose(decoded.lattice @ decoded.lattice.T, crystal.lattice @ crystal.lattice.T, atol=1e-3)


def train(model: FastCDVAE, crystals: list[Crystal], steps: int, rate: float = 3e-3) -> list[float]:
    batch = batch_of(crystals)
    model.fit_statistics(batch)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    history = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, 3 * (1 - step / steps))
        losses = model.losses(batch, generator)
        optimiser.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        history.append(losses["loss"].item())
    return history


def test_overfit_lowers_the_loss() -> None:
    torch.manual_seed(0)
    history = train(FastCDVAE(TINY), [rock_salt(), zinc_blende(), perovskite()] * 4, 60)
    assert np.mean(history[-10:]) < 0.35 * np.mean(history[:3])


def test_config_goes_through_plain_dicts() -> None:
    config = FastConfig(latent_dim=5, noise=NoiseSchedule(sigma_max=3.0))
    assert from_dict(FastConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("options", "told"),
    [({"encoder_noise": -0.1}, "encoder_noise"), ({"consistency_weight": 0.1}, "no effect without encoder_noise")],
)
def test_noise_and_consistency_that_make_no_sense_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(FastConfig(), **options)
