"""`lcoms score`: scores of predictions against known structures, with 95 % Wilson intervals."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.structures import require_outputs
from lcoms.core.disk import write_whole

if TYPE_CHECKING:
    from lcoms.evaluate.scoring import Report
    from lcoms.evaluate.statistics import Share

SHOWN = 10


def score(
    predictions: Annotated[
        Path, typer.Argument(help="Output of lcoms predict, a folder FORMULA/*.cif, or a table with id, formula, rank.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Known structures: Parquet, CSV, JSON, extxyz or a folder of CIF files.")
    ],
    k: Annotated[
        list[int] | None, typer.Option("-k", help="Score the first k candidates.", show_default="1, 5, 10, 20")
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(
            help="Compute energies of predictions and known structures with this energy model.",
            show_default="those in the files",
        ),
    ] = None,
    free_atoms: Annotated[
        Path | None, typer.Option(help="JSON file with energies of free atoms in eV, for cohesive energies.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Time limit of one comparison, s.")] = 30.0,
    workers: Annotated[int | None, typer.Option(help="Number of processes.", max=512, show_default="all cores")] = None,
    out: Annotated[
        Path | None, typer.Option("--json", help="Write all scores, per known structure, to this file.")
    ] = None,
) -> None:
    """Score predictions: match rates, RMSE, METRe, strict matches, space groups and energies."""
    require_outputs([out], (predictions, truth, free_atoms))
    from lcoms.evaluate.energy_criterion import read_free_atoms
    from lcoms.evaluate.scoring import ScoreOptions, score_files

    options = ScoreOptions(
        ks=tuple(k) if k else ScoreOptions.ks,
        timeout=timeout,
        workers=os.cpu_count() or 1 if workers is None else workers,
    )
    atoms = None if free_atoms is None else read_free_atoms(free_atoms)
    if oracle is None:
        report = score_files(predictions, truth, options, free_atoms=atoms)
    else:
        from lcoms.oracles.registry import make_oracle

        report = score_files(predictions, truth, options, oracle=make_oracle(oracle), free_atoms=atoms)
    _print(report, min(options.ks))
    if out is not None:
        content = {"predictions": str(predictions), "truth": str(truth), "oracle": oracle, **report.to_json()}
        write_whole(out, json.dumps(content, indent=1, allow_nan=False) + "\n")
        typer.echo(f"\neverything: {out}")


def _print(report: Report, k: int) -> None:
    formulas = {row.formula for row in report.rows}
    how = "by id" if report.by_id else "by formula"
    typer.echo(
        f"{len(report.rows)} known structures of {len(formulas)} formulas, {report.n_answers} answers, paired {how}\n"
    )
    typer.echo(f"{'':<32} {'k':>3}  {'share':<5}  {'95 % interval':<14} {'found':>11}  RMSE")
    for score in report.scores:
        rms = "" if score.rms != score.rms else f"{score.rms:.4f}"
        typer.echo(f"{score.name:<32} {score.k or '':>3}  {_text(score.share)}  {rms}".rstrip())
    if report.energy_scores:
        typer.echo(f"\nenergy above the known one, lowest of the first {k} (all k: --json)")
    for energy in report.energy_scores:
        if energy.k == k:
            limit = f"{energy.threshold:.0%}" if energy.relative else f"{energy.threshold:g} eV/atom"
            typer.echo(f"{f'{energy.kind} energy, within {limit}':<36}  {_text(energy.share)}")
    _say("known structures that cannot be read, left out", report.unreadable_known)
    _say("known structures without an answer, counted as failures", report.missing)
    _say("answers that cannot be read, counted as failures", report.unreadable)
    _say("predictions of no known structure, ignored", report.unknown)
    if report.n_too_slow:
        typer.echo(f"\ncomparisons that took too long, counted as no match: {report.n_too_slow}")
    _say("notes", report.notes)


def _text(share: Share) -> str:
    if not share.trials:
        return f"{'-':<5}  {'':<14} {'0 of 0':>11}"
    found = f"{share.successes} of {share.trials}"
    return f"{share.value:.3f}  {f'{share.low:.3f}-{share.high:.3f}':<14} {found:>11}"


def _say(what: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    typer.echo(f"\n{what} ({len(lines)}):")
    for line in lines[:SHOWN]:
        typer.echo(f"  {line}")
    if len(lines) > SHOWN:
        typer.echo(f"  and {len(lines) - SHOWN} more (all: --json)")
