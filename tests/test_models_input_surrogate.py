"""The conservative model on crystals: correct gradients, steps that keep symmetry, and losses with the correct sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from test_models_megnet import SMALL, new_model
from tiny import perovskite, rock_salt, shaken, wurtzite

from lcoms.core.errors import ConfigError
from lcoms.models.input_surrogate import (
    InputConservatism,
    adversarial_crystals,
    deformed,
    descent_step,
    energy_slopes,
    input_losses,
)
from lcoms.models.megnet import Megnet
from lcoms.nn.distance_graph import distance_graph, merged
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal

ON = InputConservatism(mode="on", inner_steps=2, step_size=0.1)


def smooth_model(dtype: torch.dtype = torch.float64) -> Megnet:
    return new_model(replace(SMALL, smooth=True)).to(dtype)


def batch_of(*crystals: Crystal, dtype: torch.dtype = torch.float64) -> CrystalBatch:
    return CrystalBatch.from_crystals(list(crystals), dtype)


def energies(model: Megnet, batch: CrystalBatch) -> torch.Tensor:
    with torch.no_grad():
        return model.normalised(distance_graph(batch, 5.0))


def test_slopes_agree_with_finite_differences() -> None:
    model, batch = smooth_model(), batch_of(shaken(wurtzite(), 0.1), shaken(perovskite(), 0.1))
    energy, by_moves, by_strain = energy_slopes(model, batch)
    torch.testing.assert_close(energy, energies(model, batch))
    generator, h = torch.Generator().manual_seed(0), 1e-4
    for which in ("moves", "strain"):
        moves, strain = torch.zeros_like(batch.frac_coords), torch.zeros_like(batch.lattice)
        direction = moves if which == "moves" else strain
        direction.copy_(torch.randn(direction.shape, generator=generator, dtype=torch.float64))
        strain = (strain + strain.transpose(1, 2)) / 2
        high, low = (energies(model, deformed(batch, s * moves, s * strain)) * batch.n_atoms for s in (h, -h))
        by_atom = (by_moves * moves).sum(dim=1)
        expected = torch.zeros(2, dtype=torch.float64).index_add(0, batch.crystal_idx, by_atom)
        expected += (by_strain * strain).sum(dim=(1, 2))
        assert expected.abs().min() > 1e-4
        torch.testing.assert_close((high - low) / (2 * h), expected, rtol=1e-4, atol=1e-8)


def test_deforming_moves_atoms_and_strains_cells() -> None:
    batch = batch_of(rock_salt(), shaken(wurtzite(), 0.1))
    moves = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        deformed(batch, moves, torch.zeros_like(batch.lattice)).cart_coords(), batch.cart_coords() + moves
    )
    strain = 0.1 * torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    torch.testing.assert_close(deformed(batch, 0 * moves, strain).cart_coords(), 1.1 * batch.cart_coords())


def test_steps_lower_the_energy_and_do_not_depend_on_the_description() -> None:
    model, crystal = smooth_model(), shaken(perovskite(), 0.15)
    turn = Rotation.from_rotvec([0.3, -0.8, 1.1]).as_matrix()
    shift = np.array([[0, 0, 0], [1, 0, 0]])
    turned = Crystal(crystal.lattice @ turn, crystal.frac_coords, crystal.atomic_numbers)
    double = Crystal(
        np.diag([2, 1, 1]) @ crystal.lattice,
        np.concatenate([(crystal.frac_coords + s) / [2, 1, 1] for s in shift]),
        np.tile(crystal.atomic_numbers, 2),
    )
    start = at = batch_of(crystal, turned, double, rock_salt())
    path = []
    for _ in range(5):
        at, energy = descent_step(model, at, step_size=0.3, max_move=0.1)
        path.append(energy)
    path.append(energies(model, at))
    fallen = torch.stack(path)[:, :3]
    assert (fallen.diff(dim=0) < 0).all()
    torch.testing.assert_close(fallen, fallen[:, :1].expand(-1, 3), rtol=0, atol=1e-8)
    assert (at.lattice[3] @ at.lattice[3].T).unique().numel() <= 9
    torch.testing.assert_close(at.frac_coords[-2:], start.frac_coords[-2:])  # rock salt stays rock salt
    assert not torch.allclose(at.lattice[3], start.lattice[3])


def test_no_atom_moves_further_than_allowed_and_broken_crystals_stay() -> None:
    model = smooth_model()
    batch = batch_of(shaken(perovskite(), 0.1), shaken(wurtzite(), 0.1))
    moved, _ = descent_step(model, batch, step_size=1e6, max_move=0.1)
    strain = torch.linalg.solve(batch.lattice, moved.lattice) - torch.eye(3, dtype=torch.float64)
    still = deformed(batch, torch.zeros_like(batch.frac_coords), strain)
    unstrained = torch.linalg.solve(torch.eye(3, dtype=torch.float64) + strain, moved.lattice, left=False)
    torch.testing.assert_close(unstrained, batch.lattice)
    cart = ((moved.frac_coords - still.frac_coords)[:, None] @ batch.lattice[batch.crystal_idx]).squeeze(1)
    torch.testing.assert_close(cart.norm(dim=1).amax(), torch.tensor(0.1, dtype=torch.float64))
    model.embed.weight.data[38] = torch.nan
    moved, _ = descent_step(model, batch, step_size=0.1, max_move=0.1)
    assert torch.equal(moved.frac_coords[:5], batch.frac_coords[:5])
    assert torch.equal(moved.lattice[0], batch.lattice[0])
    assert not torch.equal(moved.frac_coords[5:], batch.frac_coords[5:])


def test_cells_strain_like_lengths_by_the_gradient_per_atom_and_no_further_than_an_atom_moves() -> None:
    """With lengths in units of that of the volume per atom, the step in the cell is the step of the atoms."""
    model, batch = smooth_model(), batch_of(shaken(perovskite(), 0.1), shaken(wurtzite(), 0.1))
    _, _, by_strain = energy_slopes(model, batch)
    length = (torch.linalg.det(batch.lattice).abs() / batch.n_atoms) ** (1 / 3)
    none = torch.eye(3, dtype=torch.float64)

    def strains(step_size: float) -> torch.Tensor:
        moved, _ = descent_step(model, batch, step_size=step_size, max_move=0.1)
        return torch.linalg.solve(batch.lattice, moved.lattice) - none

    expected = -1e-3 * by_strain / (batch.n_atoms * length**2)[:, None, None]
    torch.testing.assert_close(strains(1e-3), expected, atol=1e-12, rtol=1e-6)
    torch.testing.assert_close(strains(1e6).flatten(1).norm(dim=1), 0.1 / length)


def test_adversaries_are_lower_than_the_data_and_repeat_with_the_seed() -> None:
    model, batch = smooth_model(), batch_of(shaken(perovskite(), 0.1), shaken(wurtzite(), 0.1))

    def adversary(seed: int, **changes: float) -> CrystalBatch:
        return adversarial_crystals(model, batch, replace(ON, **changes), torch.Generator().manual_seed(seed))

    assert (energies(model, adversary(0, noise=0.0)) < energies(model, batch)).all()
    assert torch.equal(adversary(1).frac_coords, adversary(1).frac_coords)
    assert not torch.equal(adversary(1).frac_coords, adversary(2).frac_coords)


def test_the_loss_raises_energies_where_descent_leads() -> None:
    model = smooth_model(torch.float32)
    batch = batch_of(shaken(perovskite(), 0.1), shaken(wurtzite(), 0.1), dtype=torch.float32)
    graph, config = merged(distance_graph(batch, 5.0), tolerance=1e-3), replace(ON, noise=0.0)
    log_alpha = torch.tensor(3.0, requires_grad=True)
    targets = energies(model, batch)

    def losses():  # type: ignore[no-untyped-def]
        return input_losses(model, graph, batch, targets, log_alpha, config, torch.Generator().manual_seed(0))

    first = losses()
    adversary = adversarial_crystals(model, batch, config, torch.Generator().manual_seed(0))
    over = energies(model, batch) - energies(model, adversary)
    torch.testing.assert_close(first.overestimation, over.mean(), rtol=1e-3, atol=1e-6)
    assert float(over.mean()) > 0
    first.alpha.backward()
    assert log_alpha.grad is not None
    assert float(log_alpha.grad) == pytest.approx(
        float(log_alpha.detach().exp()) * (config.tau - float(over.mean())), rel=1e-3
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        optimiser.zero_grad()
        losses().model.backward()
        optimiser.step()
    raised = energies(model, adversary) - energies(model, batch)
    assert float(raised.mean()) > -0.8 * float(over.mean())


@pytest.mark.parametrize(("option", "value"), [("inner_steps", 0), ("step_size", 0.0), ("noise", -0.1)])
def test_options_that_make_no_sense_are_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match="conservatism option"):
        InputConservatism(**{option: value})  # type: ignore[arg-type]
