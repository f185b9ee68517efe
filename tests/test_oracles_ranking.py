"""Crystals are in order of energy within their composition, each structure once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tiny import caesium_chloride, rock_salt, shaken, zinc_blende

from lcoms.core.errors import ConfigError, OracleError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import Evaluation, evaluate_all
from lcoms.oracles.hull import Hull
from lcoms.oracles.ranking import rank_crystals
from lcoms.oracles.references import References
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import conventional

NACL = (11, 17)


def evaluation(crystal: Crystal, per_atom: float) -> Evaluation:
    return Evaluation(per_atom * crystal.n_atoms, np.zeros((crystal.n_atoms, 3)), np.zeros((3, 3)))


def ranked(crystals: list[Crystal], per_atom: list[float], **options: object) -> list:  # type: ignore[type-arg]
    return rank_crystals(
        crystals,
        [evaluation(c, e) for c, e in zip(crystals, per_atom, strict=True)],
        **options,  # type: ignore[arg-type]
    )


def test_lowest_first_with_the_distance_to_the_lowest() -> None:
    crystals = [zinc_blende(6.4, NACL), rock_salt(), caesium_chloride(3.5, NACL)]
    rows = ranked(crystals, [-3.29, -3.37, -3.22], names=["B3", "B1", "B2"])
    assert [(row.name, row.rank, row.space_group) for row in rows] == [("B1", 1, 225), ("B3", 2, 216), ("B2", 3, 221)]
    assert [row.energy_above_lowest for row in rows] == pytest.approx([0.0, 0.08, 0.15])
    assert all(row.formation_energy is None and row.e_above_hull is None for row in rows)


def test_the_size_of_the_cell_does_not_matter() -> None:
    large = conventional(rock_salt())
    assert large.n_atoms == 8
    rows = ranked([large, zinc_blende(6.4, NACL)], [-3.2, -3.3])
    assert [row.name for row in rows] == ["2", "1"]


def test_duplicates_go_to_the_lowest_of_their_kind() -> None:
    crystals = [rock_salt(5.7), conventional(rock_salt(5.6)), zinc_blende(6.4, NACL), rock_salt(5.65)]
    rows = ranked(crystals, [-3.3, -3.4, -3.35, -3.2])
    assert [(row.name, row.duplicates) for row in rows] == [("2", ("1", "4")), ("3", ())]


def test_a_match_of_another_space_group_is_kept() -> None:
    broken = shaken(conventional(rock_salt()), 0.15, 1)
    rows = ranked([rock_salt(), broken], [-3.4, -3.3])
    assert len(rows) == 2
    assert rows[1].space_group != 225


def test_compositions_are_ranked_apart_in_the_order_given() -> None:
    crystals = [rock_salt(numbers=(19, 17)), caesium_chloride(3.5, NACL), rock_salt(), rock_salt(numbers=(17, 19))]
    rows = ranked(crystals, [-3.0, -3.1, -3.2, -2.9])
    assert [(row.name, row.rank) for row in rows] == [("1", 1), ("3", 1), ("2", 2)]
    assert rows[0].duplicates == ("4",)
    assert rows[2].energy_above_lowest == pytest.approx(0.1)


def test_failed_evaluations_have_no_place() -> None:
    crystals = [rock_salt(), zinc_blende(6.4, NACL)]
    rows = rank_crystals(crystals, [Evaluation.failed("no", 2), evaluation(crystals[1], -1.0)])
    assert [row.name for row in rows] == ["2"]
    assert rank_crystals(crystals[:1], [Evaluation.failed("no", 2)]) == []
    with pytest.raises(ConfigError, match="as many evaluations"):
        rank_crystals(crystals, [])


class Careless(AnalyticOracle):
    """Oracle whose numbers for rock salt are not finite, and which gives one record too few for four crystals."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        results = [evaluation(c, float("nan") if c.volume > 40 else -1.0) for c in crystals]
        return results[: 3 if len(results) == 4 else None]


def test_numbers_that_are_not_finite_are_failures_whatever_the_status() -> None:
    crystals = [caesium_chloride(3.4, NACL), rock_salt()]
    results = evaluate_all(Careless(), crystals)
    assert [result.ok for result in results] == [True, False]
    assert "not finite" in results[1].status
    assert [row.name for row in rank_crystals(crystals, results)] == ["1"]
    assert np.isnan(Careless().energies(crystals)).tolist() == [False, True]
    with pytest.raises(OracleError, match="3 results for 4 crystals"):
        evaluate_all(Careless(), crystals * 2)


def test_formation_energy_and_hull_stand_beside() -> None:
    references = References("made", {11: -1.0, 17: -2.0})
    rows = ranked(
        [rock_salt(), zinc_blende(6.4, NACL)],
        [-3.5, -3.4],
        formation_energy=references.formation_energy,
        hull=Hull([], references),
    )
    assert [row.formation_energy for row in rows] == pytest.approx([-2.0, -1.9])
    assert [row.e_above_hull for row in rows] == pytest.approx([-2.0, -1.9])
