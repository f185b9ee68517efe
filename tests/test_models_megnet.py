"""MEGNet: its symmetries, its size, and invalid energies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tiny import caesium_chloride, made_crystals, perovskite, rock_salt, shaken, tiny_cdvae, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.megnet import MEGNET_FILE, Megnet, MegnetConfig, formation_energies, load_megnet, save_megnet
from lcoms.models.weights import save_cdvae
from lcoms.nn.distance_graph import distance_graph, merged
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal

SMALL = MegnetConfig(n_gaussians=20, embedding=8, n_blocks=2, hidden=16, width=8, units=4)


def new_model(config: MegnetConfig = SMALL, seed: int = 0) -> Megnet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Megnet(config)
    model.fit_scale(np.array([-3.0, 1.0]))
    return model


def test_the_original_has_its_known_size() -> None:
    """It has about 0.17 million weights in the configuration of GN-OA."""
    assert sum(p.numel() for p in Megnet().parameters()) == pytest.approx(0.17e6, rel=0.02)


@pytest.mark.parametrize("smooth", [False, True])
def test_energy_of_an_atom_does_not_change_with_the_description(smooth: bool) -> None:
    model = new_model(MegnetConfig(**{**vars(SMALL), "smooth": smooth})).double()
    crystal = shaken(perovskite(), 0.1)
    turn = Rotation.from_rotvec([0.3, -0.8, 1.1]).as_matrix()
    order = np.array([3, 0, 4, 1, 2])
    shift = np.array([[0, 0, 0], [1, 0, 0]])
    other_axes = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    same = [
        crystal,
        Crystal(crystal.lattice @ turn, crystal.frac_coords, crystal.atomic_numbers),
        Crystal(crystal.lattice, crystal.frac_coords + np.array([0.2, 0.7, -0.4]), crystal.atomic_numbers),
        Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order]),
        Crystal(other_axes @ crystal.lattice, crystal.frac_coords @ np.linalg.inv(other_axes), crystal.atomic_numbers),
        Crystal(
            np.diag([2, 1, 1]) @ crystal.lattice,
            np.concatenate([(crystal.frac_coords + s) / [2, 1, 1] for s in shift]),
            np.tile(crystal.atomic_numbers, 2),
        ),
    ]
    for crystals in (same, [wurtzite(), *same]):  # whatever else is in the batch
        batch = CrystalBatch.from_crystals(crystals, torch.float64)
        energies = model(distance_graph(batch, 5.0))[-len(same) :]
        torch.testing.assert_close(energies, energies[:1].expand(len(same)), rtol=0, atol=1e-9)
    expanded = Crystal(1.02 * crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    other = model(distance_graph(CrystalBatch.from_crystals([expanded], torch.float64), 5.0))
    assert float((other - energies[0]).abs().detach()) > 1e-5


@pytest.mark.parametrize("smooth", [False, True])
def test_merged_graphs_give_the_energies_of_whole_ones(smooth: bool) -> None:
    model = new_model(MegnetConfig(**{**vars(SMALL), "smooth": smooth})).double()
    crystals = [*made_crystals()[::4], shaken(perovskite(), 0.2)]
    graph = distance_graph(CrystalBatch.from_crystals(crystals, torch.float64), 5.0)
    small = merged(graph, tolerance=1e-5)
    assert len(small.distance) < len(graph.distance) / 3
    torch.testing.assert_close(model(small), model(graph), rtol=0, atol=1e-6)


def test_polymorphs_and_elements_differ() -> None:
    energies = formation_energies(
        new_model(), [rock_salt(), rock_salt(5.2), rock_salt(numbers=(17, 11)), rock_salt(numbers=(19, 17)),
                      zinc_blende(numbers=(11, 17)), caesium_chloride(numbers=(11, 17))],
    )  # fmt: skip
    assert energies[0] == pytest.approx(energies[2], abs=1e-5)  # both places of rock salt are alike
    assert len(np.unique(energies.round(5))) == 5


def test_smooth_energies_have_no_step_where_a_shell_comes_into_reach() -> None:
    sizes = np.array([4.999999, 5.000001]) * 2**0.5  # the second shell of rock salt at the cutoff

    def step(smooth: bool) -> float:
        model = new_model(MegnetConfig(**{**vars(SMALL), "smooth": smooth})).double()
        batch = CrystalBatch.from_crystals([rock_salt(a) for a in sizes], torch.float64)
        return float(model(distance_graph(batch, 5.0)).detach().diff().abs())

    assert step(False) > 1e-3
    assert step(True) < 1e-5


def test_what_has_no_energy_is_nan_and_does_not_disturb_the_rest() -> None:
    lonely = Crystal(9.0 * np.eye(3), np.zeros((1, 3)), np.array([2]))
    apart = Crystal(np.diag([4.0, 4.0, 30.0]), np.array([[0, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.0]]), np.array([2, 2, 2]))
    alone = Crystal(np.diag([20.0, 20, 20]), np.array([[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]]), np.array([6, 8, 2]))
    dense = Crystal(0.5 * np.eye(3), np.zeros((1, 3)), np.array([6]))
    flat = Crystal(np.diag([0.002, 200.0, 200.0]), np.zeros((1, 3)), np.array([6]))
    model = new_model()
    energies = formation_energies(model, [lonely, rock_salt(), alone, dense, flat, apart], batch_size=2)
    assert np.isnan(energies).tolist() == [True, False, True, True, True, False]
    assert energies[1] == pytest.approx(formation_energies(model, [rock_salt()])[0], abs=1e-5)
    assert formation_energies(model, []).shape == (0,)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    model, path = new_model(), tmp_path / MEGNET_FILE
    save_megnet(model, path, metadata={"val_mae": 0.05})
    loaded, metadata = load_megnet(path)
    assert metadata == {"val_mae": 0.05}
    assert loaded.config == SMALL
    assert not any(p.requires_grad for p in loaded.parameters())
    crystals = [rock_salt(), perovskite()]
    np.testing.assert_array_equal(formation_energies(loaded, crystals), formation_energies(model, crystals))


def test_files_that_are_no_megnet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        load_megnet(tmp_path / "none.safetensors")
    save_cdvae(tiny_cdvae(), tmp_path / "cdvae.safetensors", metadata={})
    with pytest.raises(WeightsError, match="is not a lcoms-megnet file"):
        load_megnet(tmp_path / "cdvae.safetensors")
    model = new_model()
    model.config = MegnetConfig(**{**vars(SMALL), "hidden": 17})
    save_megnet(model, tmp_path / "wrong.safetensors", metadata={})
    with pytest.raises(WeightsError, match="does not fit"):
        load_megnet(tmp_path / "wrong.safetensors")


@pytest.mark.parametrize("option", ["n_gaussians", "n_blocks"])
def test_sizes_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"MEGNet option {option} must"):
        MegnetConfig(**{option: -1})
