"""`lcoms rank`: crystals from files in order of energy."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import complain, counted, plain_text, progress_bar
from lcoms.cli.structures import Failure, read_named, require_outputs, short_names, tell_reach
from lcoms.cli.text_table import print_table
from lcoms.core.disk import write_whole
from lcoms.oracles.base import evaluate_all
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.oracles.base import EnergyOracle, Evaluation
    from lcoms.oracles.hull import Hull
    from lcoms.oracles.ranking import RankedCrystal
    from lcoms.oracles.references import References
    from lcoms.structure.crystal import Crystal

MEANINGS = {
    "above": "above: over the lowest crystal of the same formula",
    "E form": "E form: formation energy",
}


def rank(
    files: Annotated[list[Path], typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.")],
    oracle: Annotated[
        str,
        typer.Option(help="chgnet:r2scan, chgnet:0.3.0, sevennet:l3i5, gpaw, analytic, or package.module:Calculator."),
    ] = DEFAULT_ORACLE,
    hull: Annotated[
        Path | None,
        typer.Option(
            help="Reference phases of the convex hull: JSON or CSV with formula and energy_per_atom from the same "
            "oracle, or crystals to evaluate. Default: the known phases in the package."
        ),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(
            help="Reference energies of the elements, made by lcoms oracle references.", show_default="in the package"
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep energies in this file, and take those that it has from there.")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the ranked crystals to this JSON file.")
    ] = None,
) -> None:
    """Compute the energies of crystals without relaxation, remove duplicates, and list the lowest energy first."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads make energies of small crystals slower
    from lcoms.oracles.ranking import rank_crystals
    from lcoms.oracles.references import load_references
    from lcoms.oracles.registry import make_oracle
    from lcoms.oracles.wrappers import CachedOracle

    require_outputs([json_out], (*files, hull, references, cache))
    found, failed = read_named(files)
    energy_oracle = make_oracle(oracle)
    found, refused = _checked(found, energy_oracle)
    failed += refused
    for name, reason in failed:
        complain(f"{name}: {reason}")
    if not found:
        if json_out is not None:
            write_whole(json_out, _to_json([], failed, energy_oracle.name, 0.0))
        raise typer.Exit(2)
    tell_reach(found, energy_oracle)
    if cache is not None:
        energy_oracle = CachedOracle(energy_oracle, cache)
    zero = load_references(energy_oracle.name, references)
    clock = time.perf_counter()
    names, crystals = [name for name, _ in found], [crystal for _, crystal in found]
    phases = _hull(hull, energy_oracle, zero, crystals)
    evaluations = _evaluate(crystals, energy_oracle)
    seconds = time.perf_counter() - clock
    broken = [(name, result.status) for name, result in zip(names, evaluations, strict=True) if not result.ok]
    for name, reason in broken:
        complain(f"{name}: {reason}")
    failed += broken
    ranked = rank_crystals(
        crystals, evaluations, names=names, formation_energy=zero.formation_energy if zero else None, hull=phases
    )
    if json_out is not None:
        write_whole(json_out, _to_json(ranked, failed, energy_oracle.name, seconds))
    if ranked:
        _print(ranked, failed, energy_oracle.name, seconds, phases)
    if failed:
        raise typer.Exit(2)


def _checked(found: list[tuple[str, Crystal]], oracle: EnergyOracle) -> tuple[list[tuple[str, Crystal]], list[Failure]]:
    """Return the crystals that the oracle can handle, and the others with its reasons."""
    from lcoms.core.errors import OracleError

    kept, refused = [], []
    for name, crystal in found:
        try:
            oracle.check([crystal.composition])
        except OracleError as error:
            refused.append((name, str(error)))
        else:
            kept.append((name, crystal))
    return kept, refused


def _evaluate(crystals: list[Crystal], oracle: EnergyOracle) -> list[Evaluation]:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    columns = plain_text("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task(oracle.name, total=len(crystals))
        return evaluate_all(oracle, crystals, on_batch=lambda done: bar.update(task, completed=done))


def _hull(path: Path | None, oracle: EnergyOracle, references: References | None, ranked: list[Crystal]) -> Hull | None:
    """Return the convex hull of the user's phases, or of those that ship with the package."""
    from lcoms.oracles.hull import Hull, phases_in, read_entries
    from lcoms.prediction.phases import hull_of_files

    if path is None:
        return hull_of_files((crystal.composition for crystal in ranked), oracle.name)

    def energies(crystals: list[Crystal]) -> list[float]:
        oracle.check([crystal.composition for crystal in crystals])
        return [r.energy / c.n_atoms for c, r in zip(crystals, _evaluate(crystals, oracle), strict=True)]

    return Hull(read_entries(path, energies, references, oracle.name), references, name=phases_in(path))


def _to_json(ranked: list[RankedCrystal], failed: list[Failure], oracle: str, seconds: float) -> str:
    from lcoms import __version__

    rows = [
        {
            "rank": row.rank,
            "name": row.name,
            "formula": row.crystal.composition.reduced_formula,
            "n_atoms": row.crystal.n_atoms,
            "space_group": row.space_group,
            "energy_per_atom": row.energy_per_atom,
            "energy_above_lowest": row.energy_above_lowest,
            "formation_energy_per_atom": row.formation_energy,
            "e_above_hull": row.e_above_hull,
            "duplicates": list(row.duplicates),
        }
        for row in ranked
    ]
    content = {
        "lcoms_version": __version__,
        "oracle": oracle,
        "units": "eV/atom",
        "seconds": round(seconds, 3),
        "ranked": rows,
        "failed": [{"name": name, "reason": reason} for name, reason in failed],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _print(ranked: list[RankedCrystal], failed: list[Failure], oracle: str, seconds: float, hull: Hull | None) -> None:
    from lcoms.structure.symmetry import space_group_symbol

    names = short_names([name for row in ranked for name in (row.name, *row.duplicates)])
    columns: dict[str, Callable[[RankedCrystal], str]] = {
        "": lambda row: str(row.rank),
        "formula": lambda row: row.crystal.composition.reduced_formula,
        "space group": lambda row: f"{space_group_symbol(row.space_group)} ({row.space_group})",
        "eV/atom": lambda row: f"{row.energy_per_atom:.3f}",
        "above": lambda row: f"{row.energy_above_lowest:.3f}",
    }
    if any(row.formation_energy is not None for row in ranked):
        columns["E form"] = lambda row: _number(row.formation_energy)
    if hull is not None:
        columns["hull"] = lambda row: _number(row.e_above_hull)
    columns["file"] = lambda row: "\n= ".join(names[name] for name in (row.name, *row.duplicates))
    rows = [[column(row) for column in columns.values()] for row in ranked]
    print_table(list(columns), rows, left=("formula", "space group"))
    n = len(ranked) + sum(len(row.duplicates) for row in ranked)
    typer.echo(f"{counted(n)} by {oracle}, as they are, in {seconds:.1f} s; {len(failed)} failed. All in eV/atom.")
    meanings = [text for heading, text in MEANINGS.items() if heading in columns]
    if hull is not None:
        meanings.append(f"hull: above the convex hull of {hull.name}")
    for meaning in meanings:
        typer.echo(f"{meaning}.")
    if hull is None:
        return
    compositions = {row.crystal.composition.reduced_formula: row.crystal.composition for row in ranked}
    for formula in sorted(compositions):
        if lacking := ", ".join(hull.missing(compositions[formula])):
            typer.echo(f"{formula}: the hull lacks {lacking}; add a phase of the pure element.")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:z.3f}"
