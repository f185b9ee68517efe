"""The bonus of known crystals: from score gaps, and from how often a ground state was unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, fluorite, make_store, rock_salt, zinc_blende

from lcoms.core.errors import DataError
from lcoms.evaluate.fitting_known import Unknown, fit_bonus, gaps_of, share_right, unknown_ground_states
from lcoms.prediction.calibrate import Scored


def case(right: float, other: float) -> Scored:
    return Scored(np.array([right, other, other + 0.2]), np.array([True, False, False]), 8)


def test_gaps_are_those_between_the_right_candidate_and_the_best_other() -> None:
    none = Scored(np.array([0.0, 0.1]), np.array([False, False]), 8)
    assert gaps_of([*[case(0.1, 0.4)] * 12, none]) == pytest.approx(0.3)
    with pytest.raises(DataError, match="9 predictions"):
        gaps_of([case(0.1, 0.4)] * 9)


def test_a_bonus_keeps_known_ground_states_and_costs_unknown_ones() -> None:
    gaps = np.array([0.2, -0.05])
    right = share_right(gaps, np.array([0.0, 0.1, 0.3]), 0.0)
    assert right == pytest.approx([0.5, 1.0, 1.0], abs=1e-3)
    assert share_right(gaps, np.array([0.0, 0.1, 0.3]), 1.0) == pytest.approx([0.5, 0.5, 0.0], abs=1e-3)


def test_the_bonus_reaches_the_worst_gap_where_every_ground_state_is_known() -> None:
    gaps = np.array([0.2] * 18 + [-0.03, -0.06])
    assert 0.06 < fit_bonus(gaps, 0.0) < 0.1
    assert 0.06 < fit_bonus(gaps, 0.02) < 0.1
    assert fit_bonus(np.array([0.01] * 18 + [-0.2] * 2), 0.5) == 0.0


def test_ground_states_that_an_earlier_source_lacked_are_counted(tmp_path: Path) -> None:
    salt, caesium, fluoride, blende = rock_salt(), caesium_chloride(), fluorite(), zinc_blende()
    crystals = [salt, salt, caesium, caesium, fluoride, fluoride, blende]
    energies = [-1.0, -1.1, -2.0, -1.9, -1.5, -1.5005, -1.0]
    sources = ["MP 2018", "later", "MP 2018", "later", "MP 2018", "later", "MP 2018"]
    hull = [0.05, 0.0, 0.0, 0.1, 0.0, 0.0, 0.02]
    store = make_store(
        tmp_path / "store", crystals, energies=energies, hull=hull, splits=["train"] * 7, sources=sources
    )
    assert unknown_ground_states(store, "MP 2018") == (Unknown(0.0, 2), Unknown(0.5, 2))
    with pytest.raises(DataError, match="no crystals of 'elsewhere'"):
        unknown_ground_states(store, "elsewhere")
