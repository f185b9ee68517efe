"""`lcoms oracle`: tests of an energy model, and its reference energies of the elements."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.core.disk import require_writable, write_whole
from lcoms.core.errors import OracleError

if TYPE_CHECKING:
    from lcoms.oracles.base import EnergyOracle
    from lcoms.relax import RelaxResult
    from lcoms.structure.crystal import Crystal

app = typer.Typer(no_args_is_help=True, help="Test energy models and compute their reference energies.")

NameArgument = Annotated[
    str,
    typer.Argument(help="chgnet:r2scan, chgnet:0.3.0, sevennet:l3i5, gpaw, analytic, or package.module:Calculator."),
]


@app.command()
def check(
    name: NameArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.", show_default="four small crystals"),
    ] = None,
    slope: Annotated[
        float, typer.Option(help="Allowed relative error between forces or stress and the derivative of the energy.")
    ] = 3e-3,
    energy: Annotated[
        float, typer.Option(help="Allowed energy difference between equivalent crystals, eV/atom.")
    ] = 1e-5,
    seed: Annotated[int, typer.Option(help="Random seed of the displacements.", min=0)] = 0,
) -> None:
    """Compare forces and stress with finite differences of the energy, and test invariance and extensivity.

    The exit code is 1 if a check fails.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads make energies of small crystals slower
    from lcoms.oracles.battery import BatteryConfig, run_battery
    from lcoms.oracles.hull import structure_files_at
    from lcoms.oracles.registry import make_oracle
    from lcoms.structure.io import read_crystals

    oracle = make_oracle(name)
    paths = [path for file in files or [] for path in structure_files_at(file)]
    crystals = [crystal for path in paths for crystal in read_crystals(path)] if files else None
    clock = time.perf_counter()
    report = run_battery(oracle, BatteryConfig(slope=slope, energy=energy, seed=seed), crystals)
    typer.echo(f"{oracle.name}: {time.perf_counter() - clock:.1f} s; error over what is allowed, worst crystal")
    for row in report:
        typer.echo(f"  {'passed' if row.passed else 'FAILED'}  {row.name:<22} {row.error:>9.2g}  {row.note}")
    n_failed = sum(not row.passed for row in report)
    typer.echo("All checks passed." if not n_failed else f"{n_failed} of {len(report)} checks failed.")
    if n_failed:
        raise typer.Exit(1)


@app.command()
def references(
    name: NameArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write; entries of other energy models in it are kept.")
    ],
    elements: Annotated[
        str | None, typer.Option(help="Element symbols, such as Na,Cl.", show_default="all that the model can handle")
    ] = None,
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/angstrom.")] = 0.02,
    steps: Annotated[int, typer.Option(help="Maximum number of steps of a relaxation.")] = 500,
    processes: Annotated[
        int | None, typer.Option(help="Number of processes.", max=512, show_default="all cores")
    ] = None,
) -> None:
    """Relax all forms of the elements; those of lowest energy are the references of formation energies."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from lcoms.evaluate.elements import forms_for, make_references
    from lcoms.oracles.references import read_tables, to_json
    from lcoms.oracles.registry import make_oracle
    from lcoms.relax import RelaxConfig, relax_crystals

    oracle = make_oracle(name)
    tables = read_tables(out) if out.exists() else {}
    require_writable(out)
    forms = forms_for(oracle, None if elements is None else [symbol.strip() for symbol in elements.split(",")])
    clock = time.perf_counter()
    provenance = {"version": _version(oracle), "fmax": fmax, "max_steps": steps}

    def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
        config = RelaxConfig(fmax=fmax, max_steps=steps)
        return relax_crystals(crystals, oracle.name, config, processes=processes)

    tables[oracle.name] = make_references(forms, relax, provenance)
    write_whole(out, to_json(tables))
    done, failed = tables[oracle.name]["elements"], tables[oracle.name]["failed"]
    typer.echo(f"{oracle.name}: {len(done)} elements from {len(forms)} forms, {time.perf_counter() - clock:.0f} s")
    open_ends = [symbol for symbol, row in done.items() if row["fmax"] > fmax]
    if open_ends:
        typer.echo(f"Stopped at the step limit: {', '.join(open_ends)}.")
    typer.echo(f"Next: lcoms rank FILES --oracle {oracle.name} --references {out}")
    if failed:
        raise OracleError("no reference for " + "; ".join(f"{symbol} ({why})" for symbol, why in failed.items()))


def _version(oracle: EnergyOracle) -> str:
    """Return the package of an oracle and its version, if known."""
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    package = oracle.name.replace("?", ":").replace(".", ":").partition(":")[0]
    try:
        names = packages_distributions().get(package, [package])
        return f"{names[0]} {version(names[0])}"
    except PackageNotFoundError:
        return oracle.name
