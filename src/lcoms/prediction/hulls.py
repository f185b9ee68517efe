"""Reference phases for the energies above the hull of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lcoms.core.errors import ConfigError, OptionError
from lcoms.oracles.base import evaluate_all
from lcoms.oracles.hull import Hull, phases_in, read_entries
from lcoms.oracles.references import load_references
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.rank import lowest_phase
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition, Crystal

PREDICTED_PHASES = "the phases predicted together"


def read_hull(path: Path, spec: PredictionSpec) -> Hull:
    """Return the hull of the phases in a file or folder (`oracles.hull.read_entries`).

    Raises:
        ConfigError: nothing is relaxed, so there are no energies to compare; or a pressure is set.
        DataError: the file cannot be read, or one of its crystals has no energy.
        OracleError: the energy model is not installed or cannot handle an element.
    """
    if spec.relaxation is None:
        raise ConfigError("the hull needs relaxed energies; relax the candidates (--relax).")
    if spec.pressure:
        raise ConfigError(
            f"the phases of {path} have no enthalpies at {spec.pressure:g} GPa; predict the competing formulas and the "
            f"elements in one command: lcoms predict FORMULAS --pressure {spec.pressure:g} --hull predicted."
        )
    name = spec.relaxation.oracle

    def evaluate(crystals: list[Crystal]) -> list[float]:
        model = make_oracle(name)
        model.check([crystal.composition for crystal in crystals])
        found = evaluate_all(model, crystals)
        return [e.energy / crystal.n_atoms for e, crystal in zip(found, crystals, strict=True)]

    references = load_references(name)
    return Hull(read_entries(path, evaluate, references, name), references, name=phases_in(path))


def predicted_hull(predictions: Sequence[Prediction], spec: PredictionSpec) -> Hull:
    """Return the hull of the lowest candidates and the elements; under pressure, elements must be predicted as well.

    Raises:
        ConfigError: nothing is relaxed, so there are no energies to compare; or candidates are limited by this hull,
            which is known only after they have been chosen.
    """
    if spec.relaxation is None:
        raise ConfigError("the hull needs relaxed energies; relax the candidates (--relax).")
    if spec.constraints.max_e_above is not None:
        sentence = "{} cannot refer to the hull of the phases predicted together, which is known last; omit one."
        raise OptionError(sentence, ["max_e_above"])
    found = [lowest_phase(prediction.composition, prediction.candidates) for prediction in predictions]
    references = None if spec.pressure else load_references(spec.relaxation.oracle)
    return Hull([phase for phase in found if phase is not None], references, name=PREDICTED_PHASES)


def missing_phases(composition: Composition, hull: Hull) -> str:
    """Return a sentence on the elements of a composition without a phase in the hull; empty if it has all."""
    lacking = hull.missing(composition)
    if not lacking:
        return ""
    remedy = "predict them in the same command" if hull.name == PREDICTED_PHASES else "add one to --hull"
    return f"the hull needs a phase of {' and '.join(lacking)}; {remedy}."
