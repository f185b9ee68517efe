"""Metadata in the CIF of a candidate: title, method, energies, probability and citation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from lcoms import __version__
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate

CITATION: Mapping[str, str] = {
    "_citation_id": "primary",
    "_citation_title": "Latent Conservative Objective Models for Data-Driven Crystal Structure Prediction",
    "_citation_year": "2023",
    "_citation_details": "Qi, Geng, Rando, Ohama, Kumar and Levine, arXiv:2310.10056; the method that lcoms implements",
}


@dataclass(frozen=True)
class Made:
    """How the candidates of a prediction were made.

    Attributes:
        formula: predicted formula.
        n_candidates: number of candidates.
        ranked_by: names of the energy models used in the ranking; empty if nothing was relaxed.
    """

    formula: str
    n_candidates: int
    spec: PredictionSpec
    ranked_by: Sequence[str] = ()


def cif_items(rank: int, candidate: Candidate, made: Made, *, fitted: bool = False) -> dict[str, str]:
    """Return values by data name; names that begin with _lcoms are not in the CIF dictionaries; energies in eV/atom.

    Args:
        fitted: whether the cell was fitted to a powder pattern.
    """
    items = {
        "_publ_section_title": f"Predicted crystal structure of {made.formula}, rank {rank} of {made.n_candidates}",
        "_computing_structure_solution": f"lcoms {__version__}",
        "_computing_structure_refinement": _refinement(candidate, made, fitted=fitted),
        "_lcoms_rank": str(rank),
        "_lcoms_prototype_probability": f"{candidate.prototype_probability:.4f}",
    }
    if candidate.probability is not None:
        items["_lcoms_probability_ground_state"] = f"{candidate.probability:.4f}"
    if candidate.known is not None:
        items["_lcoms_known_as"] = candidate.known.id
    relaxed = candidate.relaxed
    energies = {
        "_lcoms_formation_energy": None if relaxed is None else relaxed.formation_energy,
        "_lcoms_energy_above_lowest": candidate.energy_above_lowest,
        "_lcoms_energy_above_hull": candidate.e_above_hull,
        "_lcoms_surrogate_formation_energy": candidate.decoded.energy_per_atom,
    }
    items |= {name: f"{value:.6f}" for name, value in energies.items() if value is not None and isfinite(value)}
    return {**items, **CITATION}


def _refinement(candidate: Candidate, made: Made, *, fitted: bool) -> str:
    """Return how the crystal was treated after it was decoded or taken from the library."""
    if candidate.relaxed is None or made.spec.relaxation is None:
        how = "not relaxed"
    else:
        where = f" at {made.spec.pressure:g} GPa" if made.spec.pressure else ""
        where += " in the given cell" if made.spec.constraints.cell is not None else ""
        how = f"relaxed with {made.spec.relaxation.oracle}{where} ({candidate.relaxed.status})"
        if len(made.ranked_by) > 1:
            how += f", ranked by {' and '.join(made.ranked_by)}"
    return f"{how}, cell fitted to a powder pattern" if fitted else how
