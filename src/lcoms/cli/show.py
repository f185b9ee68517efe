"""`lcoms show`: the crystals read from files, and the problems found in the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.console import counted

if TYPE_CHECKING:
    from lcoms.structure.crystal import Crystal
    from lcoms.structure.reading import Reading


def show(
    files: Annotated[
        list[Path], typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list with one object per crystal or rejected entry.")
    ] = False,
) -> None:
    """Show the crystals that are read from files: formula, space group, cell, shortest distance, and warnings."""
    rows = [row for file in files for row in _rows_of(file)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, allow_nan=False))
    else:
        _print(rows)
    if any(row["error"] for row in rows):
        raise typer.Exit(2)


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """Return a row for each structure in a file, or in the files of a folder."""
    from lcoms.structure.io import no_structure_files, read_file, say_unread, structure_files

    paths = [path]
    if path.is_dir():
        try:
            paths = structure_files(path)
        except OSError as error:
            return [_refused(str(path), "", f"cannot be read ({error.strerror}).")]
        if not paths:
            return [_refused(str(path), "", f"the folder {no_structure_files(path)}")]
        say_unread(path)
    return [_row(str(file), reading) for file in paths for reading in read_file(file)]


def _refused(file: str, name: str, sentence: str) -> dict[str, Any]:
    empty = dict.fromkeys(("formula", "n_atoms", "space_group", "space_group_symbol", "volume", "density", "cell"))
    return {"file": file, "name": name, **empty, "shortest_distance": None, "warnings": [], "error": sentence}


def _row(file: str, reading: Reading) -> dict[str, Any]:
    """Return the row of one structure, in angstrom, degrees, cubic angstrom and g/cm3."""
    if reading.crystal is None:
        return _refused(file, reading.name, reading.error.sentence if reading.error else "")
    from lcoms.structure.lattice import parameters_from_lattice, shortest_distance
    from lcoms.structure.symmetry import EXACT_SYMPREC, space_group_number, space_group_symbol

    crystal = reading.crystal
    group = space_group_number(crystal, symprec=EXACT_SYMPREC)
    lengths, angles = parameters_from_lattice(crystal.lattice)
    return {
        "file": file,
        "name": reading.name,
        "formula": crystal.composition.reduced_formula,
        "n_atoms": crystal.n_atoms,
        "space_group": group,
        "space_group_symbol": space_group_symbol(group),
        "volume": round(crystal.volume, 4),
        "density": round(_density(crystal), 4),
        "cell": [*(round(float(value), 4) for value in lengths), *(round(float(value), 3) for value in angles)],
        "shortest_distance": round(shortest_distance(crystal.lattice, crystal.frac_coords), 4),
        "warnings": list(reading.warnings),
        "error": None,
    }


def _density(crystal: Crystal) -> float:
    """Return the density in g/cm3."""
    from ase.data import atomic_masses
    from ase.units import _amu

    return float(atomic_masses[crystal.atomic_numbers].sum() * _amu * 1e3 / (crystal.volume * 1e-24))


def _print(rows: list[dict[str, Any]]) -> None:
    """Print one paragraph per structure, so that nothing is truncated in a narrow terminal."""
    for row in rows:
        typer.echo(row["file"] + (f" ({row['name']})" if row["name"] else ""))
        if row["error"]:
            typer.echo(f"  rejected: {row['error']}")
            continue
        a, b, c, alpha, beta, gamma = row["cell"]
        group = f"{row['space_group_symbol']} ({row['space_group']})"
        typer.echo(f"  {row['formula']:<14} {row['n_atoms']:>4} atoms  {group}")
        typer.echo(f"  a {a:.4f}  b {b:.4f}  c {c:.4f} angstrom")
        typer.echo(f"  alpha {alpha:.2f}  beta {beta:.2f}  gamma {gamma:.2f} degrees")
        typer.echo(
            f"  {row['volume']:.2f} cubic angstrom, {row['density']:.3f} g/cm3, shortest {row['shortest_distance']:.3f}"
        )
        for sentence in row["warnings"]:
            typer.echo(f"  warning: {sentence}")
    n_refused = sum(bool(row["error"]) for row in rows)
    typer.echo(f"{counted(len(rows) - n_refused)} read, {n_refused} rejected.")
