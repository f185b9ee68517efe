"""From answers to a report in one pass, and a report that can be stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from symmetry_cases import supercell
from tiny import caesium_chloride, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError
from lcoms.evaluate import judging
from lcoms.evaluate.answers import Answer, Known
from lcoms.evaluate.scoring import Report, ScoreOptions, score
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.crystal import Composition, Crystal

KNOWN = [
    Known("salt", "", rock_salt(), {"formation": -2.0}),
    Known("zinc blende", "", zinc_blende(4.6, (30, 8)), {"formation": -1.7}),
    Known("wurtzite", "", wurtzite(), {"formation": -1.8}),
    Known("never asked", "", rock_salt(6.3, (19, 17)), {"formation": -2.2}),
]


def answers() -> list[Answer]:
    salts = [caesium_chloride(3.4, (11, 17)), supercell([rock_salt()])[0]]
    oxides = [wurtzite(), rock_salt(4.3, (30, 16)), zinc_blende(4.6, (30, 8))]
    given = [Answer(f"salt {i}", "", "NaCl", i, c, "", {"formation": -2.0 + 0.05 / i}) for i, c in enumerate(salts, 1)]
    given += [Answer(f"oxide {i}", "", "ZnO", i, c, "", {"formation": -5.0}) for i, c in enumerate(oxides, 1)]
    given.insert(0, Answer("torn", "", "NaCl", 3, None, "not a CIF"))
    given.append(Answer("elsewhere", "", "LiF", 1, rock_salt(4.0, (3, 9))))
    return given


def shares(report: Report) -> dict[tuple[str, int], tuple[int, int]]:
    return {(one.name, one.k): (one.share.successes, one.share.trials) for one in report.scores}


def test_every_figure_of_a_small_case() -> None:
    report = score(answers(), KNOWN, ScoreOptions(ks=(2, 1, 3, 3)))
    found = shares(report)
    # Strict: salt at 2; of ZnO rank 1 is wurtzite, rank 2 a sulphide, rank 3 zinc blende.
    assert [found["strict match", k] for k in (1, 2, 3)] == [(1, 4), (2, 4), (3, 4)]
    assert [found["strict match, space group", k] for k in (1, 2, 3)] == [(1, 4), (2, 4), (3, 4)]
    assert found["match rate", 3] == (3, 4)
    # Two ZnO structures have the first two answers: one matches wurtzite. Salt has its first: caesium chloride.
    assert found["METRe, with cRMSE", 0] == (1, 4)
    assert [row.name for row in report.rows] == ["salt", "zinc blende", "wurtzite", "never asked"]
    assert (report.n_answers, report.by_id, report.n_too_slow) == (7, False, 0)
    assert report.missing == ("never asked (KCl)",)
    assert report.unreadable == ("torn (rank 3): not a CIF",)
    assert report.unknown == ("elsewhere",)
    assert "KCl: no answer with a formation energy, counted as failed" in report.notes
    assert "zinc blende: oxide 2: another composition: ZnS" in report.notes


def test_energies_of_the_files() -> None:
    report = score(answers(), KNOWN, ScoreOptions(ks=(1, 2)))
    rows = {row.formula: row for row in report.energy_rows}
    assert rows["NaCl"].best == {1: pytest.approx(-1.95), 2: pytest.approx(-1.975)}
    assert (rows["ZnO"].known, rows["ZnO"].best) == (-1.8, {1: -5.0, 2: -5.0})
    assert rows["KCl"].best == {1: None, 2: None}
    found = {(s.threshold, s.relative, s.k): (s.share.successes, s.share.trials) for s in report.energy_scores}
    assert [found[limit, True, 1] for limit in (0.2, 0.1, 0.05, 0.01)] == [(2, 3), (2, 3), (2, 3), (1, 3)]
    assert found[0.02, False, 1] == (1, 3)
    assert [found[limit, False, 2] for limit in (0.1, 0.05, 0.02)] == [(2, 3), (2, 3), (1, 3)]


def test_the_energy_of_another_composition_does_not_count() -> None:
    wrong = [Answer("wrong", "", "NaCl", 1, rock_salt(4.0, (3, 9)), "", {"formation": -9.0})]
    wrong.append(Answer("right", "", "NaCl", 2, rock_salt(), "", {"formation": -1.0}))
    report = score(wrong, KNOWN[:1], ScoreOptions(ks=(1, 2)))
    assert report.energy_rows[0].best == {1: None, 2: -1.0}


class Fixed(EnergyOracle):
    """Oracle with -1 eV/atom for all crystals, and no energy for sulfides."""

    name = "fixed"
    batch_size = 3

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [
            Evaluation.failed("no oxides", c.n_atoms)
            if 8 in c.atomic_numbers
            else Evaluation(-float(c.n_atoms), np.zeros((c.n_atoms, 3)), np.zeros((3, 3)))
            for c in crystals
        ]

    def check(self, compositions: Iterable[Composition]) -> None:
        assert {c.reduced_formula for c in compositions} == {"NaCl", "ZnO", "KCl"}


def test_an_oracle_takes_the_place_of_the_files_energies() -> None:
    atoms = {11: -0.25, 17: -0.35, 19: -0.2}
    report = score(answers(), KNOWN, ScoreOptions(ks=(1,)), oracle=Fixed(), free_atoms=atoms)
    rows = {(row.formula, row.kind): (row.known, row.best[1]) for row in report.energy_rows}
    assert rows["NaCl", "total"] == (-1.0, -1.0)
    assert rows["NaCl", "cohesive"] == (pytest.approx(-0.7), pytest.approx(-0.7))
    assert not [kind for _, kind in rows if kind == "formation"]
    assert ("ZnO", "total") not in rows
    assert "wurtzite: no energy: no oxides" in report.notes
    assert "ZnO: no known total energy, not counted" in report.notes


def test_what_was_too_slow_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> float:
        raise judging.OutOfTime

    monkeypatch.setattr(judging, "rmsd", late)
    report = score(answers(), KNOWN[:1], ScoreOptions(ks=(2,)))
    assert shares(report)["match rate", 2] == (0, 1)
    assert report.n_too_slow == 2
    assert f"salt: salt 1: {judging.TOO_SLOW}" in report.notes


def test_a_report_is_json() -> None:
    content = score(answers(), KNOWN, ScoreOptions(ks=(1, 3))).to_json()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again["scores"][0]["share"] | {"low": 0, "high": 0} == {
        "successes": again["scores"][0]["share"]["successes"], "trials": 4, "low": 0, "high": 0,
        "value": again["scores"][0]["share"]["successes"] / 4,
    }  # fmt: skip
    salt = again["rows"][0]
    assert [(v["name"], v["strict"], v["note"]) for v in salt["verdicts"]] == [
        ("salt 1", False, ""), ("salt 2", True, ""), ("torn", False, "not a CIF")
    ]  # fmt: skip
    oxide = again["rows"][1]
    assert (oxide["strict_rank"], oxide["strict_space_group_rank"]) == (3, 3)
    assert (salt["matched_rank"], again["rows"][3]["matched_rank"]) == (2, None)
    assert again["energy_rows"][2]["best"] == {"1": None, "3": None}
    assert all(score["rms"] is None for score in again["scores"] if score["name"].startswith("strict"))


@pytest.mark.parametrize("wrong", [{"ks": ()}, {"ks": (0, 1)}, {"timeout": 0.0}, {"workers": 0}])
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ScoreOptions(**wrong)  # type: ignore[arg-type]
