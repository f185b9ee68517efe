"""`lcoms improve`: several rounds of relaxation and descent for one formula."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.options import DEFAULT_EFFORT, EffortOption, OracleOption, SecondOracleOption, StartsOption
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.prediction.improve import Round


def improve(
    formula: Annotated[str, typer.Argument(help="A formula such as SrTiO3.")],
    budget: Annotated[int, typer.Option(help="Relaxations in all.")] = 48,
    batch: Annotated[int, typer.Option(help="Relaxations of a round.")] = 12,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    n: Annotated[int, typer.Option("-n", help="Candidates to keep.")] = 10,
    effort: EffortOption = DEFAULT_EFFORT,
    starts: StartsOption = None,
    without_same: Annotated[
        bool, typer.Option("--without-same", help="Leave training crystals of the very formula out of the starts.")
    ] = False,
    oracle: OracleOption = DEFAULT_ORACLE,
    second_oracle: SecondOracleOption = None,
    processes: Annotated[int | None, typer.Option(help="Processes that relax.", show_default="all cores")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of trained weights.", show_default="those in the package")
    ] = None,
) -> None:
    """Relax candidates, teach the surrogate what came out, and descend again, until the budget is spent."""
    from rich.console import Console

    from lcoms.models.weights import load_weights
    from lcoms.oracles.registry import make_oracle
    from lcoms.prediction.improve import ImproveConfig
    from lcoms.prediction.improve import improve as run
    from lcoms.prediction.output import make_folder, table, write_prediction
    from lcoms.prediction.presets import configs_for
    from lcoms.structure.crystal import Composition

    composition = Composition.from_formula(formula)
    search = {"n_candidates": n, "n_starts": starts, "exclude_same": without_same, "seed": seed}
    config, refined = configs_for(effort, search=search, refinement={"oracle": oracle, "second_oracle": second_oracle})
    rounds = ImproveConfig(budget=budget, batch=batch)
    loaded = load_weights(weights)
    make_oracle(oracle).check([composition])
    make_folder(out)
    prediction = run(composition, loaded, config, refined, rounds, processes=processes, on_round=_print)
    folder = write_prediction(prediction, out)
    console = Console()
    console.print(table(prediction))
    for sentence in prediction.failures:
        console.print(f"Not ranked: {sentence}", style="dim", soft_wrap=True)
    if prediction.confidence is not None:
        console.print(f"Rank 1 is the known ground state with a probability of {prediction.confidence:.0%}.")
    console.print(f"Next: open {folder / 'rank-01.cif'} in a crystal viewer.", soft_wrap=True)


def _print(one: Round) -> None:
    typer.echo(
        f"{one.relaxed:>4} relaxed, {one.distinct} distinct, lowest {one.lowest:.4f} eV/atom; the surrogate's error on "
        f"their differences {one.error_before:.3f}, after the fit {one.error_after:.3f} eV/atom"
    )
