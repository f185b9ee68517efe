"""Bonds of known structure types have known lengths and coordination numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import caesium_chloride, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.page import bonds as module
from lcoms.page.bonds import bond_table, find_bonds, polyhedron_centres
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.symmetry import conventional

KNOWN = {
    "rock salt": (rock_salt(), [("Cl", "Na", 2.82, "6", "6")]),
    "caesium chloride": (caesium_chloride(), [("Cl", "Cs", 4.12 * 3**0.5 / 2, "8", "8")]),
    "zinc blende": (zinc_blende(), [("S", "Zn", 5.41 * 3**0.5 / 4, "4", "4")]),
    "perovskite": (perovskite(), [("O", "Ti", 3.905 / 2, "2", "6"), ("O", "Sr", 3.905 / 2**0.5, "4", "12")]),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("cell", [lambda c: c, conventional], ids=["primitive", "conventional"])
def test_known_structures_have_their_bonds(name: str, cell) -> None:
    crystal, expected = KNOWN[name]
    table = bond_table(cell(crystal), find_bonds(cell(crystal)))
    assert [(row.first, row.second, row.around_first, row.around_second) for row in table] == [
        (first, second, one, two) for first, second, _, one, two in expected
    ]
    for row, (_, _, length, _, _) in zip(table, expected, strict=True):
        assert (row.shortest, row.longest) == (pytest.approx(length), pytest.approx(length))


def test_each_bond_is_there_once_and_leads_where_it_says() -> None:
    crystal = conventional(rock_salt())
    bonds = find_bonds(crystal)
    assert len(bonds) == 24  # six for each of four sodium atoms
    ends = {tuple(sorted(((b.first, 0, 0, 0), (b.second, *b.image)))) for b in bonds}
    assert len(ends) == 24
    for bond in bonds:
        way = (crystal.frac_coords[bond.second] + bond.image - crystal.frac_coords[bond.first]) @ crystal.lattice
        assert np.linalg.norm(way) == pytest.approx(bond.length) == pytest.approx(2.82)


def test_bonds_of_unequal_length_are_a_range() -> None:
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.52], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    polar = Crystal(4 * np.eye(3), sites, np.repeat([38, 22, 8], [1, 1, 3]))
    (kind,) = (row for row in bond_table(polar, find_bonds(polar)) if {row.first, row.second} == {"O", "Ti"})
    assert (kind.shortest, kind.longest) == (pytest.approx(1.92), pytest.approx(2.08))
    assert (kind.around_first, kind.around_second) == ("2", "6")


def test_an_atom_alone_has_no_rows() -> None:
    assert bond_table(rock_salt(), []) == []


def test_symmetry_carries_the_bonds_that_a_search_at_every_atom_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    for crystal in (conventional(perovskite()), conventional(zinc_blende()), wurtzite(3.25, 5.2, numbers=(30, 8))):
        carried = find_bonds(crystal)
        with monkeypatch.context() as patch:
            patch.setattr(module, "moyo_dataset", lambda *_, **__: None)
            searched = find_bonds(crystal)
        assert [bond[:3] for bond in carried] == [bond[:3] for bond in searched]
        np.testing.assert_allclose([b.length for b in carried], [b.length for b in searched])


def test_neighbours_are_searched_at_one_atom_of_each_orbit(monkeypatch: pytest.MonkeyPatch) -> None:
    from pymatgen.analysis.local_env import CrystalNN

    asked: list[int] = []
    search = CrystalNN.get_nn_info
    monkeypatch.setattr(CrystalNN, "get_nn_info", lambda self, s, n: asked.append(n) or search(self, s, n))
    assert len(find_bonds(conventional(rock_salt()))) == 24
    assert len(asked) == 2


def test_polyhedra_stand_around_cations() -> None:
    cell = conventional(perovskite())
    symbols = {SYMBOLS[cell.atomic_numbers[site]] for site in polyhedron_centres(cell, find_bonds(cell))}
    assert symbols == {"Sr", "Ti"}
    assert polyhedron_centres(cell, []) == []
