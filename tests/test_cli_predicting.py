"""Many formulas in one run of `lcoms predict`: each is written and released before the next search."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from lcoms.cli.main import run
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.result import Prediction
from lcoms.structure.crystal import Composition

FORMULAS = ("NaCl", "ZnO", "SrTiO3", "SrO")


@pytest.mark.parametrize("option", ["--quiet", "--report", "--json", "--verbose"])
def test_no_more_than_the_last_prediction_is_kept(
    option: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory therefore does not grow with the number of formulas."""
    made: list[weakref.ref[Any]] = []
    kept: list[int] = []
    predict = Predictor.predict

    def watched(self: Predictor, formula: str | Composition, **options: Any) -> Prediction:
        gc.collect()
        kept.append(len({id(one) for one in (ref() for ref in made) if one is not None}))
        found = predict(self, formula, **options)
        made.extend(weakref.ref(one) for one in (found.decoded, *(c.crystal for c in found.candidates[:1])))
        return found

    monkeypatch.setattr(Predictor, "predict", watched)
    options = ("--no-relax", "--starts", "4", "--steps", "0", "--weights", str(tiny_weights), "--out", str(tmp_path))
    assert run(["predict", *FORMULAS, option, *options]) == 0
    assert len(kept) == len(FORMULAS)
    assert len(made) == 2 * len(FORMULAS)
    assert max(kept) <= 2  # the decoded set and the first crystal of the one before


@pytest.mark.parametrize("width", [100, 60, 45])
@pytest.mark.parametrize("committee", [(), ("--committee", "lcoms.oracles.analytic:AnalyticOracle")])
def test_the_note_tells_of_the_columns_that_are_shown(
    width: int, committee: tuple[str, ...], tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    options = (
        "--oracle",
        "analytic",
        *committee,
        "--starts",
        "4",
        "--steps",
        "0",
        "--n-relax",
        "2",
        "--processes",
        "1",
    )
    assert run(["predict", "NaCl", *options, "--weights", str(tiny_weights), "--out", str(tmp_path)]) == 0
    table, _, note = capsys.readouterr().out.partition("Formation energies")
    heading = next(line for line in table.splitlines() if "space group" in line)
    note = " ".join(note.split())
    assert ("surrogate" in heading) == ("before relaxation" in note) == (width > 60)
    assert ("above" in heading and bool(committee)) == ("`above` is the mean" in note)
