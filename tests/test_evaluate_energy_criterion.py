"""Energies computed by hand: the sign, the thresholds, and what is not counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmark_rows import row as run
from tiny import caesium_chloride, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.benchmark.kept import PredictionRow
from lcoms.benchmark.rows import Known as KnownRun
from lcoms.benchmark.success import Criterion, by_run
from lcoms.core.errors import DataError, OracleError
from lcoms.evaluate.answers import Answer, Known
from lcoms.evaluate.energy_criterion import (
    EnergyRow,
    energy_rows,
    energy_scores,
    excess,
    oracle_energies,
    read_free_atoms,
    share_within_energy,
    with_free_atoms,
)
from lcoms.evaluate.pairing import pair
from lcoms.evaluate.statistics import Share
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.crystal import Composition, Crystal

SILICON = Crystal(2 * np.eye(3), np.zeros((1, 3)), np.array([14]))


def row(best: float | None, known: float = -2.0, *, kind: str = "formation", is_element: bool = False) -> EnergyRow:
    return EnergyRow("NaCl", kind, known, {1: best}, is_element)


def hits(rows: list[EnergyRow], *, relative: bool, kind: str = "formation") -> dict[float, tuple[int, int]]:
    scores = [score for score in energy_scores(rows, (1,)) if score.relative == relative and score.kind == kind]
    return {score.threshold: (score.share.successes, score.share.trials) for score in scores}


def test_higher_energies_fail_and_lower_ones_succeed() -> None:
    """With the printed formula, (E* - E) / |E*| <= 0.2, the first of these would succeed."""
    assert excess(-1.0, -2.0, relative=True) == 0.5
    assert excess(-2.5, -2.0, relative=True) == -0.25
    assert excess(0.5, 0.4, relative=True) == pytest.approx(0.25)
    assert hits([row(-1.0)], relative=True) == {0.20: (0, 1), 0.10: (0, 1), 0.05: (0, 1), 0.01: (0, 1)}
    assert hits([row(-2.5)], relative=True) == {0.20: (1, 1), 0.10: (1, 1), 0.05: (1, 1), 0.01: (1, 1)}


def test_thresholds() -> None:
    rows = [row(-1.6), row(-1.8), row(-1.9), row(-1.98), row(-2.0), row(None)]  # 20, 10, 5, 1, 0 %, and no answer
    assert hits(rows, relative=True) == {0.20: (5, 6), 0.10: (4, 6), 0.05: (3, 6), 0.01: (2, 6)}
    assert hits(rows, relative=False) == {0.1: (3, 6), 0.05: (2, 6), 0.02: (2, 6)}


def test_relative_criteria_leave_out_what_has_no_scale() -> None:
    rows = [row(0.3, 0.01, is_element=True), row(0.0, 0.0), row(-2.0)]
    assert hits(rows, relative=True)[0.20] == (1, 1)
    assert hits(rows, relative=False)[0.1] == (2, 3)
    bound = [row(-4.0, -5.0, kind="cohesive", is_element=True)]
    assert hits(bound, relative=True, kind="cohesive") == {0.20: (1, 1), 0.10: (0, 1), 0.05: (0, 1), 0.01: (0, 1)}


def test_every_share_counts_the_same_compositions() -> None:
    """An element above its reference phase has no unit for percentages; without a known energy nothing counts."""
    known = {"NaCl": -2.0, "Sn": 0.02, "YbI2": None, "KRb": 0.0005}
    best = {"NaCl": -1.95, "Sn": 0.03, "YbI2": -1.0, "KRb": 0.01}
    kept = [PredictionRow(f, f, 0, 1.0, energy=best[f], known_energy=known[f]) for f in known]
    rows = [EnergyRow(f, "formation", e, {1: best[f]}, f == "Sn") for f, e in known.items() if e is not None]
    runs = [
        run("a", f, energy=best[f], known=None if e is None else KnownRun(None, e, 1, True)) for f, e in known.items()
    ]
    for relative, limit, share in ((True, 0.05, Share(1, 1)), (False, 0.05, Share(3, 3))):
        assert share_within_energy(kept, limit, relative=relative) == share
        found = {s.threshold: s.share for s in energy_scores(rows, (1,)) if s.relative == relative}
        assert found[limit] == share
        criterion = Criterion("energy", limit, relative)
        hits_of_runs = by_run(runs, criterion, "answer")
        assert Share(sum(hits_of_runs.values()), len(hits_of_runs)) == share


def test_total_energies_have_absolute_thresholds_only() -> None:
    rows = [row(-30.03, -30.0 - 0.0, kind="total"), row(-29.96, -30.0, kind="total")]
    assert hits(rows, relative=True, kind="total") == {}
    assert hits(rows, relative=False, kind="total") == {0.1: (2, 2), 0.05: (2, 2), 0.02: (1, 2)}


def test_the_lowest_of_the_first_k_is_compared_with_the_lowest_known() -> None:
    known = [Known("w", "", wurtzite(), {"formation": -1.7}), Known("z", "", zinc_blende(4.6, (30, 8)), {})]
    known += [Known("s", "", rock_salt(), {"total": -7.0}), Known("c", "", caesium_chloride(), {"formation": -2.1})]
    known += [Known("w2", "", wurtzite(), {"formation": -1.8})]
    answers = [
        Answer(str(rank), "", "ZnO", rank, wurtzite(), "", {"formation": energy})
        for rank, energy in enumerate([-1.2, -1.5, -1.4], 1)
    ]
    answers.append(Answer("s", "", "NaCl", 1, rock_salt(), "", {"formation": -2.0}))
    rows, left_out = energy_rows(pair(answers, known).cases, lambda one: one.energies, (1, 5))  # type: ignore[attr-defined]
    assert [(r.formula, r.kind, r.known, r.best) for r in rows] == [
        ("ZnO", "formation", -1.8, {1: -1.2, 5: -1.5}),
        ("CsCl", "formation", -2.1, {1: None, 5: None}),
    ]
    assert left_out == {"formation": ["NaCl"]}  # a total energy is no formation energy, and no answer has one


def test_cohesive_energies_are_relative_to_free_atoms(tmp_path: Path) -> None:
    file = tmp_path / "atoms.json"
    file.write_text('{"Sr": -1.0, "Ti": -2.0, "O": -1.5}')
    atoms = read_free_atoms(file)
    assert atoms == {38: -1.0, 22: -2.0, 8: -1.5}
    found = with_free_atoms(perovskite().composition, {"total": -8.0}, atoms)
    assert found["cohesive"] == pytest.approx(-8.0 + (1.0 + 2.0 + 3 * 1.5) / 5)
    assert with_free_atoms(rock_salt().composition, {"total": -8.0}, atoms) == {"total": -8.0}
    assert with_free_atoms(perovskite().composition, {"formation": -3.0}, atoms) == {"formation": -3.0}


@pytest.mark.parametrize("text", ['{"Xx": 1.0}', "[1]", "{", '{"Na": "low"}'])
def test_a_file_without_free_atoms_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "atoms.json").write_text(text)
    with pytest.raises(DataError, match=r"atoms\.json: "):
        read_free_atoms(tmp_path / "atoms.json")


class Volumes(EnergyOracle):
    """Oracle whose energy is the volume, and which fails for silicon."""

    name = "volumes"
    batch_size = 2

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        assert len(crystals) <= 2
        return [
            Evaluation.failed("no silicon", c.n_atoms)
            if 14 in c.atomic_numbers
            else Evaluation(c.volume, np.zeros((c.n_atoms, 3)), np.zeros((3, 3)))
            for c in crystals
        ]

    def check(self, compositions: Iterable[Composition]) -> None:
        if Composition.from_formula("KCl") in compositions:
            raise OracleError("no potassium")


def test_an_oracle_gives_energies_per_atom_and_says_where_it_fails() -> None:
    crystals = [rock_salt(), SILICON, caesium_chloride(4.0)]
    found = oracle_energies(crystals, Volumes())
    assert found[0] == ({"total": pytest.approx(5.64**3 / 8)}, "")
    assert found[1] == ({}, "no silicon")
    assert found[2] == ({"total": pytest.approx(32.0)}, "")
    with pytest.raises(OracleError, match="no potassium"):
        oracle_energies([rock_salt(6.3, (19, 17))], Volumes())
