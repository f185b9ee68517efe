"""Subgroups of point groups that strains leave."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import rock_salt, wurtzite, zinc_blende

from lcoms.diffraction.distortion import strained_cell, strained_point_groups
from lcoms.diffraction.lines import allowed_strains
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import primitive_standard, space_group_number


def box(a: float, b: float, c: float) -> Crystal:
    return Crystal(np.diag([float(a), float(b), float(c)]), np.zeros((1, 3)), np.array([84]))


TRICLINIC = Crystal(np.array([[5.1, 0, 0], [0.9, 6.0, 0], [-1.1, 0.8, 7.4]]), np.zeros((1, 3)), np.array([84]))


@pytest.mark.parametrize(
    ("crystal", "orders", "groups"),
    [
        (rock_salt(), [8, 6], {139, 166}),
        (zinc_blende(), [8, 6], {119, 160}),
        (wurtzite(), [4], {36}),
        (box(4, 4, 5), [4, 4], {47, 65}),
        (box(4, 5, 6), [2, 2, 2], {10}),
        (TRICLINIC, [], set()),
    ],
    ids=["cubic", "cubic without inversion", "hexagonal", "tetragonal", "orthorhombic", "triclinic"],
)
def test_strains_lower_the_symmetry_one_step(crystal: Crystal, orders: list[int], groups: set[int]) -> None:
    cell = primitive_standard(crystal)
    found = strained_point_groups(cell.rotations)
    assert [len(group) for group in found] == orders
    before = allowed_strains(cell.crystal.lattice, cell.rotations)
    reached = set()
    for group in found:
        strains = allowed_strains(cell.crystal.lattice, group)
        assert len(strains) > len(before)
        new = strains - np.einsum("mij,nij,nkl->mkl", strains, before, before)
        strained = strained_cell(cell, 0.02 * np.einsum("m,mij->ij", np.linspace(1, 2, len(new)), new))
        reached.add(space_group_number(strained.crystal, symprec=0.01))
    assert reached == groups
