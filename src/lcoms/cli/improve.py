"""`lcoms improve`: several rounds of relaxation and descent for one formula."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import plain_console
from lcoms.cli.options import (
    DEFAULT_EFFORT,
    CandidatesOption,
    CommitteeOption,
    EffortOption,
    OracleOption,
    RelaxProcessesOption,
    SeedOption,
    StartsOption,
    ThreadsOption,
    WeightsOption,
    WithoutSameOption,
    names_of,
    spec_of,
)
from lcoms.core.disk import require_no_campaign

if TYPE_CHECKING:
    from lcoms.prediction.improve import Round


def improve(
    formula: Annotated[str, typer.Argument(help="A formula such as SrTiO3.")],
    budget: Annotated[int, typer.Option(help="Total number of relaxations.")] = 48,
    batch: Annotated[int, typer.Option(help="Relaxations in each round.")] = 12,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    n: CandidatesOption = 10,
    effort: EffortOption = DEFAULT_EFFORT,
    starts: StartsOption = None,
    without_same: WithoutSameOption = False,
    oracle: OracleOption = None,
    committee: CommitteeOption = None,
    processes: RelaxProcessesOption = None,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Relax candidates, teach the surrogate what came out, and descend again, until the budget is spent."""
    import torch

    from lcoms.prediction.improve import ImproveConfig
    from lcoms.prediction.improve import improve as run
    from lcoms.prediction.output import make_folder
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Options
    from lcoms.prediction.result import require_candidates
    from lcoms.prediction.table import sentences, table
    from lcoms.structure.crystal import Composition

    composition = Composition.from_formula(formula)
    options = Options(
        effort=effort,
        n_candidates=n,
        starts=starts,
        exclude_same=without_same,
        relax=True,
        oracle=oracle,
        committee=names_of(committee),
        seed=seed,
    )
    rounds = ImproveConfig(budget=budget, batch=batch)
    require_no_campaign(out)
    torch.set_num_threads(threads)
    predictor = Predictor.load(weights, spec=spec_of(options), processes=processes)
    predictor.check(composition)
    make_folder(out)
    console = plain_console()
    with console.status(f"{composition.reduced_formula}: searching ...") as status:

        def tell(one: Round) -> None:
            console.print(_line(one), markup=False, highlight=False)

        prediction = run(
            composition,
            predictor,
            rounds,
            on_round=tell,
            progress=lambda progress: status.update(f"{progress.formula}: {progress} ..."),
        )
    folder = require_candidates(prediction).write(out)
    console.print(table(prediction, console.width))
    for sentence in sentences(prediction):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    console.print(f"Next: open {folder / 'rank-01.cif'} in a viewer.", soft_wrap=True, markup=False, highlight=False)


def _line(one: Round) -> str:
    return (
        f"{one.relaxed:>4} relaxed, {one.distinct} distinct, lowest {one.lowest:.4f} eV/atom; the surrogate's error on "
        f"their differences {one.error_before:.3f}, after the fit {one.error_after:.3f} eV/atom"
    )
