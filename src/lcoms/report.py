"""What a prediction leaves behind: a folder of CIF files with results.json, and a table to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcoms import __version__
from lcoms.config import to_dict
from lcoms.errors import LcomsError
from lcoms.io import to_cif
from lcoms.lattice import parameters_from_lattice
from lcoms.prediction import Candidate, Prediction
from lcoms.symmetry import conventional, space_group_symbol

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
        raise _cannot_write(folder, error) from error


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
        for old in folder.glob("rank-*.cif"):
            old.unlink()
        for rank, candidate in enumerate(prediction.candidates, 1):
            _write(folder / cif_name(rank), to_cif(conventional(candidate.crystal), symprec=CIF_SYMPREC))
        _write(folder / RESULTS, json.dumps(results(prediction), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder


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
        "units": {"energy": "eV/atom, formation energy predicted by the surrogate", "length": "angstrom"},
        "starts": prediction.n_starts,
        "dropped": {
            "invalid": prediction.n_invalid,
            "atoms too close": prediction.n_too_close,
            "duplicates": prediction.n_duplicates,
        },
        "candidates": [_candidate(rank, c) for rank, c in enumerate(prediction.candidates, 1)],
    }


def _candidate(rank: int, candidate: Candidate) -> dict[str, Any]:
    lengths, angles = parameters_from_lattice(candidate.crystal.lattice)
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
        "start": {
            "source": start.source,
            "formula": start.formula,
            "chemical_distance": None if start.distance != start.distance else start.distance,
            "formula_units": start.n_formula_units,
        },
        "primitive_cell": {
            "lengths": lengths.round(5).tolist(),
            "angles": angles.round(4).tolist(),
            "lattice": candidate.crystal.lattice.round(6).tolist(),
            "atomic_numbers": candidate.crystal.atomic_numbers.tolist(),
            "frac_coords": candidate.crystal.frac_coords.round(6).tolist(),
        },
    }


def table(prediction: Prediction) -> Table:
    """Rank, predicted energy, space group, conventional cell, shortest distance, how often found, origin."""
    from rich import box
    from rich.table import Table

    rows = Table(
        title=prediction.composition.reduced_formula,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name, justify, width in (
        ("", "right", 2),
        ("eV/atom", "right", 7),
        ("space group", "left", 13),
        ("cell, angstrom", "left", 27),
        ("closest", "right", 7),
        ("n", "right", 2),
        ("start", "left", 5),
    ):
        rows.add_column(name, justify=justify, min_width=width, no_wrap=True)  # type: ignore[arg-type]
    for rank, candidate in enumerate(prediction.candidates, 1):
        rows.add_row(
            str(rank),
            f"{candidate.energy_per_atom:.3f}",
            f"{space_group_symbol(candidate.space_group)} ({candidate.space_group})",
            _cell_text(candidate),
            f"{candidate.shortest_distance:.2f}",
            str(candidate.count),
            candidate.start.formula or candidate.start.source,
        )
    return rows


def _cell_text(candidate: Candidate) -> str:
    """Lengths, and the angles that the crystal system leaves free."""
    lengths, angles = parameters_from_lattice(conventional(candidate.crystal).lattice)
    text = " ".join(f"{length:.2f}" for length in lengths)
    if candidate.space_group < FIRST_MONOCLINIC:
        return text + " / " + " ".join(f"{angle:.0f}" for angle in angles)
    if candidate.space_group < FIRST_ORTHORHOMBIC:
        return text + f" / {angles[1]:.0f}"
    return text


def _cannot_write(folder: Path, error: OSError) -> LcomsError:
    return LcomsError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out.")


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
