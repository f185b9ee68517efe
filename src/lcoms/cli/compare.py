"""`lcoms compare`: comparison of two crystals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.structures import require_outputs, short_names
from lcoms.core.disk import write_whole
from lcoms.core.errors import FileFormatError

if TYPE_CHECKING:
    from lcoms.structure.comparison import Comparison
    from lcoms.structure.crystal import Crystal


def compare(
    first: Annotated[Path, typer.Argument(help="CIF, POSCAR or extxyz file with one crystal.")],
    second: Annotated[Path, typer.Argument(help="File to compare it with.")],
    symprec: Annotated[float, typer.Option(help="Tolerance of the space groups, angstrom.", min=1e-6, max=1.0)] = 0.1,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the comparison to this JSON file.")] = None,
) -> None:
    """Decide whether two crystals have the same structure, map their atoms, and compare volumes and space groups."""
    from lcoms.structure.comparison import compare as compared

    require_outputs([json_out], (first, second))
    crystals = _only(first), _only(second)
    found = compared(*crystals, symprec=symprec)
    _print((first, second), crystals, found)
    if json_out is not None:
        write_whole(json_out, _to_json((first, second), crystals, found))


def _only(path: Path) -> Crystal:
    from lcoms.structure.io import read_crystals

    crystals = read_crystals(path)
    if len(crystals) != 1:
        raise FileFormatError(f"{path}: holds {len(crystals)} crystals; give a file of one.")
    return crystals[0]


def _print(paths: tuple[Path, Path], crystals: tuple[Crystal, Crystal], found: Comparison) -> None:
    from lcoms.structure.symmetry import space_group_symbol

    names = short_names([str(path) for path in paths])
    for path, crystal, volume, group in zip(paths, crystals, found.volume_per_atom, found.space_groups, strict=True):
        typer.echo(
            f"{names[str(path)]}: {crystal.composition.formula}, {space_group_symbol(group)} ({group}), "
            f"{volume:.3f} cubic angstrom/atom"
        )
    if not found.same_composition:
        typer.echo("different compositions; they cannot match.")
        return
    how = "strict" if found.strict else "loose, not strict" if found.loose else "no"
    typer.echo(f"match: {how} (pymatgen's StructureMatcher)")
    if found.rms is not None and found.rms_angstrom is not None:
        typer.echo(f"RMSE {found.rms:.4f} of the cube root of the volume per atom, {found.rms_angstrom:.4f} angstrom")
    volume = found.volume_per_atom[1] / found.volume_per_atom[0] - 1
    typer.echo(f"volume per atom {volume:+.2%}; space groups {'alike' if found.same_space_group else 'differ'}")
    if found.mapping:
        typer.echo(
            "pairs of atoms (numbered from 1) of the first and the second crystal, and their distance in angstrom:"
        )
        for pair in found.mapping:
            typer.echo(f"  {pair.symbol:<2} {pair.first:>4} {pair.second:>4}  {pair.distance:.4f}")
    elif found.rms is not None:
        typer.echo("no mapping of atoms: neither cell is a multiple of the other.")


def _to_json(paths: tuple[Path, Path], crystals: tuple[Crystal, Crystal], found: Comparison) -> str:
    from lcoms import __version__

    content = {
        "lcoms_version": __version__,
        "files": [str(path) for path in paths],
        "formulas": [crystal.composition.formula for crystal in crystals],
        "same_composition": found.same_composition,
        "match_strict": found.strict,
        "match_loose": found.loose,
        "rmse": found.rms,
        "rmse_angstrom": found.rms_angstrom,
        "volume_per_atom": list(found.volume_per_atom),
        "space_groups": list(found.space_groups),
        "mapping": [
            {"first": p.first, "second": p.second, "element": p.symbol, "distance": round(p.distance, 6)}
            for p in found.mapping
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
