"""`lcoms improve`: several rounds of relaxation and descent for one formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lcoms.cli.console import complain, plain_console
from lcoms.cli.groups import with_groups
from lcoms.cli.options import (
    CandidatesOption,
    Models,
    OrderedOption,
    RelaxProcessesOption,
    SeedOption,
    ThreadsOption,
    WeightsOption,
    WithoutSameOption,
    spec_of,
)
from lcoms.cli.search_options import Descents, options_of
from lcoms.core.disk import require_no_campaign

if TYPE_CHECKING:
    from lcoms.prediction.improve import Round


class _Asked(NamedTuple):
    """Options of the search."""

    n: CandidatesOption = 10
    descents: Descents = Descents()
    without_same: WithoutSameOption = False
    models: Models = Models()
    seed: SeedOption = 0


@with_groups
def improve(
    formula: Annotated[str, typer.Argument(help="Formula such as SrTiO3.")],
    budget: Annotated[int, typer.Option(help="Total number of relaxations.")] = 48,
    batch: Annotated[int, typer.Option(help="Relaxations in each round.")] = 12,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    processes: RelaxProcessesOption = None,
    ordered_approximation: OrderedOption = False,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
    *,
    asked: _Asked,
) -> None:
    """Relax decoded crystals, refit the surrogate to their energies, and descend again, until the budget is spent.

    Exact templates, known crystals and random symmetric crystals are not used.
    """
    import torch

    from lcoms.prediction.improve import ImproveConfig
    from lcoms.prediction.improve import improve as run
    from lcoms.prediction.output import make_folder, results_folder
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import typed
    from lcoms.prediction.reach import doubts
    from lcoms.prediction.result import require_candidates
    from lcoms.prediction.table import sentences, table
    from lcoms.structure.crystal import Composition

    composition = Composition.from_formula(formula, ordered_approximation=ordered_approximation)
    options = replace(options_of(asked), relax=True)
    rounds = ImproveConfig(budget=budget, batch=batch)
    require_no_campaign(out)
    torch.set_num_threads(threads)
    console, name = plain_console(), composition.reduced_formula
    if composition.n_formula_units > 1:
        complain(f"{formula.strip()} is predicted as {name}.")
    console.print(f"{name}: {budget} relaxations in rounds of {batch} ...", soft_wrap=True)
    predictor = Predictor.load(weights, spec=spec_of(options), processes=processes)
    predictor.check(composition)
    for sentence in doubts(predictor.energy_models, composition):
        complain(f"{name}: {sentence}")
    make_folder(out)
    kept = out / f"improve-{results_folder(out, name).name}.jsonl"
    if kept.exists():
        console.print(f"Relaxations of an earlier run are taken from {kept}.", soft_wrap=True)
    with console.status(f"{name}: searching ...") as status:
        prediction = run(
            composition,
            predictor,
            rounds,
            on_round=lambda one: console.print(_line(one), soft_wrap=True),
            progress=lambda progress: status.update(f"{name}: {progress} ..."),
            checkpoint=kept,
        )
    record = (("budget", budget), ("batch", batch), *typed(options))
    folder = require_candidates(replace(prediction, options=record)).write(out)
    console.print(table(prediction, console.width))
    for sentence in sentences(prediction):
        console.print(sentence, soft_wrap=True)
    console.print(f"Next: open {folder / 'rank-01.cif'} in a crystal viewer.", soft_wrap=True)


def _line(one: Round) -> str:
    return (
        f"{one.relaxed:>4} relaxed, {one.distinct} distinct, lowest {one.lowest:.4f} eV/atom; error of the surrogate "
        f"in their energy differences {one.error_before:.3f}, after the fit {one.error_after:.3f} eV/atom"
    )
