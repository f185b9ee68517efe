"""`lcoms benchmark`: all methods under one protocol, stored rows, and tables and figures made from them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.benchmark_rows import keep, report
from lcoms.cli.options import WeightsOption
from lcoms.cli.reproduce import reproduce
from lcoms.core.config import names_in
from lcoms.core.errors import ConfigError, OptionError
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.benchmark.protocol import Task, Track
    from lcoms.benchmark.rows import Judged, Row

QUICK_COMPOUNDS = "NaCl,MgO,ZnS,Si"
QUICK: Mapping[str, Any] = {"points": 3, "budget": 100, "tpe_budget": 50, "relaxations": 10}
MAX_ATOMS = 20

app = typer.Typer(no_args_is_help=True, help="Run all methods under one protocol, and make tables of the rows.")

OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the rows; runs it already holds are not repeated.")
]
CompoundsOption = Annotated[
    str | None, typer.Option(help="Names separated by commas, such as NaCl,MgO.", show_default="all")
]
TableOption = Annotated[
    Path | None, typer.Option(help="Data file of known structures, instead of the paper's 26 compounds.")
]
NumberOption = Annotated[
    int | None, typer.Option("-n", help="Take a random sample of this size from the table.", show_default="all", min=1)
]
SeedsOption = Annotated[int | None, typer.Option(help="Number of seeds (0, 1, ...).", show_default="3, quick 1", min=1)]
STEPS_HELP = "Steps of gradient descent."
StepsOption = Annotated[int, typer.Option(help=STEPS_HELP, min=0)]
PointsOption = Annotated[
    int | None,
    typer.Option(help="Points along a descent to decode and evaluate, as in Figure 2.", show_default="0, quick 3"),
]
JudgeOption = Annotated[str, typer.Option(help="Energy model that evaluates the answers.")]
ProcessesOption = Annotated[
    int, typer.Option(help="Number of parallel runs; each slows the others down.", min=1, max=512)
]


@app.command()
def run(
    out: OutOption,
    methods: Annotated[
        str | None,
        typer.Option(help="Names separated by commas.", show_default="all but dft-pso whose models are given"),
    ] = None,
    track: Annotated[str | None, typer.Option(help="paper or formula.", show_default="both")] = None,
    compounds: CompoundsOption = None,
    table: TableOption = None,
    n: NumberOption = None,
    seeds: SeedsOption = None,
    steps: Annotated[int | None, typer.Option(help=STEPS_HELP, show_default="50", min=0)] = None,
    points: PointsOption = None,
    budget: Annotated[
        int | None,
        typer.Option(help="Energy evaluations of a search with MEGNet.", show_default="1000, quick 100", min=1),
    ] = None,
    tpe_budget: Annotated[
        int | None,
        typer.Option(
            help="Energy evaluations of megnet-tpe, whose cost grows quadratically.",
            show_default="200, quick 50",
            min=1,
        ),
    ] = None,
    relaxations: Annotated[
        int | None, typer.Option(help="Relaxations per search.", show_default="50, quick 10", min=1)
    ] = None,
    dft_relaxations: Annotated[
        int | None, typer.Option(help="Relaxations of dft-pso.", show_default="20", min=1)
    ] = None,
    dft: Annotated[str | None, typer.Option(help="Energy model of dft-pso.", show_default="gpaw")] = None,
    max_units: Annotated[
        int | None,
        typer.Option(
            help="Largest number of formula units for searches from the formula alone.", show_default="4", min=1
        ),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(help="fast, normal or thorough; for lcoms from the formula alone.", show_default="normal"),
    ] = None,
    judge: JudgeOption = DEFAULT_ORACLE,
    start_oracle: Annotated[
        str | None, typer.Option(help="Energy model that relaxes the starts.", show_default="the judge")
    ] = None,
    weights: WeightsOption = None,
    sl: Annotated[
        Path | None, typer.Option(help="Weights made by lcoms train surrogate --conservatism off, for method sl.")
    ] = None,
    megnet: Annotated[
        Path | None, typer.Option(help="File made by lcoms train megnet, for methods megnet-....")
    ] = None,
    input_model: Annotated[
        Path | None, typer.Option("--input", help="File made by lcoms train megnet --conservatism on, for input-coms.")
    ] = None,
    processes: ProcessesOption = 1,
    label: Annotated[
        str, typer.Option(help="Text appended to the method names in the rows, such as '(paper)'.", show_default=False)
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small run: four compounds, one seed, small budgets.")] = False,
) -> None:
    """Run methods on compounds; each finished run is a line of OUT/rows.jsonl.

    Track paper: the number of atoms is known, and the starts are relaxed random crystals. Track formula: the
    formula alone. Methods: lcoms, sl, cdvae, start, input-coms, lcoms-decoded, megnet-random, megnet-pso, megnet-tpe,
    random, evolution, dft-pso.
    """
    from lcoms.benchmark.choice import choose_methods
    from lcoms.benchmark.methods import Files
    from lcoms.benchmark.protocol import BenchmarkConfig
    from lcoms.benchmark.run import run_benchmark

    tracks, wanted_methods = _tracks(track), None if methods is None else names_in(methods, "--methods")
    options = {
        "start": start_oracle,
        "steps": steps,
        "points": points,
        "budget": budget,
        "tpe_budget": tpe_budget,
        "relaxations": relaxations,
        "dft": dft,
        "dft_relaxations": dft_relaxations,
        "max_units": max_units,
        "effort": effort,
    }
    given = {name: value for name, value in options.items() if value is not None}
    config = replace(BenchmarkConfig(judge=judge), **{**(QUICK if quick else {}), **given})
    files = Files(weights, sl, megnet, input_model)
    chosen: dict[Track, list[str]] = {}
    for name in tracks:
        chosen[name], left_out = choose_methods(name, wanted_methods, files)
        for sentence in left_out:
            typer.echo(f"track {name}: {sentence}", err=True)
    _require_run(wanted_methods or [], chosen)
    _require_used([*given, *(name for name, path in vars(files).items() if path is not None)], chosen)
    wanted = QUICK_COMPOUNDS if quick and compounds is None and table is None else compounds
    tasks = [task for name in tracks for task in _tasks(name, wanted, table, n)]
    n_seeds = _chosen(seeds, 1 if quick else 3)
    n_runs = n_seeds * sum(len(chosen[task.track]) for task in tasks)
    told = _Teller(n_runs)
    done = run_benchmark(
        tasks,
        chosen,
        range(n_seeds),
        config,
        files,
        out,
        processes=processes,
        label=(f" start={start_oracle}" if start_oracle else "") + (f" {label}" if label else ""),
        on_row=told.tell,
    )
    told.end(out, done)


@app.command()
def sweep(
    store: Annotated[
        Path, typer.Argument(help="Store made by lcoms data ingest, on which the surrogates are trained.")
    ],
    out: OutOption,
    tau: Annotated[str, typer.Option(help="Values separated by commas, or none.")] = "0.1,0.5,1,2,5",
    inner_steps: Annotated[str, typer.Option(help="Steps of the adversary in training, or none.")] = "1,50",
    final_steps: Annotated[str, typer.Option(help="Steps of the final descent, or none.")] = "10,40,50,200",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for all surrogates, such as epochs=20; repeatable.")
    ] = None,
    compounds: CompoundsOption = None,
    seeds: SeedsOption = 3,
    steps: StepsOption = 50,
    points: Annotated[
        int, typer.Option(help="Points along a descent to decode and evaluate, as in Figure 4.", min=0)
    ] = 0,
    judge: JudgeOption = DEFAULT_ORACLE,
    weights: WeightsOption = None,
    processes: ProcessesOption = 1,
) -> None:
    """Train a surrogate for each value in OUT/surrogates, and run LCOMs with it from the paper's starts."""
    from lcoms.benchmark.methods import Files
    from lcoms.benchmark.protocol import BenchmarkConfig
    from lcoms.benchmark.sweep import Variant, run_sweep
    from lcoms.train.surrogate_figures import EpochRecord

    variants = [Variant("tau", value) for value in _numbers(tau, "--tau")]
    variants += [Variant("inner_steps", value) for value in _numbers(inner_steps, "--inner-steps")]
    variants += [Variant("steps", value) for value in _numbers(final_steps, "--final-steps")]
    if not variants:
        raise ConfigError("there is nothing to vary; give values to --tau, --inner-steps or --final-steps.")
    config = BenchmarkConfig(judge=judge, steps=steps, points=points)
    tasks, n_seeds = _tasks("paper", compounds, None, None), _chosen(seeds, 3)
    told = _Teller(len(variants) * n_seeds * len(tasks))

    def on_epoch(variant: Variant, record: EpochRecord) -> None:
        typer.echo(f"training{variant.label}: epoch {record.epoch}, MAE {record.mae:.3f} eV/atom")

    done = run_sweep(
        variants,
        store,
        tasks,
        range(n_seeds),
        config,
        Files(weights),
        out,
        overrides=set_ or [],
        processes=processes,
        on_epoch=on_epoch,
        on_row=told.tell,
    )
    told.end(out, done)


app.command()(reproduce)
app.command()(report)
app.command()(keep)


class _Teller:
    """Progress of a benchmark: prints one line for each new row."""

    def __init__(self, n_runs: int) -> None:
        self.n_runs, self.n_new, self.began = n_runs, 0, time.perf_counter()

    def tell(self, row: Row) -> None:
        """Print the result of a run in one line."""
        self.n_new += 1
        found = [_in_short(judged, row) for judged in (row.answer, row.relaxed)]
        typer.echo(
            f"{self.n_new:>5}  {row.track:<7} {row.method:<14} {row.compound:<10} seed {row.seed}  as answered: "
            f"{found[0]}  relaxed: {found[1]}  {row.total_seconds:7.2f} s  {row.reason}".rstrip()
        )

    def end(self, out: Path, n_done: int) -> None:
        """Print the number of runs and the next command."""
        spent = time.perf_counter() - self.began
        typer.echo(f"{self.n_new} new runs in {spent:.0f} s, {n_done} were there, {self.n_runs} were asked for.")
        typer.echo(f"Next: lcoms benchmark report {out} --out {out / 'report'}")


def _in_short(judged: Judged | None, row: Row) -> str:
    if judged is None:
        return "nothing"
    known, energy = None if row.known is None else row.known.compared, judged.compared
    above = "     ?" if known is None or energy is None else f"{energy - known:+6.3f}"
    match = "strict+group" if judged.strict and judged.same_group else "strict" if judged.strict else "-"
    return f"{above} eV/atom {match:<12}"


def _tracks(name: str | None) -> list[Track]:
    from lcoms.benchmark.protocol import TRACKS

    if name is None:
        return list(TRACKS)
    chosen = [track for track in TRACKS if track == name]
    if not chosen:
        raise ConfigError(f"there is no track {name!r}; choose {' or '.join(TRACKS)}.")
    return chosen


def _require_run(methods: list[str], chosen: Mapping[Track, list[str]]) -> None:
    """Check that each method that was named runs on a track.

    Raises:
        ConfigError: one does not.
    """
    for name in methods:
        if not any(name in names for names in chosen.values()):
            raise ConfigError(f"method {name} is not on track {' or '.join(chosen)}; omit it, or --track.")


def _require_used(options: list[str], chosen: Mapping[Track, list[str]]) -> None:
    """Check that the methods that run use each option that was given; raises OptionError with the option as typed."""
    from lcoms.benchmark.choice import require_used

    names = {"start": "start_oracle", "input_model": "input"}
    try:
        require_used(options, chosen)
    except OptionError as error:
        raise error.renamed(lambda name: names.get(name, name)) from error


def _tasks(track: Track, compounds: str | None, table: Path | None, n: int | None) -> list[Task]:
    """Return the tasks of a track, from the paper's compounds or from a table."""
    from lcoms.benchmark.protocol import PAPER_GROUP, Task
    from lcoms.evaluate import references

    known, group = references.paper_compounds(), PAPER_GROUP
    if table is None and n is not None:
        raise ConfigError("-n has no effect without --table; omit it, or name the compounds with --compounds.")
    if table is not None:
        known, left_out = references.references_from_file(table, max_atoms=MAX_ATOMS)
        if left_out:
            typer.echo(f"{table.name}: {left_out} rows are left out (over {MAX_ATOMS} atoms or unreadable)", err=True)
        known, group = references.sample(known, n, 0), table.name.partition(".")[0]
    if compounds is not None:
        known = references.named(known, names_in(compounds, "--compounds"), group)
    return [Task(track, one, group) for one in known]


def _numbers(text: str, option: str) -> list[float]:
    """Return the numbers of an option; none of them for the word none."""
    if text.strip().lower() == "none":
        return []
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"{option} {text}: write numbers separated by commas, such as 0.5,1,2, or none.") from None


def _chosen(value: int | None, usual: int) -> int:
    return usual if value is None else value
