"""`lcoms benchmark reproduce`: from a public data set to the paper's tables with one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lcoms.oracles.registry import DEFAULT_ORACLE


def reproduce(
    data: Annotated[str, typer.Option(help="matbench_mp_e_form, oqmd or another name that lcoms data fetch knows.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; the same command resumes it.")],
    file: Annotated[
        Path | None, typer.Option(help="Read the data set from this file instead of downloading it.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="paper, or fast (the autoencoder network of the shipped weights).")
    ] = "paper",
    max_atoms: Annotated[int, typer.Option(help="Largest cell of the training data.")] = 20,
    compounds: Annotated[
        str | None, typer.Option(help="Names separated by commas, such as NaCl,MgO.", show_default="the paper's 26")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each method.", min=1)] = 3,
    steps: Annotated[int, typer.Option(help="Steps of gradient descent.")] = 50,
    judge: Annotated[str, typer.Option(help="Energy model that evaluates the answers.")] = DEFAULT_ORACLE,
    model_set: Annotated[
        list[str] | None, typer.Option("--model", help="key=value setting of the autoencoder.")
    ] = None,
    train_set: Annotated[list[str] | None, typer.Option("--train", help="key=value setting of its training.")] = None,
    surrogate_set: Annotated[
        list[str] | None, typer.Option("--surrogate", help="key=value setting of both surrogates.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device for training: auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="Number of threads for training.", min=1, max=256, show_default="all cores")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that read the data.", min=1, max=512)] = 1,
    processes: Annotated[int, typer.Option(help="Number of parallel runs.", min=1, max=512)] = 1,
) -> None:
    """Fetch data, exclude the test compounds, train, run LCOMs, SL, CD-VAE and the start, and make the tables.

    The same command resumes an interrupted run.
    """
    from lcoms.benchmark.reproduce import Machine, Reproduction
    from lcoms.benchmark.reproduce import reproduce as run_all
    from lcoms.data.fetch import fetch
    from lcoms.models.device import require_device

    require_device(device)
    plan = Reproduction(
        data=data,
        file=None if file is None else str(file),
        preset=preset,
        max_atoms=max_atoms,
        compounds=compounds,
        n_seeds=seeds,
        steps=steps,
        judge=judge,
        model=tuple(model_set or ()),
        training=tuple(train_set or ()),
        surrogate=tuple(surrogate_set or ()),
    )

    def bring(folder: Path) -> list[Path]:
        typer.echo(f"data: lcoms data fetch {data} --out {folder}")
        return [one.path for one in fetch(data, folder)]

    done = run_all(
        plan, out, machine=Machine(workers, threads, device, processes), fetch=bring, run=_run, tell=typer.echo
    )
    typer.echo(f"All {len(done)} stages are done, {sum(one.seconds for one in done):.0f} s in all.")
    typer.echo(f"Tables: {out / 'report' / 'report.md'}")


def _run(arguments: Sequence[str]) -> None:
    from lcoms.cli.main import load_command

    load_command(arguments[0]).main(args=list(arguments[1:]), prog_name=f"lcoms {arguments[0]}", standalone_mode=False)
