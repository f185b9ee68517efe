"""`lcoms campaign`: predictions for a file of formulas, with one folder per formula and one table."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import complain, plain_text, progress_bar
from lcoms.cli.groups import with_groups
from lcoms.cli.options import OrderedOption, WeightsOption, formulas_of, tell_repeated
from lcoms.cli.search_options import SearchOptions, asked_spec
from lcoms.core.errors import ConfigError, FormulaError

if TYPE_CHECKING:
    import pyarrow as pa

    from lcoms.campaign.plan import Plan
    from lcoms.campaign.workers import Workers
    from lcoms.prediction.pipeline import Predictor


@with_groups
def campaign(
    formulas: Annotated[Path, typer.Argument(help="Text file with one formula per line.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the campaign; an interrupted run is resumed there.")
    ] = (Path("campaign")),
    processes: Annotated[
        int | None, typer.Option(help="Number of processes on this machine.", max=512, show_default="all cores")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Use the Dask cluster at this address, such as tcp://host:8786.")
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only write the table of the formulas finished so far.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry the formulas that failed.")] = False,
    ordered_approximation: OrderedOption = False,
    weights: WeightsOption = None,
    *,
    asked: SearchOptions,
) -> None:
    """Predict thousands of formulas. Each is saved as soon as it is finished; the same command resumes the campaign."""
    if processes is not None and scheduler is not None:
        raise ConfigError("--processes and --scheduler exclude each other; a cluster has its own workers.")
    if summary and retry_failed:
        raise ConfigError("--retry-failed has no effect with --summary, which predicts nothing; omit one of them.")
    known = _read(formulas, ordered=ordered_approximation)
    if not summary:
        from lcoms.campaign.plan import Plan
        from lcoms.prediction.bundle import WeightBundle

        folder = None if weights is None else weights.absolute()
        spec, typed = asked_spec(asked)
        plan = Plan(spec, folder, WeightBundle.load(folder).digest, typed)
        _predict([text for text, reason in known.items() if not reason], plan, out, processes, scheduler, retry_failed)
    elif not (out / "campaign.json").is_file():
        raise ConfigError(f"{out} holds no campaign; name the folder of one with --out.")
    _finish(out, known)


def _read(file: Path, *, ordered: bool) -> dict[str, str]:
    """Return the distinct reduced formulas in order, with the reason if one cannot be read, otherwise ""."""
    from lcoms.structure.crystal import Composition

    known: dict[str, str] = {}
    again: list[str] = []
    for text in formulas_of(file):
        try:
            composition = Composition.from_formula(text, ordered_approximation=ordered)
            again += [text] if composition.reduced_formula in known else []
            known[composition.reduced_formula] = ""
            if composition.n_formula_units > 1:
                complain(f"{text} is predicted as {composition.reduced_formula}.")
        except FormulaError as error:
            known[text] = str(error)
    if not known:
        raise FormulaError(f"{file} holds no formula; write one per line, such as NaCl.")
    if all(known.values()):
        raise FormulaError(f"{file} holds no formula that can be read; the first: {next(iter(known.values()))}")
    tell_repeated(again)
    return known


def _predict(
    formulas: list[str], plan: Plan, out: Path, processes: int | None, scheduler: str | None, retry_failed: bool
) -> None:
    """Predict all formulas that are not finished yet, with a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    from lcoms.campaign.folder import CampaignFolder
    from lcoms.campaign.plan import prepare
    from lcoms.campaign.run import Finished, run_campaign

    _tell_doubts(formulas, prepare(plan))
    versions = plan.versions()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), plain_text("{task.description}"))
    with (
        _workers(plan, processes, scheduler, len(formulas)) as workers,  # first: its errors leave no folder behind
        CampaignFolder(out, plan.identity(), versions) as folder,
    ):
        if folder.changed:
            complain(folder.changed)
        with progress_bar(*columns) as bar:
            task = bar.add_task("", total=len(formulas))
            counts: Counter[str] = Counter()

            def tell(finished: Finished) -> None:
                counts[finished.status.value if finished.here else "before"] += 1
                said = ", ".join(f"{count} {name}" for name, count in counts.items())
                bar.update(task, advance=1, description=f"{said}; last {finished.formula}")

            run_campaign(formulas, workers, folder, retry_failed=retry_failed, progress=tell)


def _tell_doubts(formulas: list[str], predictor: Predictor) -> None:
    """Warn, before hours of work, of formulas whose predictions are doubtful."""
    from lcoms.prediction.reach import doubts
    from lcoms.structure.crystal import Composition

    for formula in formulas:
        for sentence in doubts(predictor.energy_models, Composition.from_formula(formula)):
            complain(f"{formula}: {sentence}")


def _workers(plan: Plan, processes: int | None, scheduler: str | None, n_formulas: int) -> Workers:
    from lcoms.campaign.workers import DaskWorkers, LocalWorkers

    if scheduler is not None:
        return DaskWorkers(plan, scheduler)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return LocalWorkers(plan, processes=processes if processes is not None else min(cores, max(1, n_formulas)))


def _finish(out: Path, known: dict[str, str]) -> None:
    """Write and summarize the table; exit with code 2 if any formula failed."""
    from lcoms.campaign.summary import CSV, DONE, PARQUET, summarise, write_summary

    table = summarise(out, known)
    write_summary(table, out)
    _print(table)
    typer.echo(f"Next: open {out / CSV} or {out / PARQUET}.")
    if any(status != DONE for status in table["status"].to_pylist()):
        raise typer.Exit(2)


def _print(table: pa.Table) -> None:
    rows = table.to_pylist()
    counts = Counter(row["status"] for row in rows)
    seconds = sorted(row["seconds"] for row in rows if row["seconds"] is not None)
    reasons = Counter(row["reason"].partition(": ")[2] or row["reason"] for row in rows if row["reason"])
    for reason, count in reasons.most_common(10):
        complain(f"{count} {'formula' if count == 1 else 'formulas'}: {reason}")
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    median = f"; median {seconds[len(seconds) // 2]:.1f} s per formula" if seconds else ""
    typer.echo(f"{len(rows)} formulas: {said}{median}.")
