"""Reduced cells equal those of pymatgen, site by site."""

from __future__ import annotations

import numpy as np
import pytest
from symmetry_cases import other_cell, some_crystals, supercell
from tiny import made_crystals, shaken

from lcoms.core.errors import CrystalError
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_pymatgen
from lcoms.structure.matching import reduced_cell
from lcoms.structure.primitive import primitive_cell
from lcoms.structure.symmetry import conventional


def cases() -> list[Crystal]:
    crystals = [*some_crystals(), *made_crystals()[::5]]
    doubled = supercell(crystals)
    return [
        *crystals, *doubled, *supercell(doubled[:6]), *other_cell(doubled[:8]), *map(conventional, crystals),
        *(shaken(crystal, 0.05, i) for i, crystal in enumerate(doubled)),
        *(shaken(crystal, 0.2, i) for i, crystal in enumerate(doubled)),
    ]  # fmt: skip


def test_cells_are_those_of_pymatgen() -> None:
    smaller = 0
    for crystal in cases():
        expected = to_pymatgen(crystal).get_reduced_structure("niggli").get_primitive_structure()
        found = reduced_cell(crystal)
        smaller += len(expected) < crystal.n_atoms
        assert found.atomic_numbers.tolist() == list(expected.atomic_numbers)
        np.testing.assert_array_equal(found.lattice, expected.lattice.matrix)  # to the last bit
        np.testing.assert_array_equal(found.frac_coords, expected.frac_coords)
    assert smaller > 30


def test_a_cell_repeated_in_all_directions_comes_back() -> None:
    grid = np.stack(np.meshgrid(*[[0, 0.5]] * 3), axis=-1).reshape(-1, 3)
    lattice, frac, numbers = primitive_cell(6 * np.eye(3), grid, np.full(8, 84))
    np.testing.assert_allclose(np.linalg.norm(lattice, axis=1), 3)
    assert len(frac) == len(numbers) == 1
    moved = grid + np.eye(8, 3) * 0.1  # 0.6 angstrom, over the tolerance
    assert len(primitive_cell(6 * np.eye(3), moved, np.full(8, 84))[1]) == 8


def test_a_lattice_without_niggli_cell_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("can't find niggli")

    monkeypatch.setattr("lcoms.structure.matching.niggli_cell", fails)
    with pytest.raises(CrystalError, match=r"NaCl: no Niggli cell was found"):
        reduced_cell(made_crystals()[12])
