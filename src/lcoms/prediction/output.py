"""What a prediction leaves behind: a folder of CIF files with results.json, and a table to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lcoms import __version__
from lcoms.core.config import to_dict
from lcoms.core.disk import write_together
from lcoms.core.errors import LcomsError
from lcoms.prediction.candidate import Candidate, Relaxation
from lcoms.prediction.pipeline import Prediction
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import conventional, space_group_symbol

if TYPE_CHECKING:
    from rich.table import Table

CIF_SYMPREC = 0.01
RESULTS = "results.json"
FIRST_MONOCLINIC = 3
FIRST_ORTHORHOMBIC = 16


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it.

    Raises:
        LcomsError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def write_prediction(prediction: Prediction, out: Path) -> Path:
    """Write OUT/FORMULA/rank-01.cif ... and results.json; CIF files of an earlier prediction there are removed.

    Returns:
        The folder of this formula.

    Raises:
        LcomsError: the folder cannot be written.
    """
    folder = out / prediction.composition.reduced_formula
    make_folder(folder)
    try:
        files = prediction_files(prediction)
        write_together(folder, files)
        for old in folder.glob("rank-*.cif"):
            if old.name not in files:
                old.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def prediction_files(prediction: Prediction) -> dict[str, str]:
    """Names and texts of the files of one formula, results.json last."""
    files = {
        cif_name(rank): to_cif(conventional(candidate.crystal), symprec=CIF_SYMPREC)
        for rank, candidate in enumerate(prediction.candidates, 1)
    }
    return files | {RESULTS: json.dumps(results(prediction), indent=1, allow_nan=False) + "\n"}


def cif_name(rank: int) -> str:
    """File name of a candidate."""
    return f"rank-{rank:02d}.cif"


def results(prediction: Prediction) -> dict[str, Any]:
    """Everything about a prediction, ready for JSON."""
    return {
        "formula": prediction.composition.reduced_formula,
        "lcoms_version": __version__,
        "weights": prediction.weights_digest,
        "options": to_dict(prediction.config),
        "relaxation": None if prediction.refined is None else to_dict(prediction.refined),
        "units": {"energy": "eV/atom; energy_per_atom is a formation energy by the surrogate", "length": "angstrom"},
        "confidence": prediction.confidence,
        "starts": prediction.n_starts,
        "dropped": {
            "invalid": prediction.n_invalid,
            "atoms too close": prediction.n_too_close,
            "duplicates": prediction.n_duplicates,
        },
        "failed_relaxations": list(prediction.failures),
        "candidates": [_candidate(rank, c) for rank, c in enumerate(prediction.candidates, 1)],
    }


def _candidate(rank: int, candidate: Candidate) -> dict[str, Any]:
    start = candidate.start
    return {
        "rank": rank,
        "cif": cif_name(rank),
        "energy_per_atom": round(candidate.energy_per_atom, 6),
        "latent_energy_per_atom": round(candidate.latent_energy, 6),
        "start_energy_per_atom": round(candidate.start_energy, 6),
        "latent_distance": round(candidate.latent_distance, 4),
        "score": round(candidate.score, 6),
        "space_group": candidate.space_group,
        "space_group_symbol": space_group_symbol(candidate.space_group),
        "symprec": candidate.symprec,
        "shortest_distance": round(candidate.shortest_distance, 4),
        "volume_per_atom": round(candidate.crystal.volume / candidate.crystal.n_atoms, 4),
        "times_found": candidate.count,
        "support": round(candidate.support, 4),
        "others": [{"source": other.source, "formula": other.formula} for other in candidate.others],
        "descent_energies": [_number(energy) for energy in candidate.descent_energies],
        "relaxation": None if candidate.relaxation is None else _relaxation(candidate.relaxation),
        "start": {
            "source": start.source,
            "formula": start.formula,
            "chemical_distance": None if start.distance != start.distance else start.distance,
            "formula_units": start.n_formula_units,
        },
        "primitive_cell": _cell(candidate.crystal),
    }


def _relaxation(relaxation: Relaxation) -> dict[str, Any]:
    return {
        "status": relaxation.status,
        "oracle_energy_per_atom": _number(relaxation.energy_per_atom),
        "oracle_formation_energy": _number(relaxation.formation_energy),
        "second_energy_per_atom": _number(relaxation.second_energy),
        "energy_above_lowest": _number(relaxation.energy_above_lowest),
        "e_above_hull": _number(relaxation.e_above_hull),
        "n_steps": relaxation.n_steps,
        "energies": [_number(energy) for energy in relaxation.energies],
        "decoded_cell": _cell(relaxation.decoded),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else round(value, 6)


def _cell(crystal: Crystal) -> dict[str, Any]:
    lengths, angles = parameters_from_lattice(crystal.lattice)
    return {
        "lengths": lengths.round(5).tolist(),
        "angles": angles.round(4).tolist(),
        "lattice": crystal.lattice.round(6).tolist(),
        "atomic_numbers": crystal.atomic_numbers.tolist(),
        "frac_coords": crystal.frac_coords.round(6).tolist(),
    }


Column = tuple[str, Literal["left", "right"], int, Callable[[Candidate], str]]
"""Heading, justification, width, and what stands in it."""
SHARED: tuple[Column, ...] = (
    ("space group", "left", 13, lambda c: f"{space_group_symbol(c.space_group)} ({c.space_group})"),
    ("cell, angstrom", "left", 22, lambda c: _cell_text(c)),
)
DECODED: tuple[Column, ...] = (
    ("eV/atom", "right", 7, lambda c: f"{c.energy_per_atom:.3f}"),
    *SHARED,
    ("closest", "right", 7, lambda c: f"{c.shortest_distance:.2f}"),
    ("votes", "right", 5, lambda c: f"{c.support:.0%}"),
    ("start", "left", 5, lambda c: c.start.formula or c.start.source),
)
RELAXED: tuple[Column, ...] = (
    ("E form", "right", 7, lambda c: _formation_text(c)),
    ("above", "right", 6, lambda c: _above_text(c)),
    *SHARED,
    ("surrogate", "right", 9, lambda c: f"{c.energy_per_atom:.3f}"),
    ("votes", "right", 5, lambda c: f"{c.support:.0%}"),
)
HULL: Column = ("hull", "right", 9, lambda c: _hull_text(c))


def table(prediction: Prediction) -> Table:
    """Rank, energies, space group, conventional cell, votes; shortest distance and origin if not relaxed."""
    from rich import box
    from rich.table import Table

    rows = Table(
        title=prediction.composition.reduced_formula,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    columns = DECODED if prediction.refined is None else RELAXED
    if any(c.relaxation is not None and c.relaxation.e_above_hull is not None for c in prediction.candidates):
        columns = tuple(HULL if column[0] == "surrogate" else column for column in columns)
    rows.add_column("", justify="right", min_width=2, no_wrap=True)
    for name, justify, width, _ in columns:
        rows.add_column(name, justify=justify, min_width=width, no_wrap=True)
    for rank, candidate in enumerate(prediction.candidates, 1):
        rows.add_row(str(rank), *(text(candidate) for *_, text in columns))
    return rows


def _formation_text(candidate: Candidate) -> str:
    """Formation energy by the oracle; its energy, marked, where a reference element is missing."""
    relaxation = candidate.relaxation
    if relaxation is None or not isfinite(relaxation.energy_per_atom):
        return "-"
    if relaxation.formation_energy is None:
        return f"{relaxation.energy_per_atom:.3f}*"
    return f"{relaxation.formation_energy:.3f}"


def _above_text(candidate: Candidate) -> str:
    relaxation = candidate.relaxation
    if relaxation is None or not isfinite(relaxation.energy_above_lowest):
        return "-"
    return f"{relaxation.energy_above_lowest:.3f}"


def _hull_text(candidate: Candidate) -> str:
    relaxation = candidate.relaxation
    return "-" if relaxation is None or relaxation.e_above_hull is None else f"{relaxation.e_above_hull:.3f}"


def _cell_text(candidate: Candidate) -> str:
    """Lengths, and the angles that the crystal system leaves free."""
    lengths, angles = parameters_from_lattice(conventional(candidate.crystal).lattice)
    text = " ".join(f"{length:.2f}" for length in lengths)
    if candidate.space_group < FIRST_MONOCLINIC:
        return text + " / " + " ".join(f"{angle:.0f}" for angle in angles)
    if candidate.space_group < FIRST_ORTHORHOMBIC:
        return text + f" / {angles[1]:.0f}"
    return text


def cannot_write(folder: Path, error: OSError) -> LcomsError:
    """What is said where a folder of results cannot be written."""
    return LcomsError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder with --out.")
