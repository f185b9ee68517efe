"""Textbook structures get their names, for any elements and any order."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import same_space_group, space_group_number
from lcoms.templates.prototypes import prototype_of, prototype_templates, prototypes

FCC = np.ones((3, 3)) - np.eye(3)
EYE = np.eye(3)
HEXAGONAL = np.array([[1.0, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 1]])


def crystal(lattice: np.ndarray, atoms: list[tuple[int, float, float, float]]) -> Crystal:
    table = np.array(atoms)
    return Crystal(lattice, table[:, 1:], table[:, 0].astype(np.int64))


ROCK_SALT = crystal(2.6 * FCC, [(12, 0, 0, 0), (34, 0.5, 0.5, 0.5)])
DIAMOND = crystal(2.8 * FCC, [(14, 0, 0, 0), (14, 0.25, 0.25, 0.25)])
PEROVSKITE = crystal(
    3.9 * EYE, [(20, 0, 0, 0), (22, 0.5, 0.5, 0.5), (8, 0.5, 0.5, 0), (8, 0.5, 0, 0.5), (8, 0, 0.5, 0.5)]
)


def pyrite(x: float) -> Crystal:
    """Return pyrite, with the same positions of Pa-3 as solid carbon dioxide, which differs only in x."""
    cations = [(26, *at) for at in ((0, 0, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (0.5, 0.5, 0))]
    half = [(x, x, x), (0.5 - x, -x, 0.5 + x), (-x, 0.5 + x, 0.5 - x), (0.5 + x, 0.5 - x, -x)]
    anions = [(16, *at) for one in half for at in (one, tuple(-c for c in one))]
    return crystal(5.4 * EYE, [*cations, *anions])


def anatase() -> Crystal:
    """I4_1/amd, origin choice 1 (Howard et al. 1991): titanium on 0 0 0, oxygen on 0 0 u with u = 0.208."""
    body = [(0, 0, 0), (0.5, 0.5, 0.5)]
    sites = [(0, 0, 0), (0, 0.5, 0.25)]
    atoms = [
        (z, *np.add(np.add(site, (0, 0, height)), shift) % 1)
        for z, height in ((22, 0.0), (8, 0.208), (8, -0.208))
        for site in sites
        for shift in body
    ]
    return crystal(np.diag([3.785, 3.785, 9.514]), atoms)


@pytest.mark.parametrize(
    ("made", "designation"),
    [
        (ROCK_SALT, "B1"),
        (crystal(4.1 * EYE, [(55, 0, 0, 0), (35, 0.5, 0.5, 0.5)]), "B2"),
        (crystal(2.7 * FCC, [(30, 0, 0, 0), (16, 0.25, 0.25, 0.25)]), "B3"),
        (crystal(2.7 * FCC, [(16, 0, 0, 0), (30, 0.25, 0.25, 0.25)]), "B3"),
        (
            crystal(
                HEXAGONAL * np.array([[3.2], [3.2], [5.2]]),
                [(30, 1 / 3, 2 / 3, 0), (30, 2 / 3, 1 / 3, 0.5), (8, 1 / 3, 2 / 3, 0.38), (8, 2 / 3, 1 / 3, 0.88)],
            ),
            "B4",
        ),
        (DIAMOND, "A4"),
        (crystal(2.7 * FCC, [(20, 0, 0, 0), (9, 0.25, 0.25, 0.25), (9, 0.75, 0.75, 0.75)]), "C1"),
        (PEROVSKITE, "E2_1"),
        (pyrite(0.385), "C2"),
        (anatase(), "C5"),
    ],
)
def test_a_textbook_structure_has_its_designation(made: Crystal, designation: str) -> None:
    found = prototype_of(made)
    assert found is not None
    assert found.strukturbericht == designation


def test_names_are_for_people() -> None:
    found = prototype_of(ROCK_SALT)
    assert found is not None
    assert found.name == "Halite, Rock Salt (B1)"
    names = {one.aflow: one.name for one in prototypes()}
    assert names["AB2_tI6_139_a_e"] == "C11_b (Si2Mo)"
    assert names["AB_oI4_44_a_b"] == "GaAs type"


def test_a_distorted_perovskite_is_not_the_cubic_one() -> None:
    moved = PEROVSKITE.frac_coords + np.array([[0, 0, 0], [0, 0, 0.05], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    found = prototype_of(Crystal(PEROVSKITE.lattice * [[1], [1], [1.05]], moved, PEROVSKITE.atomic_numbers))
    assert found is None or found.strukturbericht != "E2_1"


def test_a_structure_without_a_name_has_none() -> None:
    rng = np.random.default_rng(0)
    assert prototype_of(Crystal(6 * EYE, rng.random((5, 3)), np.array([3, 3, 7, 7, 7]))) is None
    assert prototype_of(Crystal(9 * EYE, rng.random((13, 3)), np.array([3] * 7 + [8] * 6))) is None


def test_all_prototypes_are_symmetric_in_their_groups() -> None:
    assert len(prototypes()) == 288
    for one in prototypes()[::12]:
        number = one.template.sites.space_group
        assert same_space_group(space_group_number(one.template.crystal, symprec=0.01), number), one.aflow
        assert f"_{number}_" in one.aflow or space_group_number(one.template.crystal, symprec=0.01) == number


def test_prototypes_are_their_own() -> None:
    for one in prototypes()[5::24]:
        found = prototype_of(one.template.crystal)
        assert found is not None, one.aflow
        assert found.template.sites.space_group == one.template.sites.space_group


def test_a_prototype_of_the_very_composition_is_left_out_on_demand() -> None:
    rock_salt = Composition.from_formula("NaCl")
    every, others = (prototype_templates(rock_salt, exclude_same=left_out) for left_out in (False, True))
    assert "B1" in {one.strukturbericht for one in every}
    assert all(one.template.composition.reduced != rock_salt for one in others)
    assert len(others) < len(every)
    assert prototype_templates(Composition.from_formula("Fe7O19")) == []


def test_the_contents_of_a_template_are_those_of_its_crystal() -> None:
    for one in prototypes()[::7]:
        assert one.template.composition == one.template.crystal.composition, one.aflow
