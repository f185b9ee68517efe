"""Verdicts on known pairs; slow, broken, missing or other compositions are no match and are reported."""

from __future__ import annotations

import time

import numpy as np
import pytest
from symmetry_cases import supercell
from tiny import rock_salt, shaken, wurtzite, zinc_blende

from lcoms.evaluate import judging
from lcoms.evaluate.answers import Answer, Known
from lcoms.evaluate.judging import TOO_SLOW, OutOfTime, judge, judge_case, time_limit
from lcoms.evaluate.pairing import Case, pair
from lcoms.structure.crystal import Crystal


def case_of(known: list[Crystal], answers: list[Crystal | None]) -> Case:
    truths = [Known(f"truth {i}", "", crystal) for i, crystal in enumerate(known)]
    formula = truths[0].formula
    given = [Answer(f"answer {i}", "", formula, i, c, "" if c else "torn") for i, c in enumerate(answers, 1)]
    (case,) = pair(given, truths).cases
    return case


def test_verdicts() -> None:
    salt = rock_salt(5.4, (30, 16))
    case = case_of([zinc_blende()], [salt, None, supercell([shaken(zinc_blende(), 0.02)])[0], rock_salt()])
    (row,) = judge_case(case, k=20, timeout=600.0)
    assert (row.name, row.formula, row.space_group, row.invalid, row.n_answers) == ("truth 0", "ZnS", 216, "", 4)
    # Loose tolerances do not tell rock salt from zinc blende; strict ones do.
    first, torn, good, other = row.verdicts
    assert first.rms is not None
    assert (first.strict, first.space_group, first.same_space_group, first.note) == (False, 225, False, "")
    assert (torn.rms, torn.strict, torn.space_group, torn.note) == (None, False, None, "torn")
    assert good.rms is not None
    assert 0 < good.rms < 0.03
    assert good.strict
    assert (good.rank, good.given_rank) == (3, 3)
    assert (other.rms, other.strict) == (None, False)
    assert other.note == "another composition: NaCl"


def test_only_the_first_k_are_compared_and_an_invalid_one_is_marked() -> None:
    squeezed = Crystal(5 * np.eye(3), np.array([[0, 0, 0], [0, 0, 0.05]]), np.array([30, 16]))
    (row,) = judge_case(case_of([zinc_blende()], [squeezed, zinc_blende(), zinc_blende()]), k=2, timeout=600.0)
    assert [verdict.rank for verdict in row.verdicts] == [1, 2]
    assert [verdict.invalid for verdict in row.verdicts] == ["atoms closer than 0.5 angstrom", ""]
    assert row.n_answers == 3


def test_metre_lets_every_structure_choose_among_as_many_answers() -> None:
    """With two structures, the third answer is not used, although it matches the second best."""
    sulphides = [zinc_blende(), wurtzite(3.82, 6.26, 0.375, (30, 16))]
    far = Crystal(np.diag([2.0, 2.5, 9.0]), np.array([[0, 0, 0], [0.5, 0.5, 0.1]]), np.array([30, 16]))
    rows = judge_case(case_of(sulphides, [zinc_blende(), far, sulphides[1]]), k=20, timeout=600.0)
    assert [row.n_references for row in rows] == [2, 2]
    assert rows[0].best_of_formula == pytest.approx(0, abs=1e-6)
    assert rows[1].best_of_formula is None
    assert rows[1].verdicts[2].rms == pytest.approx(0, abs=1e-6)


def test_a_comparison_without_end_is_no_match_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> float:
        try:
            time.sleep(60)
        except Exception:  # code that swallows errors does not swallow the end of the time
            time.sleep(60)
        return 0.0

    monkeypatch.setattr(judging, "rmsd", endless)
    clock = time.perf_counter()
    (row,) = judge_case(case_of([zinc_blende()], [zinc_blende()]), k=1, timeout=0.05)
    assert time.perf_counter() - clock < 50  # of 60
    assert (row.verdicts[0].rms, row.verdicts[0].strict, row.verdicts[0].note) == (None, False, TOO_SLOW)
    assert row.best_of_formula is None


def test_a_comparison_that_fails_is_no_match_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> float:
        raise RuntimeError("no lattice\nat all")

    monkeypatch.setattr(judging, "matches", fails)
    (row,) = judge_case(case_of([zinc_blende()], [zinc_blende()]), k=1, timeout=600.0)
    assert (row.verdicts[0].rms, row.verdicts[0].note) == (None, "cannot be compared: no lattice")


def test_the_limit_leaves_no_alarm_behind() -> None:
    with time_limit(0.5):
        pass
    time.sleep(0.6)
    with pytest.raises(OutOfTime), time_limit(0.02):
        time.sleep(10)


def test_a_pool_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case_of([zinc_blende()], [shaken(zinc_blende(), 0.1, i), zinc_blende()]) for i in range(3)]
    alone = judge(cases, k=2, timeout=600.0, workers=1)
    monkeypatch.setattr(judging, "_FEW", 0)
    seen: list[str] = []
    assert judge(cases, k=2, timeout=600.0, workers=2, on_case=lambda rows: seen.append(rows[0].name)) == alone
    assert len(alone) == len(seen) == 3
