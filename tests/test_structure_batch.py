"""A batch contains the crystals of its list, and inconsistent arrays are rejected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcoms.core.errors import CrystalError
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal


def crystals_of_sizes(sizes: list[int], seed: int = 0) -> list[Crystal]:
    generator = np.random.default_rng(seed)
    return [
        Crystal(
            np.diag([3.0, 4.0, 5.0]) + 0.3 * generator.normal(size=(3, 3)),
            generator.random((size, 3)),
            generator.integers(1, 90, size),
        )
        for size in sizes
    ]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_crystals_come_back_unchanged(sizes: list[int]) -> None:
    crystals = crystals_of_sizes(sizes)
    batch = CrystalBatch.from_crystals(crystals, dtype=torch.float64)
    assert batch.n_crystals == len(sizes)
    assert batch.n_atoms.tolist() == sizes
    assert batch.compositions() == [crystal.composition for crystal in crystals]
    np.testing.assert_allclose(
        batch.cart_coords().numpy(), np.concatenate([c.cart_coords for c in crystals]), atol=1e-12
    )
    for before, after in zip(crystals, batch.to_crystals(), strict=True):
        np.testing.assert_array_equal(after.lattice, before.lattice)
        np.testing.assert_array_equal(after.frac_coords, before.frac_coords)
        np.testing.assert_array_equal(after.atomic_numbers, before.atomic_numbers)


def test_single_precision_by_default_and_gradients_reach_the_coordinates() -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes([2, 3]))
    assert batch.lattice.dtype == batch.frac_coords.dtype == torch.float32
    frac_coords = batch.frac_coords.clone().requires_grad_()
    batch.replace(frac_coords=frac_coords).cart_coords().sum().backward()
    assert frac_coords.grad is not None
    torch.testing.assert_close(frac_coords.grad, batch.lattice.sum(-1)[batch.crystal_idx])


@settings(max_examples=25)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_groups_by_size_cover_every_atom_once(sizes: list[int]) -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes(sizes))
    groups = list(batch.by_size())
    assert [size for size, _, _ in groups] == sorted(set(sizes))
    assert sorted(torch.cat([crystals for _, crystals, _ in groups]).tolist()) == list(range(len(sizes)))
    assert sorted(torch.cat([atoms for _, _, atoms in groups]).tolist()) == list(range(sum(sizes)))
    for size, crystals, atoms in groups:
        owners = batch.crystal_idx[atoms].reshape(-1, size)
        assert (owners == crystals[:, None]).all()
        assert (torch.diff(atoms.reshape(-1, size), dim=1) == 1).all()


def test_replace_makes_a_new_batch() -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes([2]))
    other = batch.replace(lattice=2 * batch.lattice)
    torch.testing.assert_close(other.lattice, 2 * batch.lattice)
    assert other.frac_coords is batch.frac_coords
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.lattice = other.lattice  # type: ignore[misc]


def test_to_a_device_keeps_everything() -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes([2, 1]))
    moved = batch.to("cpu")
    for field in dataclasses.fields(batch):
        torch.testing.assert_close(getattr(moved, field.name), getattr(batch, field.name))


@pytest.mark.parametrize(
    "crystal_idx",
    [[0, 0, 0], [0, 1, 0], [0, 2, 2], [1, 1, 1], [-1, 0, 1], [0, 1, 2], [1, 0, 1]],
    ids=str,
)
def test_an_index_that_does_not_count_the_crystals_is_refused(crystal_idx: list[int]) -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes([2, 1]))
    with pytest.raises(CrystalError, match="crystal_idx must count"):
        batch.replace(crystal_idx=torch.tensor(crystal_idx))


def test_a_crystal_without_atoms_is_refused() -> None:
    with pytest.raises(CrystalError, match="crystal_idx must count"):
        CrystalBatch(torch.eye(3)[None], torch.zeros(0, 3), torch.zeros(0, dtype=int), torch.zeros(0, dtype=int))


def test_no_crystals_at_all_are_refused() -> None:
    with pytest.raises(CrystalError, match="at least one crystal"):
        CrystalBatch.from_crystals([])


def test_a_broken_decoding_is_refused_on_the_way_out() -> None:
    batch = CrystalBatch.from_crystals(crystals_of_sizes([2]))
    with pytest.raises(CrystalError, match="span a volume"):
        batch.replace(lattice=torch.zeros(1, 3, 3)).to_crystals()
    with pytest.raises(CrystalError, match="finite"):
        batch.replace(frac_coords=torch.full((2, 3), torch.nan)).to_crystals()


def test_energies_move_with_the_batch() -> None:
    batch = CrystalBatch.from_crystals([Crystal(np.eye(3) * 4, np.zeros((1, 3)), np.array([29]))] * 2)
    energies = torch.tensor([-1.0, float("nan")])
    moved = batch.replace(formation_energy=energies).to("cpu")
    assert moved.formation_energy is not None
    torch.testing.assert_close(moved.formation_energy, energies, equal_nan=True)
    assert batch.to("cpu").formation_energy is None
