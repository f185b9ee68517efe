"""The Python front door: `lcoms.predict("NaCl")`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.models.weights import Weights, load_weights
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.calibrate import load_confidence
from lcoms.prediction.candidate import Candidate
from lcoms.prediction.pipeline import PredictConfig, Prediction, RefineConfig, for_relaxing, predict_crystals
from lcoms.prediction.presets import configs_for
from lcoms.prediction.refine import refine_all, to_relax
from lcoms.structure.crystal import Composition
from lcoms.structure.io import to_pymatgen

if TYPE_CHECKING:
    from pymatgen.core import Structure


def predict(
    formula: str,
    *,
    effort: str = "normal",
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
        effort: fast, normal or thorough; options say what differs from it.
        relax: relax the best candidates with an energy oracle and rank by it; None: where CHGNet is installed.
        weights: a folder of trained weights; None takes those that ship with the package.
        processes: that relax; None: as many as there are cores and work for them.
        options: fields of `PredictConfig` and `RefineConfig`, such as seed, n_candidates, oracle or second_oracle.

    Raises:
        FormulaError: the formula cannot be read or handled.
        ConfigError: an unknown effort or option.
        OracleError: the oracle is unknown, not installed, or cannot handle the elements.
    """
    refining = {name: options.pop(name) for name in [f.name for f in fields(RefineConfig)] if name in options}
    config, refined = configs_for(effort, search=options, refinement=refining)
    if relax is None:
        relax = find_spec("chgnet") is not None or bool(refining.get("oracle"))
    composition, loaded = Composition.from_formula(formula), load_weights(None if weights is None else Path(weights))
    prediction = predict_ranked(composition, loaded, config, refined if relax else None, processes=processes)
    return [_structure(rank, candidate) for rank, candidate in enumerate(prediction.candidates, 1)]


def predict_ranked(
    composition: Composition,
    weights: Weights,
    config: PredictConfig,
    refined: RefineConfig | None,
    *,
    processes: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Prediction:
    """The whole way from a composition to its ranked candidates.

    Args:
        refined: how candidates are relaxed and ranked; None: not at all.
        processes: that relax; None: as many as there are cores and work for them.
        progress: called with what is done now, a few words each time.

    Raises:
        FormulaError: the weights cannot handle the composition.
        OracleError: the oracle is unknown, not installed, or cannot handle the elements.
    """
    tell = progress or (lambda _: None)
    tell("searching")
    if refined is None:
        return predict_crystals(composition, weights, config)
    make_oracle(refined.oracle).check([composition])
    prediction = predict_crystals(composition, weights, for_relaxing(config, refined))
    n, done = len(to_relax(prediction, refined)), itertools.count(1)
    tell(f"relaxing {n} candidates")
    (prediction,) = refine_all(
        [prediction],
        refined,
        n_candidates=config.n_candidates,
        confidence=load_confidence(weights.folder),
        processes=processes,
        progress=lambda: tell(f"relaxing candidates: {next(done)} of {n}"),
    )
    return prediction


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
