"""Structure probabilities from known crystals: invariant to the origin, and weighted towards similar compositions."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from test_templates_exact import VOLUMES, caesium_chloride, known, pair
from tiny import rock_salt, zinc_blende

from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.wyckoff import Orbits, wyckoff_orbits
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.exact_build import build_templates
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.structure_probability import ALL_ALIKE, signature, structure_probabilities

SALT = Composition.from_formula("NaCl")


def similarity_of(vectors: np.ndarray) -> ElementSimilarity:
    return ElementSimilarity(vectors, np.ones(6, np.float32), hull=20.0, sharpness=1.0, reach=9.0)


SIMILARITY = similarity_of(np.zeros((104, 1), np.float32))


def templates() -> ExactTemplates:
    """Return templates of two rock salts and one CsCl type of other compounds, and of NaCl itself."""
    salts = [known("KCl", pair(19, 17, 3.15)), known("LiF", pair(3, 9, 2.0)), known("NaCl", pair(11, 17, 2.8))]
    return build_templates([*salts, known("CsCl", caesium_chloride(55, 17, 4.1))], VOLUMES)


def probabilities(*, exclude_same: bool, similarity: ElementSimilarity = SIMILARITY) -> list[float]:
    found = structure_probabilities(SALT, templates(), similarity, exclude_same=exclude_same)
    crystals = (rock_salt(), caesium_chloride(11, 17, 3.4), zinc_blende(6.0, (11, 17)))
    return [found.of(crystal, symprec=0.01) for crystal in crystals]


def test_shares_of_the_similar_crystals() -> None:
    none = exp(-9)
    assert probabilities(exclude_same=False) == pytest.approx([3 / (4 + none), 1 / (4 + none), 0.0])
    assert probabilities(exclude_same=True) == pytest.approx([2 / (3 + none), 1 / (3 + none), 0.0])


def test_the_symmetry_of_a_crystal_is_searched_once_for_each_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    found = structure_probabilities(SALT, templates(), SIMILARITY, exclude_same=False)
    searched: list[float] = []

    def counted(crystal: Crystal, *, symprec: float) -> tuple[int, Orbits] | None:
        searched.append(symprec)
        return wyckoff_orbits(crystal, symprec=symprec)

    monkeypatch.setattr("lcoms.templates.structure_probability.wyckoff_orbits", counted)
    crystal = rock_salt()
    first = [found.of(crystal, symprec=symprec) for symprec in (0.01, 0.01, 0.1)]
    assert searched == [0.01, 0.1]
    assert first == [found.of(rock_salt(), symprec=0.01)] * 3
    assert found.of(zinc_blende(6.0, (11, 17)), symprec=0.01) == 0.0
    assert len(searched) == 4


def test_chemically_near_crystals_count_more() -> None:
    vectors = np.zeros((104, 1), np.float32)
    vectors[55] = 2.0
    found = probabilities(exclude_same=True, similarity=similarity_of(vectors))
    assert found[1] / found[0] == pytest.approx(exp(-2) / 2)  # mean distance 1, times two elements


def test_the_choice_of_origin_and_the_hand_make_no_difference() -> None:
    assert signature(225, (("a", 0), ("b", 1))) == signature(225, (("b", 0), ("a", 1)))
    assert signature(225, (("a", 0), ("c", 1))) != signature(225, (("a", 0), ("b", 1)))
    assert signature(152, (("a", 0),)) == signature(154, (("a", 0),))


def test_without_known_crystals_of_the_stoichiometry_all_are_alike() -> None:
    other = Composition.from_formula("Na2Cl7")
    assert structure_probabilities(other, templates(), SIMILARITY, exclude_same=False) is ALL_ALIKE
    assert ALL_ALIKE.of(rock_salt(), symprec=0.01) == 0.0
