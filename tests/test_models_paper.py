"""The paper preset: losses decrease for a few crystals, latents are invariant, decoding obeys seed and composition."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from symmetry_cases import as_batch, other_cell, random_rotation, shuffled, some_crystals, supercell

from lcoms.core.config import from_dict, to_dict
from lcoms.core.errors import ConfigError
from lcoms.models.langevin import LangevinConfig
from lcoms.models.paper import PaperCDVAE, PaperConfig
from lcoms.models.surrogate_file import read_tensors, write_tensors
from lcoms.models.weights import KIND, VERSION, load_cdvae, save_cdvae
from lcoms.nn.dimenet import DimeNetConfig
from lcoms.nn.gemnet import GemNetConfig
from lcoms.nn.gemnet_quadruplets import QuadrupletConfig
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition

SMALL = PaperConfig(
    latent_dim=8,
    condition=8,
    head=32,
    encoder=DimeNetConfig(hidden=16, n_blocks=1, triplet=8, basis=4, output=16, n_spherical=3, n_radial=3),
    decoder=GemNetConfig(
        atom=16, edge=24, n_blocks=1, triplet=8, bilinear=8, basis=8, n_radial=24, n_spherical=4, n_neighbors=12
    ),
    langevin=LangevinConfig(n_levels=12, steps_per_level=1),
)
QUADRUPLETS = dataclasses.replace(
    SMALL,
    decoder=dataclasses.replace(
        SMALL.decoder,
        quadruplets=True,
        quadruplet_sizes=QuadrupletConfig(channels=8, bilinear=8, circular_basis=4, spherical_basis=8, n_neighbors=4),
    ),
)


def new_model(seed: int = 0, config: PaperConfig = SMALL) -> PaperCDVAE:
    torch.manual_seed(seed)
    model = PaperCDVAE(config)
    model.fit_statistics(CrystalBatch.from_crystals(some_crystals()))
    return model


@pytest.fixture(scope="module")
def trained() -> tuple[PaperCDVAE, list[dict[str, float]]]:
    model, generator = new_model(), torch.Generator().manual_seed(0)
    batch = CrystalBatch.from_crystals(some_crystals() * 2)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(80):
        losses = model.losses(batch, generator)
        optimiser.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        history.append({name: value.item() for name, value in losses.items()})
    return model, history


def test_total_is_the_weighted_sum_of_finite_scalars() -> None:
    losses = new_model().losses(CrystalBatch.from_crystals(some_crystals()), torch.Generator().manual_seed(0))
    assert set(losses) == {"loss", "coord", "lattice", "kl"}
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    total = 10 * losses["coord"] + 10 * losses["lattice"] + 0.01 * losses["kl"]
    assert torch.allclose(losses["loss"], total)


def test_the_paper_preset_has_no_energy_head() -> None:
    with pytest.raises(ConfigError, match="has no energy head; omit from_head"):
        new_model().energy_model()


def test_losses_repeat_with_the_seed_and_only_with_it() -> None:
    model, batch = new_model(), CrystalBatch.from_crystals(some_crystals())
    first, again, other = (model.losses(batch, torch.Generator().manual_seed(s))["coord"] for s in (4, 4, 5))
    assert first == again
    assert first != other


@pytest.mark.parametrize("teacher_forcing", [True, False])
def test_every_parameter_gets_a_finite_gradient(
    trained: tuple[PaperCDVAE, list[dict[str, float]]], teacher_forcing: bool
) -> None:
    model = new_model()
    model.load_state_dict(trained[0].state_dict())
    model.teacher_forcing = teacher_forcing
    model.losses(CrystalBatch.from_crystals(some_crystals()), torch.Generator().manual_seed(0))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("config", [SMALL, QUADRUPLETS])
def test_mixed_precision_stays_close(config: PaperConfig) -> None:
    model, batch = new_model(config=config), CrystalBatch.from_crystals(some_crystals())
    exact = model.losses(batch, torch.Generator().manual_seed(0))
    model.mixed = True
    mixed = model.losses(batch, torch.Generator().manual_seed(0))
    assert mixed["coord"].item() != exact["coord"].item()
    for name, value in exact.items():
        assert mixed[name].item() == pytest.approx(value.item(), rel=0.03), name


def test_perfect_denoiser_has_no_coordinate_loss() -> None:
    """The target is (clean - noisy) / sigma; a denoiser that returns it at one tiny level must have no loss."""
    model = new_model()
    batch = CrystalBatch.from_crystals(some_crystals())
    sigma = 0.05
    model.config = dataclasses.replace(
        SMALL, langevin=LangevinConfig(sigma_max=sigma * (1 + 1e-6), sigma_min=sigma, n_levels=2)
    )

    class Perfect(torch.nn.Module):
        def forward(self, noisy: CrystalBatch, condition: torch.Tensor) -> torch.Tensor:
            assert condition.shape == (batch.n_crystals, 16)
            shift = batch.frac_coords - noisy.frac_coords
            shift = shift - shift.round()  # sigma is far below half a cell
            return torch.einsum("ni,nij->nj", shift, batch.lattice[batch.crystal_idx]) / sigma

    model.denoiser = Perfect()
    assert model.losses(batch, torch.Generator().manual_seed(0))["coord"] < 1e-6


def test_noise_is_added_in_the_predicted_lattice_and_scored_in_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without teacher forcing; a denoiser that returns nothing then has half the mean square of the noise as loss."""
    model, sigma = new_model(), 0.02
    langevin = LangevinConfig(sigma_max=sigma * (1 + 1e-6), sigma_min=sigma, n_levels=2)
    model.config, model.teacher_forcing = dataclasses.replace(SMALL, langevin=langevin), False
    batch = CrystalBatch.from_crystals(some_crystals() * 40)
    monkeypatch.setattr(model.lattice_transform, "to_lattice", lambda *_: (2 * batch.lattice, None))
    seen = []

    class Still(torch.nn.Module):
        def forward(self, noisy: CrystalBatch, _: torch.Tensor) -> torch.Tensor:
            shift = noisy.frac_coords - batch.frac_coords
            seen.append(
                (noisy.lattice, torch.einsum("ni,nij->nj", shift - shift.round(), noisy.lattice[batch.crystal_idx]))
            )
            return torch.zeros_like(noisy.frac_coords)

    model.denoiser = Still()
    coord = model.losses(batch, torch.Generator().manual_seed(0))["coord"].item()
    [(lattice, added)] = seen
    assert torch.equal(lattice, 2 * batch.lattice)
    assert added.std().item() == pytest.approx(sigma, rel=0.05)
    assert coord == pytest.approx(0.5 * 3 / 2**2, rel=0.1)


def test_overfit_lowers_the_losses(trained: tuple[PaperCDVAE, list[dict[str, float]]]) -> None:
    history = trained[1]
    first, last = history[0], {k: sum(h[k] for h in history[-20:]) / 20 for k in history[0]}
    assert last["lattice"] < 0.2 * first["lattice"]
    assert last["coord"] < 0.8 * first["coord"]


def test_latents_do_not_depend_on_how_the_crystal_is_told(trained: tuple[PaperCDVAE, list[dict[str, float]]]) -> None:
    model = new_model().double()
    model.load_state_dict(trained[0].state_dict())
    crystals = some_crystals()
    batch = as_batch(crystals)
    mu, _ = model.encode(batch)
    assert torch.pdist(mu).min() > 1e-2
    rotated = batch.replace(lattice=batch.lattice @ random_rotation(), frac_coords=batch.frac_coords + 0.21)
    others = [rotated, *(as_batch(c) for c in (shuffled(crystals)[0], other_cell(crystals), supercell(crystals)))]
    for other in others:
        assert torch.allclose(model.encode(other)[0], mu, atol=1e-8)


def test_decoding_keeps_composition_and_seed(trained: tuple[PaperCDVAE, list[dict[str, float]]]) -> None:
    model = trained[0]
    crystals = some_crystals()
    batch = CrystalBatch.from_crystals(crystals)
    mu = model.encode(batch)[0].detach()
    contents = batch.compositions()
    first, again, other = (model.decode(mu, contents, torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    for a, b, c, true in zip(first, again, other, crystals, strict=True):
        assert a is not None
        assert b is not None
        assert c is not None
        assert a.composition == true.composition
        assert (a.frac_coords == b.frac_coords).all()
        assert (a.frac_coords != c.frac_coords).any()
        assert a.volume == pytest.approx(true.volume, rel=0.35)


def test_latents_that_are_not_finite_give_none_and_spare_the_others(
    trained: tuple[PaperCDVAE, list[dict[str, float]]],
) -> None:
    model = trained[0]
    batch = CrystalBatch.from_crystals(some_crystals())
    z = model.encode(batch)[0].detach()
    z[1] = torch.nan
    decoded = model.decode(z, batch.compositions(), torch.Generator().manual_seed(0))
    assert [crystal is None for crystal in decoded] == [False, True, False, False, False]


def test_decode_wants_one_composition_per_latent() -> None:
    with pytest.raises(ConfigError, match="one composition per latent"):
        new_model().decode(torch.zeros(2, 8), [Composition.from_formula("NaCl")], torch.Generator())
    assert new_model().decode(torch.zeros(0, 8), [], torch.Generator()) == []


def test_many_atoms_are_decoded_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.models.paper.MAX_ATOMS", 5)
    contents = [Composition.from_formula(f) for f in ("Na4Cl4", "Cu", "NaCl", "Si2", "K3")]
    decoded = new_model().decode(torch.zeros(5, 8), contents, torch.Generator().manual_seed(0))
    assert [c.composition for c in decoded if c is not None] == contents


@pytest.mark.parametrize("config", [SMALL, QUADRUPLETS])
def test_config_goes_through_plain_dicts(config: PaperConfig) -> None:
    assert from_dict(PaperConfig, to_dict(config)) == config


def test_quadruplets_learn_and_decode() -> None:
    model, batch = new_model(config=QUADRUPLETS), CrystalBatch.from_crystals(some_crystals())
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    coord = []
    for _ in range(40):
        losses = model.losses(batch, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        coord.append(losses["coord"].item())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert coord[-1] < 0.5 * coord[0]
    decoded = model.decode(model.encode(batch)[0].detach(), batch.compositions(), torch.Generator().manual_seed(0))
    assert [c and c.composition for c in decoded] == batch.compositions()


def test_files_written_before_quadruplets_existed_load(tmp_path: Path) -> None:
    """Their configuration lacks the options, and their tensors are those of the triplet form."""
    model, path = new_model(), tmp_path / "old.safetensors"
    save_cdvae(model, path, metadata={})
    state, header = read_tensors(path, KIND, VERSION)
    assert not any("quadruplet" in name for name in state)
    for option in ("quadruplets", "quadruplet_sizes"):
        del header["config"]["decoder"][option]
    write_tensors(path, state, header)
    loaded, _ = load_cdvae(path)
    assert loaded.config == SMALL
    noisy, condition = CrystalBatch.from_crystals(some_crystals()), torch.zeros(5, 16)
    assert torch.equal(loaded.denoiser(noisy, condition), model.denoiser(noisy, condition))


def test_quadruplets_come_back_from_a_file(tmp_path: Path) -> None:
    model, path = new_model(config=QUADRUPLETS), tmp_path / "new.safetensors"
    save_cdvae(model, path, metadata={})
    loaded, _ = load_cdvae(path)
    assert loaded.config == QUADRUPLETS
    noisy, condition = CrystalBatch.from_crystals(some_crystals()), torch.zeros(5, 16)
    vectors = loaded.denoiser(noisy, condition)
    assert torch.equal(vectors, model.denoiser(noisy, condition))
    assert (vectors - new_model().denoiser(noisy, condition)).abs().max() > 1e-3
