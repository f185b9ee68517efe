"""The forms of the elements have the structures that their names state."""

from __future__ import annotations

import pytest

from lcoms.oracles.elemental import ElementalForm, elemental_forms
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.symmetry import space_group_number

GROUPS = {
    "face-centred cubic": 225,
    "body-centred cubic": 229,
    "hexagonal close-packed": 194,
    "double hexagonal close-packed": 194,
    "diamond": 227,
    "white tin": 141,
    "graphite": 194,
    "grey arsenic": 166,
    "alpha-B12": 166,
    "chains": 152,
    "black": 64,
    "alpha-Ga": 64,
    "alpha-Mn": 217,
    "alpha-U": 63,
    "alpha-Np": 62,
    "alpha-Pu": 11,
    "rings S8, alpha": 70,
    "rings S6": 148,
}
# Bonds in angstrom of molecules and nets, as textbooks have them.
BONDS = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.98, "Br": 2.28, "I": 2.71, "S": 2.05, "C": 1.42, "P": 2.22}


def form(element: str, prototype: str = "") -> ElementalForm:
    return next(f for f in elemental_forms() if f.element == element and f.prototype.startswith(prototype))


def test_each_form_has_the_space_group_of_its_prototype() -> None:
    forms = elemental_forms()
    assert len({f.element for f in forms}) == 89
    assert len({(f.element, f.prototype) for f in forms}) == len(forms)
    assert {f.prototype for f in forms} >= set(GROUPS)
    for f in forms:
        if f.prototype in GROUPS:
            assert space_group_number(f.crystal, symprec=0.01) == GROUPS[f.prototype], (f.element, f.prototype)
        assert f.source


@pytest.mark.parametrize("element", BONDS)
def test_bonds_are_those_of_textbooks(element: str) -> None:
    crystal = form(element).crystal
    assert shortest_distance(crystal.lattice, crystal.frac_coords) == pytest.approx(BONDS[element], abs=0.04)


def test_metals_may_choose_among_close_packings() -> None:
    assert {f.prototype for f in elemental_forms() if f.element == "Fe"} == set(list(GROUPS)[:4])
    assert {f.prototype for f in elemental_forms() if f.element == "N"} == {"molecules N2, alpha"}
    copper = form("Cu", "face").crystal
    assert copper.volume == pytest.approx(3.61**3 / 4, rel=1e-3)
