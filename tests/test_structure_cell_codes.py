"""Cell codes: the encoded conventional cell is recovered in any basis."""

from __future__ import annotations

import numpy as np
import pytest
from test_structure_wyckoff import built

from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.cell_codes import N_CELL_CODES, cell_code, most_alike
from lcoms.structure.lattice import niggli_reduce, parameters_from_lattice
from lcoms.structure.site_codes import describe_sites
from lcoms.structure.wyckoff import Orbits, standard_cell, symmetric_cell

GENERAL = [
    (2, (("i", 8), ("i", 13))),
    (12, (("i", 8), ("i", 13))),
    (14, (("e", 8), ("e", 13))),
    (62, (("c", 8), ("c", 13))),
    (63, (("c", 8), ("f", 13))),
    (139, (("a", 5), ("e", 8))),
    (166, (("c", 8), ("h", 13))),
]


@pytest.mark.parametrize(("number", "orbits"), GENERAL)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cell_of_a_code_is_found_again_from_a_reduced_lattice(number: int, orbits: Orbits, seed: int) -> None:
    crystal = built(symmetric_cell(number, orbits), np.random.default_rng([number, seed]))
    found, standard = describe_sites(crystal, symprec=1e-3), standard_cell(crystal, symprec=1e-3)
    assert found is not None
    assert standard is not None
    cell = symmetric_cell(found.space_group, found.orbits)
    reduced, _, _ = niggli_reduce(cell.primitive @ standard.lattice, np.zeros((1, 3)))
    lattices = [fit.lattice for fit in fitting_lattices(cell, reduced, n=54)]
    chosen = np.linalg.inv(cell.primitive) @ most_alike(cell, lattices, found.cell_code)
    for part, wanted in zip(parameters_from_lattice(chosen), parameters_from_lattice(standard.lattice), strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0.06 if number > 2 else 0.1)


def test_a_code_is_that_of_the_nearest_shape_and_the_unit_does_not_matter() -> None:
    cell = np.diag([3.0, 4.0, 5.0])
    code = cell_code(62, cell)
    assert 0 <= code < N_CELL_CODES
    assert cell_code(62, 2 * cell) == code
    assert cell_code(62, cell[[1, 0, 2]][:, [1, 0, 2]]) != code
    assert cell_code(225, cell) == 0, "nothing is free in a cubic cell"
    assert cell_code(139, np.diag([3.0, 3.0, 9.0])) != cell_code(139, np.diag([3.0, 3.0, 3.0]))


def test_of_two_axes_that_could_be_exchanged_the_coded_ones_are_taken() -> None:
    cell = symmetric_cell(62, (("c", 8), ("c", 13)))
    lattices = [np.diag([7.0, 4.0, 5.0]), np.diag([5.0, 4.0, 7.0]), np.diag([4.0, 7.0, 5.0])]
    for lattice in lattices:
        np.testing.assert_allclose(most_alike(cell, lattices, cell_code(62, lattice)), lattice, atol=1e-9)
