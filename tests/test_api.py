"""The Python front door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

import lcoms
from lcoms.core.errors import ConfigError, FormulaError, WeightsError


def test_predict_gives_ranked_pymatgen_structures(tiny_weights: Path) -> None:
    structures = lcoms.predict("NaCl", relax=False, weights=tiny_weights, n_starts=6, steps=3, seed=2)
    assert structures
    assert all(isinstance(structure, Structure) for structure in structures)
    assert {structure.composition.reduced_formula for structure in structures} == {"NaCl"}
    assert [structure.properties["rank"] for structure in structures] == list(range(1, len(structures) + 1))
    first = structures[0].properties
    assert set(first) >= {"energy_per_atom", "space_group", "start"}
    assert np.isfinite(first["energy_per_atom"])
    again = lcoms.predict("NaCl", relax=False, weights=str(tiny_weights), n_starts=6, steps=3, seed=2)
    assert [s.lattice.matrix.tolist() for s in again] == [s.lattice.matrix.tolist() for s in structures]


def test_options_are_those_of_a_prediction(tiny_weights: Path) -> None:
    (only,) = lcoms.predict(
        "SrTiO3",
        relax=False,
        weights=tiny_weights,
        n_starts=24,
        n_candidates=1,
        formula_units=[1, 1],
        steps=0,
    )
    assert len(only) == 5
    with pytest.raises(ConfigError, match="unknown option n_startz; did you mean n_starts"):
        lcoms.predict("NaCl", weights=tiny_weights, n_startz=3)
    with pytest.raises(ConfigError, match="n_starts: expected a whole number"):
        lcoms.predict("NaCl", weights=tiny_weights, n_starts="many")
    with pytest.raises(ConfigError, match="'moon' is not among library, prior, random"):
        lcoms.predict("NaCl", weights=tiny_weights, start="moon")


def test_bad_formulas_and_weights(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="did you mean NaCl"):
        lcoms.predict("Nacl", weights=tmp_path)  # the formula is read before the weights
    with pytest.raises(FormulaError, match="no crystal with Au"):
        lcoms.predict("AuCl", weights=tiny_weights)
    with pytest.raises(WeightsError, match="there is no file"):
        lcoms.predict("NaCl", weights=tmp_path)


def test_relaxed_structures_come_with_the_oracles_energies(tiny_weights: Path) -> None:
    options = {"n_starts": 4, "steps": 1, "n_relax": 2, "n_candidates": 2, "max_steps": 5}
    structures = lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", processes=1, **options)
    assert 1 <= len(structures) <= 2
    above = [structure.properties["energy_above_lowest"] for structure in structures]
    assert above[0] == 0
    assert above == sorted(above)
