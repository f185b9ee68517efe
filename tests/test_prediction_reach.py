"""Formulas whose predictions are doubtful are reported before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.reach import doubts
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition

MOLECULES = ("CO2", "H2O", "N2", "CH4", "SF6", "I2")
CRYSTALS = ("C", "SiC", "SiO2", "NaCl", "BN", "Fe", "P", "LiH", "KNO3")


@pytest.fixture(scope="module")
def predictor(tiny_weights: Path) -> Predictor:
    return Predictor(WeightBundle.load(tiny_weights), PredictionSpec(relaxation=None))


@pytest.mark.parametrize("formula", MOLECULES)
def test_molecules_are_said_to_be_out_of_scope(formula: str, predictor: Predictor) -> None:
    (sentence,) = doubts(predictor.energy_models, Composition.from_formula(formula))
    assert "molecular crystals are out of scope" in sentence


@pytest.mark.parametrize("formula", CRYSTALS)
def test_other_formulas_are_not_doubted(formula: str, predictor: Predictor) -> None:
    assert doubts(predictor.energy_models, Composition.from_formula(formula)) == []
