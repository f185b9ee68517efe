"""Noise levels, their samples, and annealing with a denoiser that knows the solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import perovskite
from torch import Tensor

from lcoms.models.assignment import assigned_displacements
from lcoms.models.schedule import CHURN_END, MAX_STRAIN, MAX_TOTAL_STRAIN, NoiseSchedule, anneal

SCHEDULE = NoiseSchedule(sigma_min=0.05, sigma_mid=0.5, share_below=0.25, sigma_max=4.0, cap=0.8)


def test_levels_fall_geometrically_between_their_ends() -> None:
    levels = SCHEDULE.levels(9)
    assert levels[0].item() == pytest.approx(4.0)
    assert levels[-1].item() == pytest.approx(0.05)
    torch.testing.assert_close(levels[1:] / levels[:-1], torch.full((8,), (0.05 / 4.0) ** (1 / 8)))
    assert SCHEDULE.levels(1).tolist() == pytest.approx([4.0])


def test_samples_keep_to_their_range_and_shares() -> None:
    sigma = SCHEDULE.sample(40_000, torch.Generator().manual_seed(0))
    assert sigma.min() >= 0.05 * 0.999
    assert sigma.max() <= 4.0 * 1.001
    assert (sigma < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.01)
    for low, high in ((0.05, 0.5), (0.5, 4.0)):  # uniform in the logarithm on each side
        inside = sigma[(sigma > low) & (sigma < high)].log()
        middle = (np.log(low) + np.log(high)) / 2
        assert (inside < middle).float().mean().item() == pytest.approx(0.5, abs=0.02)
    again = SCHEDULE.sample(40_000, torch.Generator().manual_seed(0))
    assert torch.equal(sigma, again)


def test_scale_is_the_noise_when_small_and_the_cap_when_large() -> None:
    scale = SCHEDULE.scale(torch.tensor([1e-3, 0.8, 1e3]))
    assert scale.tolist() == pytest.approx([1e-3, 0.8 / 2**0.5, 0.8], rel=1e-4)
    assert (SCHEDULE.scale(SCHEDULE.levels(20)).diff() < 0).all()


def start(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    crystal = perovskite()
    clean = torch.tensor(crystal.frac_coords).float().expand(n, 5, 3)
    lattice = torch.tensor(crystal.lattice).float().expand(n, 3, 3).contiguous()
    numbers = torch.tensor(crystal.atomic_numbers).expand(n, 5)
    return clean, lattice, numbers, torch.rand(n, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("steps", "churn"), [(1, 0.0), (5, 0.0), (24, 0.0), (1, 0.5), (10, 0.4)])
def test_the_perfect_denoiser_recovers_the_crystal(steps: int, churn: float) -> None:
    """It returns the displacement to the nearest equivalent; the crystal may be translated, but must be recovered."""
    clean, lattice, numbers, frac = start(8)
    generator = torch.Generator().manual_seed(1)
    seen = []

    def perfect(x: Tensor, cell: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        assert cell is lattice
        seen.append(sigma[0].item())
        return assigned_displacements(x, clean, lattice, numbers, generator, candidates=8), torch.ones(8, 3, 3)

    noise = torch.Generator().manual_seed(3)
    found, same = anneal(perfect, frac, lattice, SCHEDULE, steps=steps, generator=noise, churn=churn)
    assert same is lattice
    levels = SCHEDULE.levels(steps)
    raised = levels * torch.where(levels > CHURN_END, 1 + churn**2, 1.0).sqrt()
    raised[0] = levels[0]
    assert seen == pytest.approx(raised.tolist())
    assert found.min() >= 0
    assert found.max() < 1
    moves = assigned_displacements(found, clean, lattice, numbers, generator, candidates=40)
    assert moves.abs().max() < 1e-3


def test_each_step_goes_the_share_of_the_way_that_the_scale_loses() -> None:
    lattice = 10 * torch.eye(3)[None]
    goal = torch.full((1, 1, 3), 0.5)
    positions = []

    def towards_goal(x: Tensor, _: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        positions.append(x[0, 0, 0].item())
        return (goal - x) * 10 * torch.ones_like(sigma)[:, None, None], torch.zeros(1, 3, 3)

    end, _ = anneal(towards_goal, torch.full((1, 1, 3), 0.1), lattice, SCHEDULE, steps=4)
    scales = SCHEDULE.scale(SCHEDULE.levels(4))
    assert positions == pytest.approx((0.5 - 0.4 * scales / scales[0]).tolist(), abs=1e-5)
    torch.testing.assert_close(end, goal)


def test_added_noise_has_the_size_of_its_level_and_follows_from_the_generator() -> None:
    """With a denoiser that moves nothing, only the noise of the levels above the end of churn remains."""
    lattice = 1000 * torch.eye(3).expand(400, 3, 3)
    frac = torch.full((400, 5, 3), 0.5)

    def still(x: Tensor, cell: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), torch.zeros_like(cell)

    def moved(churn: float, seed: int = 0) -> Tensor:
        noise = torch.Generator().manual_seed(seed)
        end, _ = anneal(still, frac, lattice, SCHEDULE, steps=8, generator=noise, churn=churn)
        return (end - frac) * 1000

    assert moved(0.0).abs().max() == 0
    levels = SCHEDULE.levels(8)[1:]
    expected = 0.4 * levels[levels > CHURN_END].square().sum().sqrt()
    assert moved(0.4).std().item() == pytest.approx(expected.item(), rel=0.03)
    assert torch.equal(moved(0.4), moved(0.4))
    assert not torch.equal(moved(0.4), moved(0.4, seed=1))


def test_the_cell_is_strained_at_low_noise_only_and_atoms_keep_to_their_places_in_it() -> None:
    crystal = perovskite()
    clean = torch.tensor(crystal.lattice).float()[None]
    bent = clean @ (torch.eye(3) + torch.tensor([[0.02, 0.01, 0.0], [0.01, -0.03, 0.0], [0.0, 0.0, 0.05]]))
    frac = torch.tensor(crystal.frac_coords).float()[None]
    seen = []

    def halfway(x: Tensor, cell: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((sigma.item(), (cell - clean).abs().max().item()))
        return torch.zeros_like(x), 0.5 * (torch.linalg.inv(cell) @ clean - torch.eye(3))

    end, lattice = anneal(halfway, frac, bent, SCHEDULE, steps=8, strain_below=0.5)
    torch.testing.assert_close(end, frac)
    before = [off for sigma, off in seen if sigma > 0.5]
    after = [off for sigma, off in seen if sigma <= 0.5]
    assert len(before) > 2
    assert before + after[:1] == [seen[0][1]] * (len(before) + 1)
    expected = [seen[0][1] * 0.5**k for k in range(len(after))]
    assert after == pytest.approx(expected, rel=0.05)
    assert (lattice - clean).abs().max() < 0.6 * after[-1]


def test_a_level_equal_to_the_limit_of_straining_strains() -> None:
    limit = SCHEDULE.levels(3)[1].item()

    def stretch(x: Tensor, cell: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), 0.1 * torch.eye(3).expand_as(cell)

    _, lattice = anneal(stretch, torch.zeros(1, 1, 3), torch.eye(3)[None], SCHEDULE, steps=3, strain_below=limit)
    torch.testing.assert_close(lattice, 1.1**2 * torch.eye(3)[None])


def test_no_cell_is_strained_out_of_all_proportion() -> None:
    def towards(sign: float) -> Tensor:
        def wild(x: Tensor, cell: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros_like(x), 100 * sign * torch.eye(3).expand_as(cell)

        _, lattice = anneal(wild, torch.zeros(1, 1, 3), torch.eye(3)[None], SCHEDULE, steps=steps, strain_below=9.0)
        return lattice[0]

    steps = 1
    torch.testing.assert_close(towards(1.0), torch.eye(3) * (1 + MAX_STRAIN))
    steps = 20
    for sign in (1.0, -1.0):
        off = torch.linalg.matrix_norm(towards(sign) - torch.eye(3))
        assert MAX_STRAIN < off < MAX_TOTAL_STRAIN
