"""The closest pair relative to its covalent radii, found by both methods."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure import distances
from lcoms.structure.distances import FAR, closest_pair
from lcoms.structure.elements import covalent_radius


def test_rock_salt() -> None:
    lattice = 2.1 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    pair = closest_pair(lattice, np.array([[0.0] * 3, [0.5] * 3]), np.array([11, 17]))
    assert pair.distance == pytest.approx(2.1)
    assert pair.ratio == pytest.approx(2.1 / (covalent_radius(11) + covalent_radius(17)))
    assert {pair.first, pair.second} == {0, 1}


def test_copies_of_one_atom_count_and_far_ones_do_not() -> None:
    lattice, place, iron = np.diag([1.0, 9.0, 9.0]), np.zeros((1, 3)), np.array([26])
    assert closest_pair(lattice, place, iron).distance == pytest.approx(1.0)
    assert closest_pair(9 * np.eye(3), place, iron) == (FAR, float("inf"), -1, -1)


@pytest.mark.parametrize("seed", range(12))
def test_both_ways_agree(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    lattice = np.diag(random.uniform(3, 6, 3)) + random.uniform(-2, 2, (3, 3)) * (1 - np.eye(3))
    places, numbers = random.uniform(0, 1, (6, 3)), random.integers(1, 90, 6)
    direct = closest_pair(lattice, places, numbers)
    monkeypatch.setattr(distances, "MAX_DIRECT", 0)
    listed = closest_pair(lattice, places, numbers)
    assert direct.ratio == pytest.approx(listed.ratio)
    assert direct.distance == pytest.approx(listed.distance)
