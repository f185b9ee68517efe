"""Formulas that a prediction can handle but probably gets wrong: short-sighted energy models, and molecules."""

from __future__ import annotations

from lcoms.oracles.energy_models import EnergyModels
from lcoms.oracles.reach import element_beyond_reach
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import SYMBOLS

MOLECULAR = frozenset({"H", "C", "N", "O", "F", "S", "Cl", "Br", "I"})
"""Elements that form mostly molecules with each other; salts such as NH4Cl and carbon are exceptions."""


def doubts(energy_models: EnergyModels | None, composition: Composition) -> list[str]:
    """Return sentences on why a prediction is doubtful: an energy model does not reach the neighbors, or molecules.

    Args:
        energy_models: models that relax and rank; None if nothing is relaxed.
    """
    models = () if energy_models is None else energy_models.models
    said = [one for model in models if (one := element_beyond_reach(model, composition))]
    return [*said, *of_molecules(composition)]


def of_molecules(composition: Composition) -> list[str]:
    """Return a sentence, in a list, if the composition probably forms molecules."""
    symbols = {SYMBOLS[z] for z in composition.atomic_numbers}
    if symbols == {"C"} or not symbols <= MOLECULAR:
        return []
    return ["it probably forms molecules; molecular crystals are out of scope: trust only candidates marked known."]
