"""Batches of whole compositions: every crystal once per epoch, none too large, in an order set by the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import caesium_chloride, prototypes, rock_salt, to_arrays, wurtzite

from lcoms.core.errors import DataError
from lcoms.data.store import CrystalArrays, joined
from lcoms.structure.crystal import Crystal
from lcoms.train.energy_steps import EnergySteps

ELEMENTS = [(z, 17) for z in (3, 11, 19, 37, 55)] + [(z, 8) for z in (4, 12, 20, 30, 38)]


def many() -> CrystalArrays:
    """Return crystals of ten compositions, the first with many; their energies are their indices."""
    crystals: list[Crystal] = [rock_salt(5.0 + 0.1 * i, ELEMENTS[0]) for i in range(30)]
    for numbers in ELEMENTS[1:]:
        crystals += [rock_salt(5.6, numbers), wurtzite(numbers=numbers), caesium_chloride(3.6, numbers)]
    order = np.random.default_rng(0).permutation(len(crystals))
    return to_arrays([crystals[i] for i in order], [float(i) for i in range(len(crystals))])


def plan(steps: EnergySteps, numbers: range) -> list[list[int]]:
    return [steps[number].formation_energy.int().tolist() for number in numbers]


def test_every_crystal_is_seen_once_an_epoch_with_all_of_its_composition() -> None:
    crystals = many()
    steps = EnergySteps(crystals, atoms_per_batch=24, seed=1)
    n = steps.per_epoch
    assert n == (30 * 2 + 9 * (2 + 4 + 2)) // 24
    orders = set()
    for epoch in range(3):
        batches = plan(steps, range(epoch * n, epoch * n + n))
        assert sorted(i for batch in batches for i in batch) == list(range(len(crystals)))
        assert all(batches)
        orders.add(tuple(batches[0]))
        held: dict[str, set[int]] = {}
        for number, batch in enumerate(batches):
            assert sum(crystals[i].n_atoms for i in batch) <= 2 * 26
            for i in batch:
                held.setdefault(crystals[i].composition.reduced_formula, set()).add(number)
        assert len(held) == 10
        assert len(held.pop("LiCl")) > 1  # more than fit into a batch
        assert all(len(numbers) == 1 for numbers in held.values())
    assert len(orders) == 3


def test_batches_follow_from_the_seed_and_their_number_alone() -> None:
    crystals = many()
    first, late = (EnergySteps(crystals, atoms_per_batch=24, seed=1) for _ in range(2))
    expected = plan(first, range(12))
    assert plan(late, range(6, 12)) == expected[6:]
    assert plan(late, range(12)) == expected
    assert plan(EnergySteps(crystals, atoms_per_batch=24, seed=2), range(12)) != expected


def test_crystals_without_an_energy_are_left_out() -> None:
    crystals = to_arrays(list(prototypes().values())[:3], [float("nan"), 1.0, 2.0])
    steps = EnergySteps(crystals, atoms_per_batch=1, seed=0)
    assert sorted(i for batch in plan(steps, range(steps.per_epoch)) for i in batch) == [1, 2]
    with pytest.raises(DataError, match="no crystal has a formation energy"):
        EnergySteps(crystals.take([0]), atoms_per_batch=8, seed=0)


def test_joined_arrays_hold_the_crystals_of_all_parts() -> None:
    crystals = many()
    both = joined([crystals.take([3, 5]), crystals.take([0])])
    assert both.formation_energy.tolist() == [3, 5, 0]
    for one, number in zip(range(3), (3, 5, 0), strict=True):
        np.testing.assert_array_equal(both[one].frac_coords, crystals[number].frac_coords)
        np.testing.assert_array_equal(both[one].atomic_numbers, crystals[number].atomic_numbers)
        np.testing.assert_array_equal(both[one].lattice, crystals[number].lattice)
