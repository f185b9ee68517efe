"""`lcoms evaluate`: what the weights are worth, printed with 95 % Wilson intervals."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.errors import DataError

if TYPE_CHECKING:
    from lcoms.evaluate.formulas import Outcome
    from lcoms.evaluate.references import Reference

app = typer.Typer(no_args_is_help=True, help="Measure how well trained weights do.")

WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="Folder of trained weights.", show_default="those in the package")
]


@app.command()
def reconstruction(
    store: Annotated[Path, typer.Argument(help="A store made by lcoms data ingest.")],
    cdvae: Annotated[
        Path | None, typer.Option(help="Weights file of a CD-VAE.", show_default="the one in the package")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Validation crystals, drawn at random.")] = 1000,
    k: Annotated[int, typer.Option("-k", help="Independent decodes of each.")] = 3,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    max_atoms: Annotated[int, typer.Option(help="Largest cell.")] = 20,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Decode latents of crystals with number of atoms and species given, and match them with the crystals."""
    import numpy as np
    import torch

    from lcoms.data.dataset import plausible_volume
    from lcoms.data.store import Store
    from lcoms.evaluate.reconstruction import reconstruct
    from lcoms.models.weights import load_cdvae, load_weights

    model = load_weights().cdvae if cdvae is None else load_cdvae(cdvae)[0]
    arrays = Store.open(store)
    rows = arrays.select(split=split, max_atoms=max_atoms)
    rows = rows[plausible_volume(arrays.arrays(rows))]
    if not len(rows):
        raise DataError(f"{store} holds no crystals of split {split!r} with up to {max_atoms} atoms; choose others.")
    rows = np.random.default_rng(seed).permutation(rows)[:n]
    clock = time.perf_counter()
    result = reconstruct(model, [arrays[int(i)] for i in rows], torch.Generator().manual_seed(seed), k=k)
    typer.echo(f"{len(rows)} crystals of split {split}, {time.perf_counter() - clock:.0f} s")
    typer.echo(f"{'atoms':>6}  {'n':>5}  {'match@1':<22}  {f'match@{k}':<22}  RMSE")
    for name, first, any_of_k, rmse in result.bands():
        typer.echo(f"{name:>6}  {first.trials:>5}  {first!s:<22}  {any_of_k!s:<22}  {rmse:.3f}")


@app.command()
def compounds(
    seeds: Annotated[int, typer.Option(help="Independent predictions of each.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of latent descent.")] = 50,
    starts: Annotated[int, typer.Option(help="Latents to descend from.")] = 48,
    weights: WeightsOption = None,
    out: Annotated[Path | None, typer.Option(help="Write all rows to this JSON file.")] = None,
) -> None:
    """The 26 compounds of the paper, formula alone, no relaxation: is the ground state among the first 1 and 10?"""
    from lcoms.evaluate.references import paper_compounds

    _formulas(paper_compounds(), ks=(1, 10), seeds=seeds, steps=steps, starts=starts, weights=weights, out=out)


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="Known structures: Parquet, CSV, JSON, extxyz or a folder of CIFs.")],
    n: Annotated[int | None, typer.Option("-n", help="A random sample of so many.", show_default="all")] = None,
    seeds: Annotated[int, typer.Option(help="Independent predictions of each.")] = 1,
    max_atoms: Annotated[int, typer.Option(help="Largest known cell.")] = 20,
    steps: Annotated[int, typer.Option(help="Steps of latent descent.")] = 50,
    starts: Annotated[int, typer.Option(help="Latents to descend from.")] = 48,
    weights: WeightsOption = None,
    out: Annotated[Path | None, typer.Option(help="Write all rows to this JSON file.")] = None,
) -> None:
    """Structures of a file, formula alone, no relaxation: match@1, match@20, strict@1, strict@20."""
    from lcoms.evaluate.references import references_from_file, sample

    references, left_out = references_from_file(file, max_atoms=max_atoms)
    typer.echo(f"{file.name}: {len(references)} structures, {left_out} left out (over {max_atoms} atoms or unreadable)")
    chosen = sample(references, n, 0)
    _formulas(chosen, ks=(1, 5, 20), seeds=seeds, steps=steps, starts=starts, weights=weights, out=out)


def _formulas(
    references: list[Reference],
    *,
    ks: tuple[int, ...],
    seeds: int,
    steps: int,
    starts: int,
    weights: Path | None,
    out: Path | None,
) -> None:
    from dataclasses import asdict

    from lcoms.evaluate.formulas import evaluate_formulas, share_within
    from lcoms.models.weights import load_weights
    from lcoms.prediction import PredictConfig

    config = PredictConfig(n_candidates=max(ks), n_starts=starts, steps=steps, exclude_same=True)
    clock = time.perf_counter()
    outcomes = evaluate_formulas(references, load_weights(weights), config, n_seeds=seeds, on_outcome=_print)
    for strict in (False, True):
        for k in ks:
            typer.echo(f"{'strict' if strict else 'match'}@{k:<3} {share_within(outcomes, k, strict=strict)}")
    spent = time.perf_counter() - clock
    typer.echo(f"{len(outcomes)} predictions, {spent / max(1, len(outcomes)):.1f} s each")
    if out is not None:
        out.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=0) + "\n", encoding="utf-8")


def _print(outcome: Outcome) -> None:
    strict = "-" if outcome.strict_rank is None else str(outcome.strict_rank)
    loose = "-" if outcome.loose_rank is None else str(outcome.loose_rank)
    typer.echo(
        f"{outcome.formula:<16} seed {outcome.seed}  strict rank {strict:>3}  loose rank {loose:>3}  "
        f"known {outcome.space_group:>3}, first {outcome.first_space_group or '-':>3}  {outcome.note}"
    )
