"""Wyckoff positions against the operations of their groups, and crystals on them against the symmetry search."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import cadmium_iodide, caesium_chloride, fluorite, nickel_arsenide, perovskite, wurtzite, zinc_blende

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.wyckoff import (
    Orbits,
    SymmetricCell,
    n_primitive_atoms,
    primitive_basis,
    primitive_operations,
    symmetric_cell,
    wyckoff_orbits,
    wyckoff_positions,
)


def built(cell: SymmetricCell, random: np.random.Generator, *, volume_per_atom: float = 20.0) -> Crystal:
    """Return a crystal on the positions of a cell, with random free coordinates and lattice."""
    deform = random.normal(size=(3, 3))
    metric = (cell.metric_projector @ (deform @ deform.T / 3 + np.eye(3)).reshape(9)).reshape(3, 3)
    lattice = np.linalg.cholesky(metric)
    lattice *= np.cbrt(volume_per_atom * len(cell.shifts) / np.linalg.det(lattice))
    coords = cell.shifts + cell.directions @ random.random(cell.n_free)
    return Crystal(lattice, coords % 1.0, cell.atomic_numbers)


@pytest.mark.parametrize("number", range(1, 231))
def test_orbits_have_their_multiplicity_and_the_projector_keeps_what_may_move(number: int) -> None:
    positions = wyckoff_positions(number)
    per_primitive = round(1 / abs(np.linalg.det(primitive_basis(number))))
    assert len(primitive_operations(number)[0]) * per_primitive == max(p.multiplicity for p in positions.values())
    for letter, position in positions.items():
        cell = symmetric_cell(number, ((letter, 1),))
        assert len(cell.shifts) * per_primitive == position.multiplicity, letter
        moves = cell.directions.reshape(3 * len(cell.shifts), cell.n_free)
        np.testing.assert_allclose(cell.projector @ moves, moves, atol=1e-9)
        assert np.trace(cell.projector) == pytest.approx(cell.n_free)


@pytest.mark.parametrize("number", range(3, 231, 4))
def test_a_crystal_on_given_positions_has_the_group_they_belong_to(number: int) -> None:
    random = np.random.default_rng(number)
    letters = list(wyckoff_positions(number))
    orbits: Orbits = ((letters[0], 5), (letters[-1], 8))
    crystal = built(symmetric_cell(number, orbits), random)
    found = wyckoff_orbits(crystal, symprec=1e-3)
    assert found is not None
    assert found[0] == number
    assert n_primitive_atoms(*found) == crystal.n_atoms
    again = symmetric_cell(*found)
    assert sorted(again.atomic_numbers.tolist()) == sorted(crystal.atomic_numbers.tolist())


@pytest.mark.parametrize(
    ("crystal", "number", "orbits"),
    [
        (caesium_chloride(), 221, (("a", 17), ("b", 55))),
        (zinc_blende(), 216, (("a", 16), ("c", 30))),
        (fluorite(), 225, (("a", 20), ("c", 9))),
        (perovskite(), 221, (("a", 22), ("b", 38), ("d", 8))),
        (nickel_arsenide(), 194, (("a", 28), ("c", 33))),
        (cadmium_iodide(), 164, (("a", 48), ("d", 53))),
        (wurtzite(), 186, (("b", 8), ("b", 30))),
    ],
)
def test_prototypes_are_described_as_the_tables_do_and_rebuilt_from_it(
    crystal: Crystal, number: int, orbits: Orbits
) -> None:
    found = wyckoff_orbits(crystal, symprec=0.01)
    assert found == (number, orbits)
    cell = symmetric_cell(*found)
    assert len(cell.shifts) == crystal.n_atoms
    if cell.n_free == 0 and number >= 195:  # nothing but the volume is open
        lattice = np.linalg.cholesky((cell.metric_projector @ np.eye(3).reshape(9)).reshape(3, 3))
        lattice *= np.cbrt(crystal.volume / np.linalg.det(lattice))
        assert matches(Crystal(lattice, cell.shifts % 1.0, cell.atomic_numbers), crystal, STRICT)


def test_the_description_does_not_depend_on_origin_order_or_choice_of_cell() -> None:
    crystal = perovskite()
    order = np.array([3, 1, 4, 0, 2])
    sheared = Crystal(
        np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) @ crystal.lattice,
        (crystal.frac_coords @ np.linalg.inv([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) + 0.5)[order] % 1.0,
        crystal.atomic_numbers[order],
    )
    assert wyckoff_orbits(sheared, symprec=0.01) == wyckoff_orbits(crystal, symprec=0.01)


def test_positions_that_cannot_be_taken_are_refused() -> None:
    with pytest.raises(CrystalError, match="no Wyckoff position 'z'"):
        symmetric_cell(221, (("z", 1),))
    with pytest.raises(CrystalError, match="holds one orbit only"):
        symmetric_cell(221, (("a", 1), ("a", 2)))
