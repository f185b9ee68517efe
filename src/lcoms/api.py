"""The Python front door: `lcoms.predict("NaCl")`."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.confidence import ConfidenceModel
from lcoms.config import from_dict
from lcoms.crystal import Composition
from lcoms.io import to_pymatgen
from lcoms.models.weights import load_weights
from lcoms.oracles.registry import make_oracle
from lcoms.prediction import Candidate, PredictConfig, RefineConfig, predict_crystals
from lcoms.refinement import refine_all

if TYPE_CHECKING:
    from pymatgen.core import Structure


def predict(
    formula: str,
    *,
    relax: bool | None = None,
    weights: str | Path | None = None,
    processes: int | None = None,
    **options: object,
) -> list[Structure]:
    """Ranked crystals of a formula as pymatgen structures, best first.

    Each structure has `properties`: rank, space_group, start, energy_per_atom (formation energy predicted by the
    surrogate, eV/atom) and, of relaxed crystals, oracle_formation_energy and energy_above_lowest (eV/atom).

    Args:
        formula: such as SrTiO3.
        relax: relax the best candidates with an energy oracle and rank by it; None: where CHGNet is installed.
        weights: a folder of trained weights; None takes those that ship with the package.
        processes: that relax; None: as many as there are cores and work for them.
        options: fields of `PredictConfig` and `RefineConfig`, such as seed, n_candidates or oracle.

    Raises:
        FormulaError: the formula cannot be read or handled.
        ConfigError: an unknown option.
        OracleError: the oracle is unknown, not installed, or cannot handle the elements.
    """
    refining = {name: options.pop(name) for name in [f.name for f in fields(RefineConfig)] if name in options}
    refined = from_dict(RefineConfig, refining)
    config = from_dict(PredictConfig, options)
    if relax is None:
        relax = find_spec("chgnet") is not None or bool(refining.get("oracle"))
    composition, loaded = Composition.from_formula(formula), load_weights(None if weights is None else Path(weights))
    if relax:
        make_oracle(refined.oracle).check([composition])
        wider = replace(config, n_candidates=max(config.n_candidates, refined.n_relax))
        prediction = predict_crystals(composition, loaded, wider)
        (prediction,) = refine_all(
            [prediction],
            refined,
            n_candidates=config.n_candidates,
            confidence=ConfidenceModel.load(loaded.folder),
            processes=processes,
        )
    else:
        prediction = predict_crystals(composition, loaded, config)
    return [_structure(rank, candidate) for rank, candidate in enumerate(prediction.candidates, 1)]


def _structure(rank: int, candidate: Candidate) -> Structure:
    structure = to_pymatgen(candidate.crystal)
    structure.properties = {
        "rank": rank,
        "energy_per_atom": candidate.energy_per_atom,
        "space_group": candidate.space_group,
        "start": candidate.start.source,
    }
    if candidate.relaxation is not None:
        structure.properties["oracle_formation_energy"] = candidate.relaxation.formation_energy
        structure.properties["energy_above_lowest"] = candidate.relaxation.energy_above_lowest
    return structure
