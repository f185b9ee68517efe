"""`lcoms relax`: relaxed CIF files for crystals from files, with one row per crystal."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.console import complain, counted
from lcoms.cli.structures import require_no_input, tell_reach
from lcoms.cli.text_table import print_table
from lcoms.core.bounds import require_processes
from lcoms.core.disk import require_no_campaign, write_whole
from lcoms.core.errors import LcomsError, OptionError
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.relax import RelaxConfig, RelaxResult
    from lcoms.structure.crystal import Crystal

CHECKPOINT = "checkpoint.jsonl"
RESULTS = "results.json"


def relax(
    files: Annotated[
        list[Path], typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.", show_default=False)
    ],
    oracle: Annotated[str, typer.Option(help="Energy model, such as chgnet:r2scan.")] = DEFAULT_ORACLE,
    fmax: Annotated[float, typer.Option(help="Relax until the largest force is below this, eV/angstrom.")] = 0.05,
    steps: Annotated[int, typer.Option(help="Maximum number of steps.")] = 500,
    pressure: Annotated[float, typer.Option(help="Pressure in GPa; the enthalpy is minimized.")] = 0.0,
    processes: Annotated[
        int | None, typer.Option(help="Number of processes.", max=512, show_default="all cores")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; an interrupted run is resumed there.")
    ] = Path("relaxed"),
    trajectory: Annotated[
        str, typer.Option(help="none, energies (written to results.json) or frames (one extxyz file per crystal).")
    ] = "none",
) -> None:
    """Relax atomic positions and cells of crystals, and write them as symmetrized CIF files."""
    from lcoms.relax import relax_crystals

    config = _config(fmax=fmax, steps=steps, pressure=pressure, trajectory=trajectory)
    starts, failed = _read(files)
    if starts:
        from lcoms.oracles.registry import make_oracle
        from lcoms.prediction.output import make_folder, require_no_prediction

        require_processes(processes)
        model = make_oracle(oracle)
        require_no_input(out, files, "*.cif", "*.extxyz")
        require_no_campaign(out)
        require_no_prediction(out)
        make_folder(out)
        tell_reach(starts, model)
        clock, done = time.perf_counter(), 0

        def tell(number: int, result: RelaxResult) -> None:
            nonlocal done
            done += 1
            if os.isatty(2):
                name = starts[number][0]
                typer.echo(f"\r{done}/{len(starts)} {name[:40]:<40} {result.status.value:<13}", err=True, nl=False)

        results = relax_crystals(
            [crystal for _, crystal in starts],
            oracle,
            config,
            processes=processes,
            checkpoint=out / CHECKPOINT,
            progress=tell,
        )
        if os.isatty(2):
            typer.echo("", err=True)
        rows = [_row(name, result) for (name, _), result in zip(starts, results, strict=True)]
        _write(out, rows, results, oracle, config)
        _print(rows)
        typer.echo(f"{counted(len(rows))}, total energies by {oracle}, {time.perf_counter() - clock:.1f} s; see {out}.")
        failed += sum(not result.converged for result in results)
    if failed:
        raise typer.Exit(2)


def _config(*, fmax: float, steps: int, pressure: float, trajectory: str) -> RelaxConfig:
    """Return the options of the relaxation; the pressure is in GPa.

    Raises:
        OptionError: a value is out of range.
    """
    from lcoms.core.config import from_dict
    from lcoms.relax.result import GIGAPASCAL, RelaxConfig, require_pressure

    require_pressure(pressure)
    options = {"fmax": fmax, "max_steps": steps, "pressure": pressure * GIGAPASCAL, "trajectory": trajectory}
    try:
        return from_dict(RelaxConfig, options)
    except OptionError as error:
        raise error.renamed(lambda name: "steps" if name == "max_steps" else name) from error


def _read(files: list[Path]) -> tuple[list[tuple[str, Crystal]], int]:
    """Return crystals with unique names and the number of unreadable entries, each reported in a sentence."""
    from lcoms.structure.io import read_file

    starts: dict[str, Crystal] = {}
    found, failed = _files_of(files)
    for file in found:
        readings = read_file(file)
        for number, reading in enumerate(readings, 1):
            alone = len(readings) == 1
            where = str(file) if alone or not reading.name else f"{file}, {reading.name}"
            for sentence in (*reading.warnings, *([reading.error.sentence] if reading.error else [])):
                complain(f"{where}: {sentence}")
            if reading.crystal is None:
                failed += 1
                continue
            name = file.stem if alone else f"{file.stem}-{number:0{len(str(len(readings)))}d}"
            unique, copy = name, 2
            while unique in starts:
                unique, copy = f"{name}_{copy}", copy + 1
            starts[unique] = reading.crystal
    return list(starts.items()), failed


def _files_of(given: list[Path]) -> tuple[list[Path], int]:
    """Return the files, also those in folders, and the number of paths without any, each reported in a sentence."""
    from lcoms.oracles.hull import structure_files_at

    found, failed = [], 0
    for path in given:
        try:
            found += structure_files_at(path)
        except LcomsError as error:
            failed += 1
            complain(str(error))
    return found, failed


def _row(name: str, result: RelaxResult) -> dict[str, Any]:
    """Return the row of a crystal; failed ones have neither symmetry nor a file."""
    from lcoms.relax import Status
    from lcoms.structure.symmetry import NEAR_LADDER, space_group_symbol, symmetrise

    row: dict[str, Any] = {
        "name": name,
        "formula": result.crystal.composition.reduced_formula,
        "n_atoms": result.crystal.n_atoms,
        "status": result.status.value,
        "reason": result.reason,
        "n_steps": result.n_steps,
        "energy_per_atom": _number(result.without_pressure),
        "enthalpy_per_atom": _number(result.energy_per_atom) if result.pressure else None,
        "start_energy_per_atom": _number(result.start_energy / result.crystal.n_atoms),
        "fmax": _number(result.fmax),
        "volume_per_atom": round(result.crystal.volume / result.crystal.n_atoms, 4),
    }
    if result.status in (Status.CONVERGED, Status.STEP_LIMIT):
        symmetric = symmetrise(result.crystal, ladder=NEAR_LADDER)
        row |= {
            "cif": f"{name}.cif",
            "space_group": symmetric.space_group,
            "space_group_symbol": space_group_symbol(symmetric.space_group),
            "symprec": symmetric.symprec,
            "symmetrised": symmetric.crystal,
        }
    return row


def _number(value: float) -> float | None:
    return round(value, 6) if value == value else None


def _write(out: Path, rows: list[dict[str, Any]], results: list[RelaxResult], oracle: str, config: RelaxConfig) -> None:
    """Write CIF files, trajectories and results.json; the crystals are removed from the rows."""
    from lcoms import __version__
    from lcoms.core.config import to_dict
    from lcoms.structure.io import to_cif, to_extxyz
    from lcoms.structure.symmetry import EXACT_SYMPREC, conventional

    try:
        for row, result in zip(rows, results, strict=True):
            symmetric = row.pop("symmetrised", None)
            if symmetric is not None:
                write_whole(out / row["cif"], to_cif(conventional(symmetric), symprec=EXACT_SYMPREC))
            if result.trajectory is not None:
                row["energies"] = [_number(energy / result.crystal.n_atoms) for energy in result.trajectory.energies]
                if result.trajectory.frames:
                    row["frames"] = f"{row['name']}.extxyz"
                    write_whole(out / row["frames"], to_extxyz(list(result.trajectory.frames)))
        content = {
            "lcoms_version": __version__,
            "oracle": oracle,
            "options": to_dict(config),
            "units": {
                "energy": "eV/atom; with a pressure, start_energy_per_atom and energies are enthalpies",
                "length": "angstrom",
                "fmax": "eV/angstrom",
                "pressure": "eV/angstrom^3",
            },
            "crystals": rows,
        }
        write_whole(out / RESULTS, json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise LcomsError(f"{out}: cannot be written ({error.strerror}); choose another folder with --out.") from error


def _print(rows: list[dict[str, Any]]) -> None:
    texts = [
        (
            row["formula"],
            row["status"],
            str(row["n_steps"]),
            "-" if row["energy_per_atom"] is None else f"{row['energy_per_atom']:.4f}",
            f"{row['space_group_symbol']} ({row['space_group']})" if "space_group" in row else "-",
            f"{row['name']}: {row['reason']}" if row["reason"] else row["name"],
        )
        for row in rows
    ]
    headings = ("formula", "status", "steps", "eV/atom", "space group", "name")
    print_table(headings, texts, left=("formula", "status", "space group"))
