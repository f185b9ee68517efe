"""Cells are as large as similar compounds have them, and what a limit leaves out is said; with the shipped weights."""

from __future__ import annotations

import pytest

from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.result import Prediction
from lcoms.prediction.table import sentences
from lcoms.structure.crystal import Composition


def predicted(formula: str, max_atoms: int | None) -> Prediction:
    options = Options(relax=False, starts=4, steps=0, max_atoms=max_atoms, n_candidates=60)
    return Predictor.load(spec=spec_for(options), processes=1).predict(Composition.from_formula(formula))


def cells(prediction: Prediction) -> set[tuple[int, int]]:
    """Space groups of the candidates, with atoms in their cells."""
    return {(one.space_group, one.crystal.n_atoms) for one in prediction.candidates}


@pytest.mark.parametrize(("formula", "group", "n_atoms"), [("Y2O3", 206, 40), ("Y3Al5O12", 230, 80)])
def test_cells_of_similar_compounds_are_tried_without_a_limit(formula: str, group: int, n_atoms: int) -> None:
    made = predicted(formula, None)
    assert (group, n_atoms) in cells(made)
    assert not any("too large to be tried" in sentence for sentence in sentences(made))


@pytest.mark.parametrize(("formula", "group", "n_atoms"), [("Mg3N2", 206, 40), ("Y3Al5O12", 230, 80)])
def test_what_a_limit_leaves_out_is_said(formula: str, group: int, n_atoms: int) -> None:
    assert (group, n_atoms) in cells(predicted(formula, n_atoms))
    made = predicted(formula, n_atoms - 1)
    assert max(n for _, n in cells(made)) < n_atoms
    (sentence,) = [sentence for sentence in sentences(made) if "too large to be tried" in sentence]
    assert f"such as one of {n_atoms} atoms" in sentence
    assert f"--max-atoms {n_atoms}" in sentence
