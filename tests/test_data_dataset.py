"""Every crystal once per epoch, in batches of equal size, determined by the seed and the step number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import perovskite, prototypes, rock_salt, to_arrays

from lcoms.core.errors import DataError
from lcoms.data.dataset import TrainingSteps, plausible_volume, to_batch
from lcoms.data.store import CrystalArrays
from lcoms.structure.crystal import Crystal


def arrays(sizes: list[int]) -> CrystalArrays:
    """Return crystals whose formation energy is their index."""
    n_atoms = sum(sizes)
    rng = np.random.default_rng(0)
    return CrystalArrays(
        np.concatenate([[0], np.cumsum(sizes)]),
        rng.integers(1, 90, n_atoms).astype(np.uint8),
        rng.random((n_atoms, 3)).astype(np.float32),
        np.eye(3) * 5 + rng.normal(size=(len(sizes), 3, 3)) * 0.1,
        np.arange(len(sizes), dtype=float),
    )


def plan(steps: TrainingSteps, numbers: range) -> list[list[list[int]]]:
    """Return the crystals in each batch of each step."""
    return [[batch.formation_energy.int().tolist() for batch in steps[number]] for number in numbers]


SIZES = [2] * 30 + [5] * 17 + [1] * 3 + [12] * 9


def test_every_crystal_is_seen_once_an_epoch() -> None:
    steps = TrainingSteps(arrays(SIZES), n_steps=99, seed=0, atoms_per_batch=20, batches_per_step=1)
    for epoch in range(3):
        n = steps.steps_per_epoch
        seen = [i for step in plan(steps, range(epoch * n, epoch * n + n)) for batch in step for i in batch]
        assert sorted(seen) == list(range(len(SIZES)))


def test_an_incomplete_last_step_is_left_out() -> None:
    crystals = arrays(SIZES)
    whole = TrainingSteps(crystals, n_steps=9, seed=0, atoms_per_batch=20, batches_per_step=1)
    steps = TrainingSteps(crystals, n_steps=9, seed=0, atoms_per_batch=20, batches_per_step=4)
    assert whole.steps_per_epoch % 4 != 0
    assert steps.steps_per_epoch == whole.steps_per_epoch // 4
    assert len(steps) == 9
    epoch = plan(steps, range(steps.steps_per_epoch))
    assert all(len(step) == 4 for step in epoch)
    seen = [i for step in epoch for batch in step for i in batch]
    assert len(seen) == len(set(seen))
    assert len(seen) >= len(SIZES) - 3 * 10


def test_batches_hold_one_size_and_keep_to_their_limits() -> None:
    steps = TrainingSteps(arrays(SIZES), n_steps=9, seed=0, atoms_per_batch=20, max_crystals=6, batches_per_step=2)
    largest = {}
    for number in range(steps.steps_per_epoch):
        for batch in steps[number]:
            (size,) = set(batch.n_atoms.tolist())
            assert batch.n_crystals <= min(6, max(1, 20 // size))
            largest[size] = max(largest.get(size, 0), batch.n_crystals)
    assert largest == {1: 3, 2: 6, 5: 4, 12: 1}


def test_crystals_with_the_same_atoms_follow_each_other() -> None:
    kinds = [rock_salt(5.0 + 0.1 * i, elements) for elements in ((11, 17), (17, 11), (12, 8)) for i in range(4)]
    crystals = to_arrays([kinds[i] for i in np.random.default_rng(0).permutation(len(kinds))])
    steps = TrainingSteps(crystals, n_steps=99, seed=0, atoms_per_batch=16, batches_per_step=1)
    orders = set()
    for epoch in range(4):
        first = epoch * steps.steps_per_epoch
        batches = [batch for step in range(first, first + steps.steps_per_epoch) for batch in steps[step]]
        held = [{tuple(sorted(row)) for row in b.atomic_numbers.view(-1, 2).tolist()} for b in batches]
        assert sorted(len(one) for one in held) in ([1, 1], [1, 2])  # sodium chloride fills one batch of eight
        orders.add(tuple(batches[0].lattice[:, 0, 1].tolist()))
    assert len(orders) == 4


def test_steps_follow_from_the_seed_and_their_number_alone() -> None:
    def make(seed: int) -> TrainingSteps:
        return TrainingSteps(arrays(SIZES), n_steps=99, seed=seed, atoms_per_batch=20)

    first, n = make(3), make(3).steps_per_epoch
    expected = plan(first, range(3 * n))
    late = make(3)
    assert plan(late, range(2 * n, 3 * n)) == expected[2 * n :]
    assert plan(late, range(n)) == expected[:n]
    assert expected[:n] != expected[n : 2 * n]
    assert plan(make(4), range(n)) != expected[:n]
    both = [torch.cat([batch.frac_coords for batch in steps[5]]) for steps in (first, make(3))]
    assert torch.equal(*both)


def test_a_handful_of_crystals_makes_one_step() -> None:
    steps = TrainingSteps(arrays([2, 2]), n_steps=5, seed=0, batches_per_step=4)
    assert steps.steps_per_epoch == 1
    assert [sorted(step[0]) for step in plan(steps, range(5))] == [[0, 1]] * 5
    with pytest.raises(DataError, match="no crystal to train on"):
        TrainingSteps(arrays([2]).take([]), n_steps=1, seed=0)


def test_batches_hold_what_the_arrays_hold() -> None:
    crystals = arrays([2, 5, 1])
    batch = to_batch(crystals)
    assert batch.n_atoms.tolist() == [2, 5, 1]
    assert batch.formation_energy.tolist() == [0, 1, 2]
    for ours, theirs in zip(batch.to_crystals(), (crystals[i] for i in range(3)), strict=True):
        np.testing.assert_allclose(ours.lattice, theirs.lattice, atol=1e-6)
        np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, atol=1e-6)
        np.testing.assert_array_equal(ours.atomic_numbers, theirs.atomic_numbers)


def test_cells_from_which_atoms_are_missing_are_not_plausible() -> None:
    real = list(prototypes().values())
    hollow = Crystal(3 * rock_salt().lattice, rock_salt().frac_coords, rock_salt().atomic_numbers)
    crushed = Crystal(0.6 * perovskite().lattice, perovskite().frac_coords, perovskite().atomic_numbers)
    assert plausible_volume(to_arrays([*real, hollow, crushed])).tolist() == [True] * len(real) + [False] * 2
