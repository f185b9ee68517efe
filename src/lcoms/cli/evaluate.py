"""`lcoms evaluate`: accuracy of trained weights, with 95 % Wilson intervals."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lcoms.cli import evaluate_latents
from lcoms.cli.groups import with_groups
from lcoms.cli.options import (
    Models,
    NRelaxOption,
    SoftModesOption,
    WeightsOption,
    spec_of,
)
from lcoms.cli.search_options import Descents, options_of
from lcoms.core.errors import DataError

if TYPE_CHECKING:
    from lcoms.evaluate.formulas import Outcome
    from lcoms.evaluate.references import Reference

app = typer.Typer(no_args_is_help=True, help="Measure the accuracy of trained weights.")

app.command()(evaluate_latents.reconstruction)
app.command()(evaluate_latents.surrogate)
app.command()(evaluate_latents.latents)


SeedsOption = Annotated[int, typer.Option(help="Number of independent predictions of each.", min=1)]
StepsOption = Annotated[int, typer.Option(help="Steps of gradient descent in latent space.")]
RelaxOption = Annotated[
    bool, typer.Option("--relax/--no-relax", help="Relax the candidates and rank them with energy models.")
]
ProcessesOption = Annotated[int, typer.Option(help="Number of formulas predicted in parallel.", min=1, max=512)]
RowsOption = Annotated[
    Path | None,
    typer.Option(
        help="Write rows to this JSON file as they are finished; predictions it already holds are not repeated."
    ),
]
MaxAtomsOption = Annotated[int, typer.Option(help="Largest number of atoms in the known cell.")]
MinAtomsOption = Annotated[int, typer.Option(help="Smallest number of atoms in the known cell.")]
SampleOption = Annotated[
    int | None, typer.Option("-n", help="Draw a random sample of this size.", show_default="all", min=1)
]
SampleSeedOption = Annotated[int, typer.Option(help="Random seed of the sample.", min=0)]


class _Asked(NamedTuple):
    """Options of all commands that predict formulas."""

    steps: StepsOption = 10
    descents: Descents = Descents()
    relax: RelaxOption = False
    models: Models = Models()
    n_relax: NRelaxOption = None
    soft_modes: SoftModesOption = None
    processes: ProcessesOption = 1
    weights: WeightsOption = None
    out: RowsOption = None


class _Sample(NamedTuple):
    """Options that select the structures and the number of predictions of each."""

    n: SampleOption = None
    sample_seed: SampleSeedOption = 0
    seeds: SeedsOption = 1


@app.command()
@with_groups
def compounds(
    seeds: SeedsOption = 3,
    *,
    asked: _Asked,
) -> None:
    """Predict the paper's 26 compounds from their formulas: is the ground state first, or among the first ten?"""
    from lcoms.evaluate.references import paper_compounds

    _formulas(paper_compounds(), asked, seeds, ks=(1, 10), majority=True)


@app.command()
@with_groups
def table(
    file: Annotated[
        Path, typer.Argument(help="Known structures: Parquet, CSV, JSON, extxyz or a folder of CIF files.")
    ],
    max_atoms: MaxAtomsOption = 40,
    *,
    drawn: _Sample,
    asked: _Asked,
) -> None:
    """Predict the structures of a file from their formulas, with and without relaxation."""
    from lcoms.evaluate.references import references_from_file, sample

    references, left_out = references_from_file(file, max_atoms=max_atoms)
    typer.echo(f"{file.name}: {len(references)} structures, {left_out} left out (over {max_atoms} atoms or unreadable)")
    _formulas(sample(references, drawn.n, drawn.sample_seed), asked, drawn.seeds, ks=(1, 5, 20))


@app.command()
@with_groups
def validation(
    store: Annotated[Path, typer.Argument(help="Store made by lcoms data ingest.")],
    max_atoms: MaxAtomsOption = 20,
    min_atoms: MinAtomsOption = 2,
    ids: Annotated[
        Path | None, typer.Option(help="Text file of IDs, one per line; others are not predicted.", show_default="all")
    ] = None,
    *,
    drawn: _Sample,
    asked: _Asked,
) -> None:
    """Predict validation compositions from their formulas; ranking and probabilities may be fitted on these rows."""
    from lcoms.data.store import Store
    from lcoms.evaluate.references import among_ids, ground_states, sample

    references = ground_states(Store.open(store), max_atoms=max_atoms, min_atoms=min_atoms)
    typer.echo(f"{store}: {len(references)} ground states of validation compositions")
    if ids is not None:
        references = among_ids(references, ids)
        typer.echo(f"{ids}: {len(references)} of them")
    _formulas(sample(references, drawn.n, drawn.sample_seed), asked, drawn.seeds, ks=(1, 5, 20))


@app.command()
@with_groups
def known(
    n: SampleOption = 400,
    sample_seed: SampleSeedOption = 0,
    seeds: SeedsOption = 1,
    max_atoms: MaxAtomsOption = 80,
    *,
    asked: _Asked,
) -> None:
    """Predict ground states of the training data, as a user would: is the known crystal first, and marked?"""
    from lcoms.evaluate.references import known_ground_states, sample
    from lcoms.evaluate.statistics import Share
    from lcoms.prediction.bundle import WeightBundle

    templates = WeightBundle.load(asked.weights).templates
    if templates is None:
        raise DataError("these weights have no exact templates; lcoms train library makes them.")
    references = sample(known_ground_states(templates, max_atoms=max_atoms), n, sample_seed)
    outcomes = _formulas(references, asked, seeds, ks=(1, 5), exclude_same=False)
    marked = sum(outcome.first_known == outcome.name for outcome in outcomes)
    n_names = len({outcome.name for outcome in outcomes})
    typer.echo(f"first and marked as the known crystal: {Share(marked, len(outcomes), n_names)}")


def _formulas(
    references: list[Reference],
    asked: _Asked,
    seeds: int,
    *,
    ks: tuple[int, ...],
    majority: bool = False,
    exclude_same: bool = True,
) -> list[Outcome]:
    import torch

    from lcoms.evaluate.formulas import evaluate_formulas
    from lcoms.evaluate.kept import OutcomeFile
    from lcoms.prediction.pipeline import Predictor

    torch.set_num_threads(1)  # as in worker processes
    options = replace(options_of(asked), n_candidates=max(ks), exclude_same=exclude_same)
    predictor, clock = Predictor.load(asked.weights, spec=spec_of(options)), time.perf_counter()
    library = predictor.bundle.library
    if seen := sum(library.has(reference.composition) for reference in references):
        of = f"{seen} of {len(references)} structures"
        typer.echo(f"{of} are of compositions that stand in the library; the weights may have learned them.", err=True)
    with ExitStack() as stack:
        file = None
        if asked.out is not None:
            file = stack.enter_context(OutcomeFile(asked.out, references, predictor, n_seeds=seeds))
            if file.outcomes:
                typer.echo(f"{asked.out} holds {len(file.outcomes)} of these predictions; they are not made again.")
        kept = {} if file is None else dict(file.outcomes)

        def take(outcome: Outcome) -> None:
            if file is not None:
                file.add(outcome)
            _print(outcome)

        outcomes = evaluate_formulas(
            references,
            predictor,
            n_seeds=seeds,
            processes=asked.processes,
            kept=kept,
            on_outcome=take,
        )
    _print_shares(outcomes, ks, relaxed=asked.relax, majority=majority)
    spent, median = time.perf_counter() - clock, _median([o.seconds for o in outcomes])
    made = "" if not kept else f" for {len(outcomes) - len(kept)} of them"
    typer.echo(f"{len(outcomes)} predictions, {spent:.0f} s{made}, median {median:.1f} s each")
    return outcomes


def _print_shares(outcomes: list[Outcome], ks: tuple[int, ...], *, relaxed: bool, majority: bool) -> None:
    from lcoms.evaluate.energy_criterion import ABSOLUTE, RELATIVE, share_within_energy
    from lcoms.evaluate.formulas import Criterion, by_majority, ranks_of
    from lcoms.evaluate.statistics import share_within

    criteria: tuple[tuple[str, Criterion], ...] = (
        ("match", "loose"),
        ("filtered match", "filtered"),
        ("strict", "strict"),
        ("strict+group", "both"),
    )
    names = [outcome.name for outcome in outcomes]
    final = "relaxed and ranked by the oracle" if relaxed else "ranked with crystals that need no decoding"
    differ = any(outcome.ranks != outcome.decoded for outcome in outcomes)
    for decoded in (True, False) if relaxed or differ else (True,):
        typer.echo("decoded" if decoded else final)
        for name, criterion in criteria:
            for k in ks:
                share = share_within(ranks_of(outcomes, criterion, decoded=decoded), k, of=names)
                line = f"  {f'{name}@{k}':<18} {share}"
                if majority:
                    share = by_majority(outcomes, k, criterion, decoded=decoded)
                    line += f"   by majority of seeds {share.successes} of {share.trials}"
                typer.echo(line)
    if relaxed:
        typer.echo("first candidate's energy by the oracle, against the known crystal relaxed in the same way")
        for threshold in RELATIVE:
            share = share_within_energy(outcomes, threshold, relative=True)
            typer.echo(f"  {f'within {threshold:.0%}':<18} {share}")
        for threshold in ABSOLUTE:
            share = share_within_energy(outcomes, threshold, relative=False)
            typer.echo(f"  {f'within {threshold} eV':<18} {share}")


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _print(outcome: Outcome) -> None:
    found = (outcome.ranks.loose, outcome.ranks.strict, outcome.ranks.both)
    ranks = [f"{'-' if rank is None else rank:>3}" for rank in (outcome.decoded.strict, *found)]
    typer.echo(
        f"{outcome.formula:<16} seed {outcome.seed}  decoded: strict rank {ranks[0]}  final: loose {ranks[1]} "
        f"strict {ranks[2]} +group {ranks[3]}  known {outcome.space_group:>3}, first "
        f"{outcome.first_space_group or '-':>3}  {outcome.note}"
    )
