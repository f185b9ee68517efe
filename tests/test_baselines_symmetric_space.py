"""The symmetric space contains known structures, and its crystals have the requested symmetry."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tiny import cadmium_iodide, fluorite, nickel_arsenide, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.baselines import feasibility
from lcoms.baselines.feasibility import FeasibilityConfig, infeasibility, widest_gap
from lcoms.baselines.symmetric_space import SpaceConfig, SymmetricSpace, constrained
from lcoms.core.errors import ConfigError, FormulaError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import lattice_from_parameters
from lcoms.structure.matching import Tolerance, matches
from lcoms.structure.symmetry import conventional, space_group_number
from lcoms.structure.wyckoff import primitive_operations, wyckoff_positions
from lcoms.structure.wyckoff_choices import wyckoff_choices

EXACT = Tolerance(0.01, 0.01, 0.1)
KNOWN = [rock_salt(), zinc_blende(), wurtzite(), perovskite(), nickel_arsenide(), fluorite(), cadmium_iodide()]


@pytest.mark.parametrize("crystal", KNOWN, ids=lambda crystal: crystal.composition.formula)
def test_known_structures_are_in_the_space(crystal: Crystal) -> None:
    space = SymmetricSpace(crystal.composition)
    vector = space.encode(crystal)
    assert vector is not None
    found = space.decode(vector)
    assert matches(crystal, found, EXACT)
    assert found.volume == pytest.approx(crystal.volume)
    assert space.symmetry(vector)[0] == space_group_number(crystal)
    again = space.encode(found)
    assert again is not None
    assert space.symmetry(again) == space.symmetry(vector)


@pytest.mark.parametrize("contents", ["primitive", "conventional"])
@pytest.mark.parametrize("crystal", [rock_salt(), wurtzite(), cadmium_iodide()], ids=lambda c: c.composition.formula)
def test_known_structures_are_in_the_space_with_a_triple_for_each_atom(crystal: Crystal, contents: str) -> None:
    config = SpaceConfig(triples="atom", contents=contents)  # type: ignore[arg-type]
    cell = conventional(crystal).composition if contents == "conventional" else crystal.composition
    space = SymmetricSpace(cell, config)
    vector = space.encode(crystal)
    assert vector is not None
    found = space.decode(vector)
    assert found.composition == cell
    assert matches(crystal, found, EXACT)


def test_conventional_contents_need_the_whole_cell() -> None:
    config = SpaceConfig(contents="conventional")
    assert SymmetricSpace(Composition.from_formula("Na4Cl4"), config).encode(rock_salt()) is not None
    assert SymmetricSpace(Composition.from_formula("NaCl"), config).encode(rock_salt()) is None
    assert SymmetricSpace(Composition.from_formula("Na4Cl4")).encode(rock_salt()) is None
    assert SymmetricSpace(Composition.from_formula("NaCl"), SpaceConfig(lengths=(2.0, 5.0))).encode(rock_salt()) is None


def random_crystals(space: SymmetricSpace, n: int) -> list[tuple[int, Crystal]]:
    random, found = np.random.default_rng(0), []
    while len(found) < n:
        vector = random.random(space.dimension)
        crystal = space.trial(0, vector).crystal
        if crystal is not None:
            found.append((space.symmetry(vector)[0], crystal))
    return found


def test_random_crystals_have_the_symmetry_asked_for() -> None:
    space = SymmetricSpace(Composition.from_formula("Na2Cl2O2"), SpaceConfig(lengths=(3.0, 9.0), angles=(60.0, 120.0)))
    crystals = random_crystals(space, 25)
    assert len({number for number, _ in crystals}) > 15
    wide = SymmetricSpace(space.composition, SpaceConfig(groups=(1, 230), lengths=(1.0, 60.0), angles=(5.0, 175.0)))
    n_exact = 0
    for number, crystal in crystals:
        assert crystal.composition == space.composition
        found = space_group_number(crystal, symprec=1e-3)
        assert len(primitive_operations(found)[0]) >= len(primitive_operations(number)[0])
        vector = wide.encode(crystal, symprec=1e-3)
        if vector is not None:  # what is more symmetric may have a smaller cell, and so other contents
            n_exact += 1
            assert matches(crystal, wide.decode(vector), EXACT)
        assert vector is not None or found != number
    assert n_exact > 10


def test_a_triple_for_each_atom_breaks_the_symmetry() -> None:
    cell = Composition.from_formula("Na4Cl4")
    sizes = {"lengths": (4.0, 8.0), "contents": "conventional"}
    whole = random_crystals(SymmetricSpace(cell, SpaceConfig(triples="atom", **sizes)), 12)  # type: ignore[arg-type]
    assert {crystal.n_atoms for _, crystal in whole} == {8}
    assert any(space_group_number(crystal, symprec=1e-3) <= 2 < number for number, crystal in whole)
    vector = np.full(8 + 3 * 8, 0.3)
    for triples in ("orbit", "atom"):
        space = SymmetricSpace(cell, SpaceConfig(contents="conventional", triples=triples, groups=(225, 225)))
        vector[0] = 0.5
        assert space_group_number(space.decode(vector)) == 225  # no free coordinates, no difference


def test_crystal_systems_constrain_the_cell() -> None:
    lengths, angles = np.array([3.0, 4.0, 5.0]), np.array([70.0, 80.0, 100.0])
    expected = {
        2: ([3, 4, 5], [70, 80, 100]), 15: ([3, 4, 5], [90, 80, 90]), 62: ([3, 4, 5], [90, 90, 90]),
        136: ([3, 3, 5], [90, 90, 90]), 166: ([3, 3, 5], [90, 90, 120]), 225: ([3, 3, 3], [90, 90, 90]),
    }  # fmt: skip
    for number, (new_lengths, new_angles) in expected.items():
        found = constrained(number, lengths, angles)
        assert (found[0].tolist(), found[1].tolist()) == (new_lengths, new_angles)


def test_unusable_spaces_are_refused() -> None:
    with pytest.raises(FormulaError, match="none of the space groups 225 to 225"):
        SymmetricSpace(Composition.from_formula("NaCl2"), SpaceConfig(groups=(225, 225), contents="conventional"))
    for wrong in ({"groups": (0, 230)}, {"lengths": (5.0, 2.0)}, {"angles": (20.0, 180.0)}):
        with pytest.raises(ConfigError):
            SpaceConfig(**wrong)  # type: ignore[arg-type]
    impossible = np.full(8 + 6, 0.5)
    impossible[[0, 5, 6, 7]] = 0.0, 1.0, 1.0, 1.0
    trial = SymmetricSpace(Composition.from_formula("NaCl")).trial(3, impossible)
    assert (trial.number, trial.crystal, trial.reason) == (3, None, "no such cell")


def brute_force(number: int, composition: Composition) -> set[tuple[tuple[str, int], ...]]:
    """Return the choices of positions in the conventional cell by trying all numbers of orbits."""
    positions = list(wyckoff_positions(number).values())
    ranges = [range(2 if p.n_free == 0 else n // p.multiplicity + 1) for p in positions for n in composition.counts]
    found = set()
    for numbers in product(*ranges):
        table = np.array(numbers).reshape(len(positions), -1)
        sizes = np.array([p.multiplicity for p in positions])
        special = np.array([p.n_free == 0 for p in positions])
        if (sizes @ table).tolist() == list(composition.counts) and (table[special].sum(1) <= 1).all():
            pairs = product(positions, composition.atomic_numbers)
            found.add(tuple(sorted((p.letter, z) for (p, z), k in zip(pairs, numbers, strict=True) for _ in range(k))))
    return found


@pytest.mark.parametrize(
    ("number", "formula"), [(2, "Na2"), (5, "Na4Cl2"), (62, "Na4Cl8"), (186, "Zn2O2"), (216, "Na4Cl4")]
)
def test_ways_are_counted_and_numbered(number: int, formula: str) -> None:
    composition = Composition.from_formula(formula)
    choices = wyckoff_choices(number, composition, True)
    ways = [choices.orbits(index) for index in range(choices.n)]
    assert set(ways) == brute_force(number, composition)
    assert len(set(ways)) == choices.n > 0
    assert [choices.index(way) for way in ways] == list(range(choices.n))
    assert choices.index((*ways[0], ways[0][0])) is None


def test_pyxtal_counts_the_same_ways() -> None:
    symmetry = pytest.importorskip("pyxtal.symmetry")
    for number, counts in ((225, [4, 8]), (123, [1, 3]), (136, [2, 4])):
        composition = Composition((11, 17), tuple(counts))
        n = len(symmetry.Group(number).list_wyckoff_combinations(counts)[0])
        assert wyckoff_choices(number, composition, True).n == n


def test_feasible_crystals() -> None:
    config = FeasibilityConfig()
    assert infeasibility(rock_salt(), config) == ""
    assert infeasibility(rock_salt(3.0), config) == feasibility.TOO_DENSE
    assert infeasibility(rock_salt(9.0), config) == feasibility.TOO_EMPTY
    near = Crystal(rock_salt().lattice, np.array([[0, 0, 0], [0.1, 0.1, 0.1]]), np.array([11, 17]))
    assert infeasibility(near, config) == feasibility.TOO_CLOSE
    across = Crystal(rock_salt().lattice, np.array([[0.05, 0, 0], [0.98, 0.01, 0.99]]), np.array([11, 17]))
    assert infeasibility(across, config) == feasibility.TOO_CLOSE
    long = Crystal(np.diag([2.5, 2.5, 10.0]), np.array([[0, 0, 0], [0.5, 0.5, 0.25]]), np.array([11, 17]))
    assert infeasibility(long, config) == feasibility.GAP
    assert infeasibility(long, FeasibilityConfig(gap=7.6)) == ""
    with pytest.raises(ConfigError, match="smaller first"):
        FeasibilityConfig(volume=(2.0, 1.0))


def test_gaps_are_measured_along_lines() -> None:
    cube = Crystal(np.eye(3) * 4.0, np.zeros((1, 3)), np.array([11]))
    assert widest_gap(cube) == pytest.approx(4.0)  # the axes; diagonals have planes in between
    layers = Crystal(np.diag([4.0, 4.0, 10.0]), np.array([[0, 0, 0], [0, 0, 0.2]]), np.array([11, 17]))
    assert widest_gap(layers) == pytest.approx(8.0)
    skewed = lattice_from_parameters(np.array([4.0, 4.0, 4.0]), np.array([90.0, 90.0, 120.0]))
    assert widest_gap(Crystal(skewed, np.zeros((1, 3)), np.array([11]))) == pytest.approx(4.0)
