"""The analytic energy has the minima that follow from its formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from tiny import caesium_chloride, rock_salt, zinc_blende

from lcoms.oracles import analytic
from lcoms.oracles.analytic import AnalyticOracle, best_distance, depth
from lcoms.structure.crystal import Crystal

ORACLE = AnalyticOracle()


def face_centred(neighbours: float, number: int) -> Crystal:
    primitive = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * np.sqrt(2.0) * neighbours
    return Crystal(primitive, np.zeros((1, 3)), np.array([number]))


@pytest.mark.parametrize("number", [1, 13, 29, 55])
def test_close_packed_elements_stand_in_their_wells(number: int) -> None:
    result = ORACLE.evaluate([face_centred(float(best_distance(number, number)), number)])[0]
    assert result.ok
    assert result.energy == pytest.approx(-6 * float(depth(number, number)), abs=1e-12)
    assert np.abs(result.stress).max() < 1e-12


def test_rock_salt_of_equal_sizes_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analytic, "SIZES", np.full(len(analytic.SIZES), 1.3))
    best = ORACLE.evaluate([rock_salt(2 * float(best_distance(11, 17)))])[0]
    wells = float(depth(11, 17) + depth(11, 11) + depth(17, 17))
    assert best.energy == pytest.approx(-6 * wells, abs=1e-12)
    assert np.abs(best.stress).max() < 1e-12
    assert float(depth(11, 17)) == pytest.approx(0.1 + 0.4 * (3.16 - 0.93))


def shells(a: float) -> float:
    """Return the energy of a formula unit of NaCl in rock salt from the first shells, counted by hand."""
    unlike = [(6, 0.5), (8, 3**0.5 / 2), (24, 5**0.5 / 2)]
    like = [(12, 0.5**0.5), (6, 1.0), (24, 1.5**0.5)]
    total = sum(n * _well(a * d, 11, 17) for n, d in unlike)
    return total + sum(0.5 * n * (_well(a * d, 11, 11) + _well(a * d, 17, 17)) for n, d in like)


def _well(r: float, first: int, second: int) -> float:
    x = r / float(best_distance(first, second))
    t = min(max((x - 1.15) / 0.25, 0.0), 1.0)
    morse = float(depth(first, second)) * ((1 - np.exp(-6 * (x - 1))) ** 2 - 1)
    return float(morse * (1 - 10 * t**3 + 15 * t**4 - 6 * t**5))


def test_the_lattice_constant_of_rock_salt_is_that_of_a_sum_over_shells() -> None:
    by_hand = minimize_scalar(shells, bounds=(5.0, 7.0), method="bounded", options={"xatol": 1e-9})
    found = ORACLE.evaluate([rock_salt(float(by_hand.x))])[0]
    assert found.energy == pytest.approx(float(by_hand.fun), abs=1e-10)
    assert np.abs(found.stress).max() < 1e-6
    assert shells(5.2) == pytest.approx(ORACLE.evaluate([rock_salt(5.2)])[0].energy, abs=1e-10)


def test_rock_salt_is_below_the_other_simple_salts() -> None:
    makers = {"B1": rock_salt, "B2": caesium_chloride, "B3": zinc_blende}
    lowest = {
        name: min(r.energy for r in ORACLE.evaluate([make(a, (11, 17)) for a in np.linspace(3.2, 8, 200)]) if r.ok)
        for name, make in makers.items()
    }
    assert lowest["B1"] < lowest["B2"] < lowest["B3"]


def test_hopeless_crystals_get_a_reason_and_the_others_their_numbers() -> None:
    on_top = Crystal(np.eye(3) * 5, np.zeros((2, 3)), np.array([11, 17]))
    dense = Crystal(np.eye(3) * 0.4, np.zeros((1, 3)), np.array([11]))
    alone = Crystal(np.eye(3) * 40, np.zeros((1, 3)), np.array([11]))
    results = ORACLE.evaluate([on_top, rock_salt(), dense, alone])
    assert [result.ok for result in results] == [False, True, False, True]
    assert "same position" in results[0].status
    assert "cubic angstrom per atom" in results[2].status
    assert results[0].forces.shape == (2, 3)
    assert results[1].energy == ORACLE.evaluate([rock_salt()])[0].energy
    assert results[3].energy == 0.0
    assert ORACLE.evaluate([]) == []
