"""Crystals without a template: the drawn symmetry, the requested volume, no short distances, selection by energy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pymatgen.core import Structure
from tiny import caesium_chloride, rock_salt

from lcoms.core.errors import ConfigError
from lcoms.prediction.random_symmetric import RandomSymmetricSpec, SymmetricDraw, best_apart, closeness, draw_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS, covalent_radius
from lcoms.structure.lattice import volume
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number, space_group_order

FREQUENCIES = np.bincount([225] * 90 + [221] * 30 + [62] * 60 + [139] * 20, minlength=231)
SALT = Composition.from_formula("NaCl")
PEROVSKITE = Composition.from_formula("SrTiO3")


def draws(
    composition: Composition = PEROVSKITE, seed: int = 0, size: float = 60.0, **options: float
) -> list[SymmetricDraw]:
    random = np.random.default_rng(seed)
    return draw_crystals([(composition, 1.0, size)], FREQUENCIES, RandomSymmetricSpec(**{"n": 12, **options}), random)


def radii(crystal: Crystal) -> np.ndarray:
    return np.array([covalent_radius(int(z)) for z in crystal.atomic_numbers])


def test_draws_have_their_contents_volume_symmetry_and_room() -> None:
    found = draws(drawn=60)
    assert len(found) == 60
    for one in found:
        assert one.crystal.composition.counts == PEROVSKITE.counts
        assert 0.6 < volume(one.crystal.lattice) / 60.0 < 1.6
        assert closeness(one.crystal) >= 0.75
        assert FREQUENCIES[one.space_group] > 0
        found_order = space_group_order(space_group_number(one.crystal))
        assert found_order >= space_group_order(one.space_group)  # coordinates may give more by chance, never less


@pytest.mark.parametrize("formula", ["SrTiO3", "MgAl2O4"])
def test_radii_belong_to_the_atoms_in_the_order_of_the_orbits(formula: str) -> None:
    composition = Composition.from_formula(formula)
    found = draws(composition, size=11.0 * composition.n_atoms, drawn=200)
    assert len(found) == 200
    assert any(one.crystal.atomic_numbers.tolist() != composition.expand().tolist() for one in found)
    assert all(_closest(one.crystal) >= 0.75 for one in found)


def _closest(crystal: Crystal) -> float:
    """Return the smallest ratio of distance to sum of radii, with pymatgen's neighbors."""
    structure = Structure(crystal.lattice, [SYMBOLS[z] for z in crystal.atomic_numbers], crystal.frac_coords)
    size = radii(crystal)
    i, j, _, distances = structure.get_neighbor_list(r=2 * size.max())
    return float((distances / (size[i] + size[j])).min(initial=np.inf))


def test_same_seed_same_draws_and_another_seed_others() -> None:
    first, again, other = draws(drawn=10), draws(drawn=10), draws(drawn=10, seed=1)
    assert all(np.array_equal(a.crystal.lattice, b.crystal.lattice) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].crystal.lattice, other[0].crystal.lattice)


def test_rock_salt_and_caesium_chloride_are_drawn_by_frequency() -> None:
    found = draws(SALT, size=44.0, drawn=200, closest=0.5)
    known = {225: rock_salt(), 221: caesium_chloride(3.5, (11, 17))}
    numbers = Counter(one.space_group for one in found)
    for number, crystal in known.items():
        assert any(matches(one.crystal, crystal, STRICT) for one in found if one.space_group == number)
    assert 1.2 < numbers[225] / numbers[221] < 2.6  # the root of three


def test_cells_share_the_draws_by_weight_and_large_ones_are_left_out() -> None:
    cells = [(SALT.scaled(n), weight, 44.0 * n) for n, weight in ((1, 3.0), (2, 1.0), (6, 5.0))]
    found = draw_crystals(cells, FREQUENCIES, RandomSymmetricSpec(n=12, drawn=80), np.random.default_rng(0))
    assert Counter(one.crystal.n_atoms for one in found) == {2: 60, 4: 20}
    assert draw_crystals(cells, FREQUENCIES, RandomSymmetricSpec(n=0), np.random.default_rng(0)) == []


def test_an_impossible_distance_ends() -> None:
    assert draws(closest=3.0, drawn=5) == []


def test_the_lowest_that_are_not_alike_are_chosen() -> None:
    found = draws(SALT, size=44.0, drawn=60, closest=0.5)
    energies = [float(at) for at in range(60)]
    energies[3] = float("nan")
    chosen = best_apart(found, energies, RandomSymmetricSpec(n=8, max_alike=1))
    kinds = [(found[at].space_group, found[at].orbits) for at in chosen]
    assert chosen == sorted(chosen)
    assert 3 not in chosen
    assert len(set(kinds)) == len(kinds)
    every = {(one.space_group, one.orbits) for at, one in enumerate(found) if at != 3}
    assert len(chosen) == min(8, len(every))
    assert len(best_apart(found, energies, RandomSymmetricSpec(n=8, max_alike=60))) == 8


def test_closeness_against_many_images() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        lattice = np.diag(random.uniform(3, 6, 3)) + random.normal(0, 0.3, (3, 3))
        crystal = Crystal(lattice, random.random((4, 3)), np.array([11, 17, 8, 22]))
        size = radii(crystal)
        wide = np.array([[i, j, k] for i in range(-3, 4) for j in range(-3, 4) for k in range(-3, 4)])
        expected = min(
            float(np.linalg.norm((crystal.frac_coords[a] - crystal.frac_coords[b] + n) @ lattice) / (size[a] + size[b]))
            for a in range(4)
            for b in range(4)
            for n in wide
            if a != b or n.any()
        )
        assert closeness(crystal) == pytest.approx(expected)


@pytest.mark.parametrize("option", [{"n": -1}, {"closest": -0.1}, {"max_alike": 0}])
def test_options_that_make_no_sense(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RandomSymmetricSpec(**option)  # type: ignore[arg-type]
