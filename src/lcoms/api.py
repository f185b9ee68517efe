"""The Python front door: `lcoms.predict("NaCl")`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.config import from_dict
from lcoms.crystal import Composition
from lcoms.io import to_pymatgen
from lcoms.models.weights import load_weights
from lcoms.prediction import PredictConfig, predict_crystals

if TYPE_CHECKING:
    from pymatgen.core import Structure


def predict(formula: str, *, weights: str | Path | None = None, **options: object) -> list[Structure]:
    """Ranked crystals of a formula as pymatgen structures, best first.

    Each structure has `properties`: energy_per_atom (formation energy predicted by the surrogate, eV/atom),
    space_group, rank and start.

    Args:
        formula: such as SrTiO3.
        weights: a folder of trained weights; None takes those that ship with the package.
        options: fields of `PredictConfig`, such as seed or n_candidates.

    Raises:
        FormulaError: the formula cannot be read or handled.
        ConfigError: an unknown option.
    """
    prediction = predict_crystals(
        Composition.from_formula(formula),
        load_weights(None if weights is None else Path(weights)),
        from_dict(PredictConfig, options),
    )
    structures = []
    for rank, candidate in enumerate(prediction.candidates, 1):
        structure = to_pymatgen(candidate.crystal)
        structure.properties = {
            "rank": rank,
            "energy_per_atom": candidate.energy_per_atom,
            "space_group": candidate.space_group,
            "start": candidate.start.source,
        }
        structures.append(structure)
    return structures
