"""Output of a prediction: CIF files, results.json, table rows and pymatgen structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lcoms.core.config import parse_json
from lcoms.core.disk import replace_folder
from lcoms.core.errors import ConfigError, LcomsError
from lcoms.diffraction.figure import figure_svg, fit_figure
from lcoms.diffraction.record import fit_record
from lcoms.export.codes import espresso_input
from lcoms.oracles.hull import Part
from lcoms.phonons.record import phonon_record
from lcoms.prediction.cif_record import Made, cif_items
from lcoms.prediction.stages import Candidate, PatternMatch, Relaxed
from lcoms.structure.cif_items import with_items
from lcoms.structure.crystal import Crystal
from lcoms.structure.folder_names import folder_name
from lcoms.structure.io import to_cif, to_extxyz, to_poscar, to_pymatgen
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import EXACT_SYMPREC, conventional, space_group_symbol

if TYPE_CHECKING:
    from pymatgen.core import Structure

RESULTS = "results.json"
PATTERN_FIGURE = "rank-01-pattern.svg"
OURS = ("rank-*", RESULTS)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and its parents.

    Raises:
        LcomsError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def require_no_prediction(folder: Path) -> None:
    """Check that other results would not replace those of a prediction.

    Raises:
        ConfigError: the folder holds a prediction.
    """
    if holds_prediction(folder):
        raise ConfigError(f"{folder} holds a prediction, which would be replaced; choose another folder with --out.")


def holds_prediction(folder: Path) -> bool:
    """Return whether a folder holds the results of a prediction."""
    with suppress(OSError, ValueError):
        found = parse_json((folder / RESULTS).read_text(encoding="utf-8"))
        return isinstance(found, dict) and "candidates" in found
    return False


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files of one formula, replacing those of an earlier prediction, all or none.

    Raises:
        LcomsError: the folder cannot be written.
    """
    try:
        replace_folder(folder, files, ours=OURS)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def results_folder(out: Path, formula: str) -> Path:
    """Return the results folder of a formula, named after it unless a folder that differs only in case exists."""
    try:
        names = [path.name for path in out.iterdir()]
    except OSError:
        names = []
    taken = {name.casefold(): name for name in names}
    marked = folder_name(formula)
    for name in (formula, marked, f"{marked}-"):
        if taken.get(name.casefold(), name) == name:
            return out / name
    return out / marked


def candidate_files(candidates: Sequence[Candidate], made: Made, formats: Sequence[str] = ("cif",)) -> dict[str, str]:
    """Return the names and texts of a file in each format for each candidate, in its conventional cell.

    Candidates fitted to a powder pattern have a second file with the fitted cell; the fit of the first one is added as
    a figure.

    Args:
        made: how the candidates were made, as stated in the CIFs.

    Raises:
        ConfigError: a format is unknown.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ConfigError(f"unknown format {unknown[0]!r}; choose from {', '.join(FORMATS)}.")
    files = {}
    for rank, candidate in enumerate(candidates, 1):
        for name in formats:
            suffix, write = FORMATS[name]
            items = cif_items(rank, candidate, made)
            files[f"rank-{rank:02d}.{suffix}"] = write(conventional(candidate.crystal), items)
            if candidate.pattern is not None:
                items = cif_items(rank, candidate, made, fitted=True)
                files[f"rank-{rank:02d}-fitted.{suffix}"] = write(conventional(candidate.pattern.fit.crystal), items)
    if candidates and candidates[0].pattern is not None:
        files[PATTERN_FIGURE] = figure_svg(fit_figure(candidates[0].pattern.fit, "rank 1"))
    return files


def cif_text(rank: int, candidate: Candidate, made: Made) -> str:
    """Return the text of rank-NN.cif."""
    return FORMATS["cif"].write(conventional(candidate.crystal), cif_items(rank, candidate, made))


class Format(NamedTuple):
    """Suffix of a file format, and the function that writes a crystal and, in a CIF, items by data name."""

    suffix: str
    write: Callable[[Crystal, Mapping[str, str]], str]


FORMATS: Mapping[str, Format] = {
    "cif": Format("cif", lambda crystal, items: with_items(to_cif(crystal, symprec=EXACT_SYMPREC), items)),
    "poscar": Format("vasp", lambda crystal, _: to_poscar(crystal)),
    "extxyz": Format("extxyz", lambda crystal, _: to_extxyz([crystal])),
    "qe": Format("pwi", lambda crystal, _: espresso_input(crystal)),
}


def cif_name(rank: int) -> str:
    """Return the file name of a candidate."""
    return f"rank-{rank:02d}.cif"


def to_structure(rank: int, candidate: Candidate) -> Structure:
    """Return a candidate as a pymatgen structure, with its results in `properties`, named as in `row`; eV/atom."""
    structure = to_pymatgen(candidate.crystal)
    structure.properties = {
        "rank": rank,
        "score": candidate.score,
        "probability": candidate.probability,
        "space_group": candidate.space_group,
        "surrogate_energy": candidate.decoded.energy_per_atom,
        "prototype_probability": candidate.prototype_probability,
        "known": None if candidate.known is None else candidate.known.id,
        "source": candidate.proposal.source,
    }
    if candidate.relaxed is not None:
        structure.properties["formation_energy"] = candidate.relaxed.formation_energy
        structure.properties["energy_above_lowest"] = candidate.energy_above_lowest
        structure.properties["e_above_hull"] = candidate.e_above_hull
    return structure


def row(rank: int, candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as a table row; energies in eV/atom, volume in cubic angstrom per atom."""
    relaxed = candidate.relaxed
    return {
        "rank": rank,
        "space_group": candidate.space_group,
        "space_group_symbol": space_group_symbol(candidate.space_group),
        "n_atoms": candidate.crystal.n_atoms,
        "volume_per_atom": candidate.crystal.volume / candidate.crystal.n_atoms,
        "score": candidate.score,
        "probability": nan if candidate.probability is None else candidate.probability,
        "formation_energy": nan if relaxed is None or relaxed.formation_energy is None else relaxed.formation_energy,
        "energy_above_lowest": candidate.energy_above_lowest,
        "e_above_hull": nan if candidate.e_above_hull is None else candidate.e_above_hull,
        "surrogate_energy": candidate.decoded.energy_per_atom,
        "prototype_probability": candidate.prototype_probability,
        "n_found": candidate.n_found,
        "rwp": nan if candidate.pattern is None else candidate.pattern.fit.rwp,
        "known": "" if candidate.known is None else candidate.known.id,
        "source": candidate.proposal.source,
        "source_formula": candidate.proposal.formula,
    }


def candidate_record(rank: int, candidate: Candidate) -> dict[str, Any]:
    """Return everything about a candidate, ready for JSON."""
    decoded, proposal = candidate.decoded, candidate.proposal
    return {
        "rank": rank,
        "cif": cif_name(rank),
        "energy_per_atom": round(decoded.energy_per_atom, 6),
        "surrogate_energy": round(decoded.energy_per_atom, 6),
        "latent_energy_per_atom": round(decoded.latent_energy, 6),
        "start_energy_per_atom": round(decoded.start_energy, 6),
        "latent_distance": round(decoded.latent_distance, 4),
        "score": round(candidate.score, 6),
        "probability": _number(candidate.probability),
        "space_group": candidate.space_group,
        "space_group_symbol": space_group_symbol(candidate.space_group),
        "symprec": candidate.symprec,
        "shortest_distance": round(candidate.shortest_distance, 4),
        "volume_per_atom": round(candidate.crystal.volume / candidate.crystal.n_atoms, 4),
        "known": None if candidate.known is None else asdict(candidate.known),
        "pattern": None if candidate.pattern is None else _pattern(candidate.pattern),
        "n_found": candidate.n_found,
        "prototype_probability": round(candidate.prototype_probability, 4),
        "others": [{"source": other.source, "formula": other.formula} for other in decoded.others],
        "descent_energies": [_number(energy) for energy in decoded.descent_energies],
        "relaxation": None if candidate.relaxed is None else _relaxation(candidate, candidate.relaxed),
        "phonons": phonon_record(candidate.phonons),
        "proposal": {
            "source": proposal.source,
            "formula": proposal.formula,
            "chemical_distance": proposal.distance if isfinite(proposal.distance) else None,
            "formula_units": proposal.n_formula_units,
        },
        "primitive_cell": _cell(candidate.crystal),
    }


def _relaxation(candidate: Candidate, relaxed: Relaxed) -> dict[str, Any]:
    return {
        "status": relaxed.status,
        "total_energy_per_atom": _number(relaxed.energy_per_atom - relaxed.pressure_volume),
        "enthalpy_per_atom": _number(relaxed.energy_per_atom) if relaxed.pressure else None,
        "formation_energy_per_atom": _number(relaxed.formation_energy),
        "committee_energies_per_atom": [_number(e - relaxed.pressure_volume) for e in relaxed.further_energies],
        "energy_above_lowest": _number(candidate.energy_above_lowest),
        "e_above_hull": _number(candidate.e_above_hull),
        "e_above_hull_spread": None if candidate.hull is None else _number(candidate.hull.spread),
        "hull": None if candidate.hull is None else candidate.hull.phases,
        "decomposition": None if candidate.hull is None else [_part(part) for part in candidate.hull.decomposition],
        "n_steps": relaxed.n_steps,
        "energies": [_number(energy) for energy in relaxed.energies],
        "decoded_cell": _cell(relaxed.decoded.crystal),
    }


def _part(part: Part) -> dict[str, Any]:
    return {"formula": part.formula, "share_of_atoms": round(part.share, 6), "id": part.id or None}


def _pattern(match: PatternMatch) -> dict[str, Any]:
    return {"probability": round(match.probability, 6), **fit_record(match.fit)}


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


def cannot_write(folder: Path, error: OSError) -> LcomsError:
    """Return the error for a results folder that cannot be written."""
    return LcomsError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder with --out.")
