"""Random crystals have the requested composition, a sensible volume and no short distances."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure.crystal import Composition
from lcoms.structure.elements import atomic_volume
from lcoms.structure.lattice import parameters_from_lattice, shortest_distance
from lcoms.structure.random_crystal import random_crystal


@pytest.mark.parametrize("formula", ["C", "Na4Cl4", "Sr2Ti2O6", "H8O4"])
def test_random_crystals_are_plausible(formula: str) -> None:
    composition = Composition.from_formula(formula)
    random = np.random.default_rng(0)
    expected = sum(atomic_volume(int(z)) for z in composition.expand())
    ratios, shortest = [], []
    for _ in range(30):
        crystal = random_crystal(composition, random)
        assert crystal.composition == composition
        np.testing.assert_array_equal(crystal.atomic_numbers, composition.expand())
        _, angles = parameters_from_lattice(crystal.lattice)
        assert angles.min() > 59.9
        assert angles.max() < 120.1
        ratios.append(np.log(crystal.volume / expected))
        shortest.append(shortest_distance(crystal.lattice, crystal.frac_coords))
    assert abs(np.mean(ratios)) < 0.15
    assert 0.1 < np.std(ratios) < 0.35
    assert min(shortest) > 0.4
    assert len(set(np.round(shortest, 6))) > 20


def test_random_crystals_follow_from_the_generator() -> None:
    composition = Composition.from_formula("Na2Cl2")
    one, two, other = (random_crystal(composition, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frac_coords, two.frac_coords)
    assert not np.array_equal(one.frac_coords, other.frac_coords)
    rigid = random_crystal(composition, np.random.default_rng(1), volume_spread=0.0)
    assert rigid.volume == pytest.approx(sum(atomic_volume(int(z)) for z in composition.expand()))
