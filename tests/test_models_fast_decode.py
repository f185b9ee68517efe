"""Sampling with the fast preset: crystals of all sizes are denoised and encoded at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, rock_salt, tiny_cdvae
from torch import Tensor

from lcoms.models import fast_decode
from lcoms.models.base import GroupStart
from lcoms.models.fast import FastCDVAE
from lcoms.models.fast_config import FastConfig
from lcoms.models.fast_layers import NoisyCells
from lcoms.structure.wyckoff import symmetric_cell

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
SIGMAS = torch.tensor([0.05, 0.2, 0.5, 1.0, 4.0])


def groups_of_several_sizes() -> list[NoisyCells]:
    """Return random crystals of two, four and five atoms, those of one size at several noise levels."""
    generator = torch.Generator().manual_seed(3)
    return [
        NoisyCells(
            z=torch.randn(n, TINY.latent_dim, generator=generator),
            frac_coords=torch.rand(n, size, 3, generator=generator),
            lattice=4 * torch.eye(3) + 0.4 * torch.randn(n, 3, 3, generator=generator),
            numbers=torch.randint(1, 90, (n, size), generator=generator),
            sigma=SIGMAS[:n],
        )
        for n, size in ((2, 2), (5, 4), (3, 5))
    ]


def test_the_denoiser_gives_groups_of_several_sizes_the_same_as_one_by_one() -> None:
    model, groups = tiny_cdvae(), groups_of_several_sizes()
    together = model.denoise_groups(groups)
    assert len(together) == len(groups)
    for group, (moves, strain) in zip(groups, together, strict=True):
        alone = model.denoise(*group)
        assert moves.shape == group.frac_coords.shape
        torch.testing.assert_close((moves, strain), alone, **CLOSE)
        torch.testing.assert_close(moves.mean(1), torch.zeros(len(moves), 3), atol=1e-6, rtol=0)
        assert alone[0].abs().max() > 0.01


@pytest.mark.parametrize("at_once", [1, 7, 13, 1000])
def test_pieces_cover_every_group_in_order_and_hold_no_more_atoms_than_allowed(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_decode, "AT_ONCE", at_once)
    groups, sizes = groups_of_several_sizes(), []

    def network(parts: Sequence[NoisyCells]) -> list[tuple[Tensor, Tensor]]:
        sizes.append(sum(part.numbers.numel() for part in parts))
        assert sizes[-1] <= at_once or len(parts) == len(parts[0].z) == 1
        return [(2 * part.frac_coords, 3 * part.lattice) for part in parts]

    told = fast_decode.in_pieces(network, groups)
    for group, (moves, strain) in zip(groups, told, strict=True):
        assert torch.equal(moves, 2 * group.frac_coords)
        assert torch.equal(strain, 3 * group.lattice)
    assert sum(sizes) == sum(group.numbers.numel() for group in groups)
    assert len(sizes) == 1 if at_once == 1000 else len(sizes) > 1


def test_crystals_of_several_sizes_are_sampled_as_those_of_each_size_alone() -> None:
    """The random numbers are drawn size by size, and a crystal does not depend on those sampled with it."""
    model = tiny_cdvae()
    small, large = symmetric_cell(225, (("a", 11), ("b", 17))), symmetric_cell(186, (("b", 16), ("b", 30)))
    lattices = [np.tril(4 * np.eye(3) + 0.3), np.diag([3.8, 3.8, 6.2])]
    starts = [GroupStart(large, lattices[1]), GroupStart(small, lattices[0]), GroupStart(large, 1.1 * lattices[1])]
    z = torch.randn(3, TINY.latent_dim, generator=torch.Generator().manual_seed(1))
    together, distances = model.decode_within(z, starts, torch.Generator().manual_seed(5), 0.5)
    generator = torch.Generator().manual_seed(5)
    for rows in ([1], [0, 2]):
        alone, apart = model.decode_within(z[rows], [starts[row] for row in rows], generator, 0.5)
        torch.testing.assert_close(distances[rows], apart, atol=1e-4, rtol=1e-4)
        for row, crystal in zip(rows, alone, strict=True):
            found = together[row]
            assert crystal is not None
            assert found is not None
            np.testing.assert_allclose(found.lattice, crystal.lattice, atol=1e-4)
            moved = found.frac_coords - crystal.frac_coords
            np.testing.assert_allclose(moved - np.round(moved), 0, atol=1e-4)
            assert crystal.n_atoms == starts[row].cell.atomic_numbers.size


def test_a_crystal_that_is_not_finite_is_none_and_infinitely_far(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cdvae()
    cell = symmetric_cell(225, (("a", 11), ("b", 17)))
    starts = [GroupStart(cell, np.tril(4 * np.eye(3) + 0.3))] * 2

    def broken(groups: Sequence[NoisyCells]) -> list[tuple[Tensor, Tensor]]:
        moves = [torch.zeros_like(group.frac_coords) for group in groups]
        moves[0][1] = torch.nan
        return [(move, torch.zeros_like(group.lattice)) for move, group in zip(moves, groups, strict=True)]

    monkeypatch.setattr(model, "denoise_groups", broken)
    crystals, distances = model.decode_within(torch.zeros(2, TINY.latent_dim), starts, torch.Generator(), 0.5)
    assert crystals[0] is not None
    assert crystals[1] is None
    assert distances.isfinite().tolist() == [True, False]


def test_a_decode_asks_the_denoiser_ten_times_from_the_largest_noise_down(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, steps=FastConfig().steps, samples=1)
    model = FastCDVAE(config)
    asked: list[float] = []
    denoise = model.denoise_groups

    def counted(groups: Sequence[NoisyCells]) -> list[tuple[Tensor, Tensor]]:
        asked.append(float(groups[0].sigma.max()))
        return denoise(groups)

    monkeypatch.setattr(model, "denoise_groups", counted)
    model.decode(torch.zeros(1, config.latent_dim), [rock_salt().composition], torch.Generator().manual_seed(0))
    assert len(asked) == 10
    assert asked[0] == pytest.approx(config.noise.sigma_max)
    assert asked[-1] == pytest.approx(config.noise.sigma_min)
