"""Phases of the shipped hull: their selection, resuming a run, and reading the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, make_store, rock_salt, zinc_blende
from toy_oracles import Springs

from lcoms.core.errors import ConfigError, DataError, WeightsError
from lcoms.data.store import Store
from lcoms.models.weights import PHASES_FILE
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.hull import Hull, Phase
from lcoms.oracles.references import References
from lcoms.prediction.phases import PhaseTable, hull_of, load_phases
from lcoms.structure.crystal import Composition
from lcoms.train.phases import (
    choose_phases,
    evaluate_as_given,
    evaluate_relaxed,
    heights_above,
    make_table,
    mean_decrease,
)


def of(*formulas: str) -> list[Composition]:
    return [Composition.from_formula(formula) for formula in formulas]


def test_heights_by_linear_programming_are_those_of_the_hull() -> None:
    compositions = of("NaCl", "NaCl3", "Na3Cl", "NaO", "NaClO", "Na2Cl2O3")
    energies = [-1.0, -0.45, -0.7, -0.8, -0.9, -0.3]
    zero = References("made", {8: 0.0, 11: 0.0, 17: 0.0})
    for at, height in enumerate(heights_above(compositions, energies)):
        others = [Phase(c, e) for i, (c, e) in enumerate(zip(compositions, energies, strict=True)) if i != at]
        assert height == pytest.approx(Hull(others, zero).e_above_hull(compositions[at], energies[at]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Store of two NaCl, the denser one higher in energy, CsCl far above the elements, and an element."""
    crystals = [caesium_chloride(3.4, (11, 17)), rock_salt(), caesium_chloride(), zinc_blende(5.4, (6, 6))]
    make_store(tmp_path / "store", crystals, energies=[-1.9, -2.0, 0.5, 0.0], hull=[np.nan] * 4, splits=["train"] * 4)
    return Store.open(tmp_path / "store")


def test_the_lowest_crystal_of_each_compound_near_the_hull_is_chosen(store: Store) -> None:
    assert choose_phases(store) == [1]
    assert sorted(choose_phases(store, near=1.0)) == [1, 2]
    assert choose_phases(store, sources=["nowhere"]) == []


def test_a_run_goes_on_where_it_stopped_and_relaxed_crystals_lie_lower(store: Store, tmp_path: Path) -> None:
    given = evaluate_as_given(store, [1], AnalyticOracle(), tmp_path)
    told: list[int] = []
    assert evaluate_as_given(store, [1], AnalyticOracle(), tmp_path, told.append) == given
    assert told == []
    both = evaluate_as_given(store, [1, 2], AnalyticOracle(), tmp_path, told.append)
    assert (len(both), told) == (2, [1])
    with pytest.raises(ConfigError, match="oracle is analytic there, toy_oracles:Springs here"):
        evaluate_as_given(store, [1], Springs(), tmp_path)
    relaxed = evaluate_relaxed(store, [1, 2], "analytic", tmp_path)
    assert all(relaxed[name] <= both[name] for name in both)
    decreases = [both[name] - relaxed[name] for name in both]
    assert mean_decrease(store, [1, 2], AnalyticOracle(), tmp_path) == pytest.approx(sum(decreases) / 2)
    with pytest.raises(DataError, match="analytic gives no energy for any of 0 relaxed crystals"):
        mean_decrease(store, [], AnalyticOracle(), tmp_path)
    table = make_table(store, [1], both, AnalyticOracle(), lowered=0.25)
    assert table.energies == pytest.approx([both["id-1"] - 0.25])


def test_the_file_gives_back_the_phases_of_some_elements(tmp_path: Path, store: Store) -> None:
    phases = [Phase(c, e, i) for c, e, i in zip(of("NaCl", "KCl", "NaClO2"), (-10.0, -3.3, -4.5), "abc", strict=True)]
    table = PhaseTable.of(phases, "chgnet:r2scan", {"store": "here"})
    table.save(tmp_path)
    read = load_phases(tmp_path)
    assert read is not None
    assert (read.oracle, read.ids, read.metadata) == ("chgnet:r2scan", ("a", "b", "c"), {"store": "here"})
    (inside,) = read.inside(of("Na2Cl7")[0])
    assert (inside.composition, inside.id, inside.energy_per_atom) == (*of("NaCl"), "a", pytest.approx(-10.0))
    assert [phase.id for phase in read.inside(of("KNaClO")[0])] == ["a", "b", "c"]
    hull = hull_of(of("NaCl")[0], read, "chgnet:r2scan")
    assert hull is not None
    assert hull.e_above_hull(of("NaCl")[0], -9.9) == pytest.approx(0.1, abs=1e-6)
    assert hull_of(of("NaCl")[0], read, "chgnet:0.3.0") is None  # energies of another model count from other zeros
    made = make_table(store, [1, 2], {}, AnalyticOracle())
    assert (len(made), made.inside(of("NaCl")[0])) == (0, [])


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    assert load_phases(tmp_path) is None
    (tmp_path / PHASES_FILE).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        load_phases(tmp_path)
