"""Exact cases of the assignment: equivalents cost nothing, species stay separate, no path exceeds the direct one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import perovskite, wurtzite
from torch import Tensor

from lcoms.models.assignment import assigned_displacements
from lcoms.nn.geometry import nearest_displacements
from lcoms.structure.crystal import Crystal


def repeated(crystal: Crystal, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return fractional coordinates, lattice and species, repeated n times."""
    return tuple(
        torch.tensor(a).to(dtype).expand(n, *a.shape).contiguous()
        for a, dtype in (
            (crystal.frac_coords, torch.float32),
            (crystal.lattice, torch.float32),
            (crystal.atomic_numbers, torch.long),
        )
    )  # type: ignore[return-value]


def low_symmetry(n: int = 7, seed: int = 0) -> Crystal:
    """Return a crystal of three species without symmetry, which differs from its mirror image."""
    rng = np.random.default_rng(seed)
    return Crystal(
        np.eye(3) * 5 + rng.normal(size=(3, 3)) * 0.3, rng.random((n, 3)), np.sort(rng.integers(0, 3, n)) + 6
    )


def assign(noisy: Tensor, clean: Tensor, lattice: Tensor, numbers: Tensor, candidates: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return assigned_displacements(noisy, clean, lattice, numbers, generator, candidates=candidates)


def test_permuted_atoms_of_a_species_need_no_move() -> None:
    clean, lattice, numbers = repeated(perovskite(), 6)
    orders = [[0, 1, *order] for order in ([2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2])]
    noisy = torch.stack([clean[0, order] for order in orders])
    moves = assign(noisy, clean, lattice, numbers, candidates=0)
    assert moves.abs().max() < 1e-5


def test_a_translated_crystal_needs_no_move() -> None:
    clean, lattice, numbers = repeated(low_symmetry(), 20)
    shift = torch.rand(20, 1, 3, generator=torch.Generator().manual_seed(1)) * 4 - 2
    moves = assign((clean + shift) % 1.0, clean, lattice, numbers, candidates=24)
    assert moves.abs().max() < 1e-4
    # Without candidates only the crystal where it is can be the target.
    assert assign((clean + shift) % 1.0, clean, lattice, numbers, candidates=0).abs().max() > 0.5


def test_a_mirror_image_elsewhere_needs_no_move() -> None:
    clean, lattice, numbers = repeated(low_symmetry(), 20)
    shift = torch.rand(20, 1, 3, generator=torch.Generator().manual_seed(2))
    order = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    same = torch.nonzero(numbers[0] == numbers[0, -1]).squeeze(1)
    order[same] = same.flip(0)
    moves = assign((shift - clean)[:, order], clean, lattice, numbers, candidates=48)
    assert moves.abs().max() < 1e-4


def test_small_noise_is_undone_exactly() -> None:
    clean, lattice, numbers = repeated(wurtzite(), 30)
    noise = torch.randn(30, 4, 3, generator=torch.Generator().manual_seed(3)) * 0.05
    moves = assign(clean + noise @ torch.linalg.inv(lattice), clean, lattice, numbers, candidates=0)
    torch.testing.assert_close(moves, noise.mean(1, keepdim=True) - noise, atol=1e-4, rtol=0)


@pytest.mark.parametrize("candidates", [0, 6])
def test_never_worse_than_atom_to_atom(candidates: int) -> None:
    clean, lattice, numbers = repeated(low_symmetry(), 50)
    noisy = torch.rand(clean.shape, generator=torch.Generator().manual_seed(4))
    moves = assign(noisy, clean, lattice, numbers, candidates)
    direct = torch.diagonal(nearest_displacements(noisy, clean, lattice), dim1=1, dim2=2).transpose(1, 2)
    ours, theirs = moves.square().sum((1, 2)), direct.square().sum((1, 2))
    assert (ours <= theirs + 1e-4).all()
    centred = (direct - direct.mean(1, keepdim=True)).square().sum((1, 2))
    assert ours.mean() < 0.8 * centred.mean()


def test_more_candidates_help() -> None:
    clean, lattice, numbers = repeated(low_symmetry(), 50)
    noisy = torch.rand(clean.shape, generator=torch.Generator().manual_seed(5))
    few, many = (assign(noisy, clean, lattice, numbers, k).square().sum((1, 2)).mean() for k in (0, 16))
    assert many < 0.8 * few


@pytest.mark.parametrize("candidates", [0, 8])
def test_species_are_never_mixed_and_nothing_moves_in_common(candidates: int) -> None:
    """Each atom moves to a site of its species, so that the distances equal those of the crystal."""
    crystal = low_symmetry()
    clean, lattice, numbers = repeated(crystal, 40)
    noisy = torch.rand(clean.shape, generator=torch.Generator().manual_seed(6))
    moves = assign(noisy, clean, lattice, numbers, candidates)
    torch.testing.assert_close(moves.mean(1), torch.zeros(40, 3), atol=1e-5, rtol=0)
    ended = noisy + moves @ torch.linalg.inv(lattice)

    def pair_distances(frac: Tensor) -> Tensor:
        """Return the sorted distances between and within species."""
        distance = torch.linalg.norm(nearest_displacements(frac, frac, lattice), dim=-1)
        kinds = []
        for a in (6, 7, 8):
            for b in (6, 7, 8):
                rows, columns = numbers[0] == a, numbers[0] == b
                kinds.append(distance[:, rows][:, :, columns].flatten(1).sort(1).values)
        return torch.cat(kinds, 1)

    torch.testing.assert_close(pair_distances(ended), pair_distances(clean), atol=2e-3, rtol=0)


def test_positions_that_are_not_finite_give_moves_that_are_not() -> None:
    clean, lattice, numbers = repeated(perovskite(), 2)
    noisy = clean.clone()
    noisy[1, 2] = torch.nan
    moves = assign(noisy, clean, lattice, numbers, candidates=2)
    assert moves[0].abs().max() < 1e-5
    assert moves[1].isnan().any()
