"""An interrupted measurement resumes from its file; rows of another one are not touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import caesium_chloride, decoded_of, decoded_set, perovskite, rock_salt, zinc_blende

from lcoms.core.errors import DataError, FormulaError, OracleError
from lcoms.evaluate.formulas import Outcome, evaluate_formulas
from lcoms.evaluate.kept import OutcomeFile
from lcoms.evaluate.references import Reference
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.rank import rank_decoded
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition

REFERENCES = [
    Reference("salt", Composition.from_formula("NaCl"), rock_salt()),
    Reference("titanate", Composition.from_formula("SrTiO3"), perovskite()),
    Reference("salt under pressure", Composition.from_formula("NaCl"), caesium_chloride(3.4, (11, 17))),
]
SPEC = PredictionSpec(5, relaxation=None)
N_SEEDS = 2


class Broken(BaseException):
    """Stands for Ctrl-C, which ends the run instead of failing one prediction."""


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    made: list[tuple[str, int]] = []

    def predict(self: Predictor, composition: Composition) -> Prediction:
        made.append((composition.reduced_formula, self.spec.seed))
        if composition == REFERENCES[1].composition:
            raise ZeroDivisionError("a defect" if self.spec.seed else "")
        decoded = decoded_set(decoded_of(zinc_blende(5.6, (11, 17))), decoded_of(rock_salt()))
        return Prediction(composition, tuple(rank_decoded(decoded.crystals)), decoded, self.spec, "")

    monkeypatch.setattr(Predictor, "predict", predict)
    return made


def measured(path: Path, bundle: WeightBundle, *, stop_after: int | None = None, **changed: Any) -> list[Outcome]:
    """Return the outcomes of one run with its file, interrupted after a number of them."""
    references = changed.get("references", REFERENCES)
    weights = replace(bundle, digest=changed.get("digest", bundle.digest))
    predictor = Predictor(weights, SPEC.with_options(changed.get("options", {})))
    with OutcomeFile(path, references, predictor, n_seeds=N_SEEDS) as file:
        taken: list[Outcome] = []

        def take(outcome: Outcome) -> None:
            if len(taken) == stop_after:
                raise Broken
            taken.append(outcome)
            file.add(outcome)

        kept = dict(file.outcomes)
        return evaluate_formulas(references, predictor, n_seeds=N_SEEDS, kept=kept, on_outcome=take)


def comparable(outcomes: list[Outcome]) -> list[Outcome]:
    return [replace(outcome, seconds=0.0) for outcome in outcomes]


def test_what_is_there_is_not_predicted_again(
    calls: list[tuple[str, int]], bundle: WeightBundle, tmp_path: Path
) -> None:
    path = tmp_path / "rows.json"
    whole = comparable(measured(tmp_path / "whole.json", bundle))
    jobs = [("NaCl", 0), ("SrTiO3", 0), ("NaCl", 1), ("SrTiO3", 1)]
    assert calls == jobs
    assert [outcome.note for outcome in whole[2::3]] == [
        "ZeroDivisionError: no reason given", "ZeroDivisionError: a defect"
    ]  # fmt: skip
    calls.clear()
    with pytest.raises(Broken):  # the second reference of NaCl with seed 1 is missing
        measured(path, bundle, stop_after=4)
    rows = json.loads(path.read_text())
    assert [(row["name"], row["seed"]) for row in rows] == [
        ("salt", 0), ("salt under pressure", 0), ("titanate", 0), ("salt", 1)
    ]  # fmt: skip
    calls.clear()
    assert comparable(measured(path, bundle)) == whole
    assert calls == jobs[2:]
    calls.clear()
    assert comparable(measured(path, bundle)) == whole
    assert calls == []
    assert [row["name"] for row in json.loads(path.read_text())] == [outcome.name for outcome in whole]


@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"search": {"steps": 3}}},
        {"options": {"relaxation": {"oracle": "analytic"}}},
        {"digest": "another"},
        {"references": REFERENCES[:1]},
        {"references": [replace(REFERENCES[0], crystal=rock_salt(5.7)), *REFERENCES[1:]]},
    ],
)
def test_rows_of_another_measurement_stay(
    calls: list[tuple[str, int]], bundle: WeightBundle, tmp_path: Path, changed: dict[str, Any]
) -> None:
    path = tmp_path / "rows.json"
    measured(path, bundle)
    content = path.read_bytes()
    calls.clear()
    with pytest.raises(DataError, match="rows of other structures, settings or weights"):
        measured(path, bundle, **changed)
    assert (calls, path.read_bytes()) == ([], content)


@pytest.mark.parametrize("content", ["", "[1]", "{}x", '[{"name": "salt"}]', '{"a": 1}', "[[]]"])
def test_other_files_stay(calls: list[tuple[str, int]], bundle: WeightBundle, tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(DataError, match="holds no rows of lcoms evaluate"):
        measured(path, bundle)
    assert (calls, path.read_text()) == ([], content)


def test_a_formula_without_a_library_entry_is_a_row(
    bundle: WeightBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> Prediction:
        raise FormulaError("no luck.")

    monkeypatch.setattr(Predictor, "predict", refuse)
    first = measured(tmp_path / "rows.json", bundle, references=REFERENCES[:1])
    assert [outcome.note for outcome in first] == ["no luck."] * N_SEEDS
    assert measured(tmp_path / "rows.json", bundle, references=REFERENCES[:1]) == first


@pytest.mark.parametrize(
    "options",
    [
        {"relaxation": {"oracle": "none_of_these"}},
        {"relaxation": {"oracle": "analytic"}, "ranking": {"committee": ["none_of_these"]}},
    ],
)
def test_a_model_that_cannot_be_made_ends_it_before_the_first_prediction(
    calls: list[tuple[str, int]], bundle: WeightBundle, options: dict[str, Any]
) -> None:
    with pytest.raises(OracleError):
        evaluate_formulas(REFERENCES, Predictor(bundle, SPEC.with_options(options)))
    assert calls == []
