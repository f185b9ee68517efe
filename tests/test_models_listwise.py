"""The listwise loss depends only on the order within compositions."""

import pytest
import torch

from lcoms.models.listwise import listwise_loss

TARGETS = torch.tensor([0.0, 0.1, 0.3, -1.0, -0.9, 2.0])
GROUPS = torch.tensor([7, 7, 7, 2, 2, 9])


def test_a_constant_added_to_a_composition_costs_nothing() -> None:
    shifted = TARGETS + torch.tensor([5.0, 5.0, 5.0, -3.0, -3.0, 1.0])
    assert listwise_loss(shifted, TARGETS, GROUPS, width=0.05).item() == pytest.approx(0.0, abs=1e-6)


def test_two_crystals_cost_the_divergence_of_their_weights() -> None:
    energies = torch.tensor([0.0, 0.0])
    targets, groups = torch.tensor([0.0, 0.1 * torch.log(torch.tensor(3.0)).item()]), torch.tensor([0, 0])
    wanted = 0.75 * torch.log(torch.tensor(1.5)) + 0.25 * torch.log(torch.tensor(0.5))
    assert listwise_loss(energies, targets, groups, width=0.1).item() == pytest.approx(wanted.item() / 2, rel=1e-5)


def test_single_crystals_have_no_gradient_and_wrong_orders_do() -> None:
    energies = torch.tensor([0.3, 0.1, 0.0, -1.0, -0.9, 50.0], requires_grad=True)
    listwise_loss(energies, TARGETS, GROUPS, width=0.1).backward()
    assert energies.grad is not None
    assert energies.grad[5] == 0
    assert energies.grad[0] > 0 > energies.grad[2]
    assert energies.grad[3:5].abs().max() < 1e-6
