"""`lcoms export`: folders of input files for other codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import complain
from lcoms.cli.structures import read_named
from lcoms.core.disk import require_writable, write_together
from lcoms.core.errors import ConfigError

if TYPE_CHECKING:
    from lcoms.structure.crystal import Crystal

FITTED = "-fitted"


def export(
    files: Annotated[list[Path], typer.Argument(help="Structure files, or folders of them such as results/NaCl.")],
    to: Annotated[str, typer.Option("--to", help="vasp, espresso, gpaw, abinit, lammps or optimade.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of crystals to export from each folder or file.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write into.", show_default="export-CODE")
    ] = None,
) -> None:
    """Write input files for another code: the structure, settings of a relaxation, and k-points."""
    from lcoms.export.codes import CODES, export_files

    code = to.strip().lower()
    if code not in CODES:
        raise ConfigError(f"{to!r} is not a code that lcoms can export to; choose {', '.join(CODES)}.")
    folder = Path(f"export-{code}") if out is None else out
    require_writable(folder / "README.txt")
    failed = 0
    written: set[Path] = set()
    for given in files:
        found, broken = read_named([given])
        for name, reason in broken:
            complain(f"{name}: {reason}")
        failed += len(broken)
        found = _without_fitted(found, given)
        for name, crystal in found[:n]:
            target = _free(folder / _folder_name(name), written)
            try:
                contents = export_files(crystal, code)
                _require_same(target, contents)
            except ConfigError as error:
                complain(f"{name}: {error}")
                failed += 1
                continue
            write_together(target, contents)
            typer.echo(f"{crystal.composition.formula}: {target} ({', '.join(contents)})")
        if len(found) > n:
            typer.echo(f"{given}: exported the first {n} of {len(found)} crystals; use -n to export more.")
    if failed:
        raise typer.Exit(2)


def _require_same(target: Path, contents: Mapping[str, str]) -> None:
    """Check that no file of another crystal, or one that the user has changed, would be replaced.

    Raises:
        ConfigError: the folder has a file of other content.
    """
    for name, content in contents.items():
        path = target / name
        if path.exists() and not (path.is_file() and path.read_bytes() == content.encode()):
            raise ConfigError(f"{path} exists and differs; choose another folder with --out, or move {target} away.")


def _without_fitted(found: list[tuple[str, Crystal]], given: Path) -> list[tuple[str, Crystal]]:
    """Return the crystals of a folder without their copies in cells fitted to a pattern, such as rank-01-fitted.cif."""
    stems = {Path(name).stem for name, _ in found}
    copies = {stem for stem in stems if stem.endswith(FITTED) and stem.removesuffix(FITTED) in stems}
    if copies:
        typer.echo(f"{given}: files with fitted cells ({min(copies)}, ...) are left out; name a file to export it.")
    return [(name, crystal) for name, crystal in found if Path(name).stem not in copies]


def _folder_name(name: str) -> str:
    """Return the file name without extension, with the number of the crystal if the file has several."""
    path, _, number = name.partition("#")
    stem = Path(path).stem or Path(path).name
    return f"{stem}-{number}" if number else stem


def _free(path: Path, written: set[Path]) -> Path:
    """Return the path, with a number appended if another crystal of this call has it."""
    unique, copy = path, 2
    while unique in written:
        unique, copy = path.with_name(f"{path.name}_{copy}"), copy + 1
    written.add(unique)
    return unique
