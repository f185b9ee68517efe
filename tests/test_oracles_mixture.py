"""The lowest mixture of phases at a composition, against mixtures computed by hand."""

from __future__ import annotations

import pytest

from lcoms.oracles.mixture import lowest_mixture
from lcoms.structure.crystal import Composition


def of(*formulas: str) -> list[Composition]:
    return [Composition.from_formula(formula) for formula in formulas]


def test_shares_add_up_to_the_composition_and_the_lever_rule_gives_the_energy() -> None:
    target, *phases = of("Na2Cl", "Na", "Cl", "NaCl")
    energy, shares = lowest_mixture(target, phases, [0.0, 0.0, -2.0])
    assert shares == pytest.approx([1 / 3, 0, 2 / 3])  # Na2Cl = Na + NaCl, of 1 and 2 atoms
    assert energy == pytest.approx(2 / 3 * -2.0)


def test_a_phase_above_a_mixture_has_no_share() -> None:
    target, *phases = of("NaCl", "Na", "Cl", "NaCl", "Na3Cl", "NaCl3")
    energy, shares = lowest_mixture(target, phases, [0.0, 0.0, -1.0, -1.5, -0.9])
    assert shares == pytest.approx([0, 0, 0, 0.5, 0.5])
    assert energy == pytest.approx(-1.2)


def test_only_the_shares_of_elements_are_left_without_compounds() -> None:
    target, *elements = of("CaTiO3", "O", "Ca", "Ti")
    energy, shares = lowest_mixture(target, elements, [-5.0, -2.0, -8.0])
    assert shares == pytest.approx([0.6, 0.2, 0.2])
    assert energy == pytest.approx(0.6 * -5.0 + 0.2 * -2.0 + 0.2 * -8.0)
