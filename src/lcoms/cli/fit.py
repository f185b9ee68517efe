"""`lcoms fit`: parameters of the ranking and of the stated probability, from rows of `lcoms evaluate`."""

from __future__ import annotations

import os
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.groups import with_groups
from lcoms.cli.options import Models, spec_of
from lcoms.cli.search_options import options_of
from lcoms.core.errors import ConfigError, DataError, OptionError
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lcoms.evaluate.fitting import Case
    from lcoms.prediction.bundle import WeightBundle
    from lcoms.prediction.spec import PredictionSpec

app = typer.Typer(no_args_is_help=True, help="Fit the ranking and the stated probability on validation rows.")

LARGE = 20  # atoms; larger cells are reported apart

RowsArgument = Annotated[list[Path], typer.Argument(help="Rows written by lcoms evaluate ... --relax --out.")]
FolderOption = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder of weights to write the fit to; without it nothing is written."),
]


@app.command()
def ranking(rows: RowsArgument, weights: FolderOption = None) -> None:
    """Fit the weights of energy, prototype and structure probability, cross-validated by composition."""
    from lcoms.evaluate.fitting import TERMS, cases_of, cross_validated_order, fit_terms, read_outcomes, score_weights

    outcomes, bundle = read_outcomes(rows), _bundle(weights)
    cases, present = cases_of(outcomes, bundle), bundle.ranking
    order, terms = cross_validated_order(cases), fit_terms(cases)
    stated = sum(outcome["ranks"]["both"] == 1 for outcome in outcomes)
    best, n = sum(bool(case.right.any()) for case in cases), len({case.formula for case in cases})
    told = f"{n} compositions" if n == len(cases) else f"{len(cases)} predictions of {n} compositions"
    typer.echo(f"{told}; the known crystal is among the relaxed candidates of {best}")
    typer.echo(f"first as the rows have it {stated}; by the fit, cross-validated, {order.first}")
    typer.echo(f"within five {order.within_five}; mean negative log-likelihood {order.surprise:.3f}")
    for name, weight in zip(TERMS, terms.tolist(), strict=True):
        typer.echo(f"  {name:<20} {weight:.3f}")
    if weights is not None:
        fitted = score_weights(terms, present.relaxed)
        source = {"data": told, "command": "lcoms fit ranking ROWS"}
        replace(present, relaxed=fitted, fitted={**present.fitted, **source}).save(weights)
        typer.echo(f"Written: {weights / 'ranking.json'}")


@app.command()
@with_groups
def calibration(
    rows: RowsArgument,
    weights: FolderOption = None,
    again: Annotated[
        Path | None,
        typer.Option(help="Recompute the probabilities with the model in this folder of weights."),
    ] = None,
    stated: Annotated[
        bool, typer.Option("--stated", help="Compare the probabilities in the rows; nothing is fitted.")
    ] = False,
    *,
    models: Models,
) -> None:
    """Fit the probability that a candidate is the known ground state, or compare it with what was found."""
    import numpy as np

    from lcoms.evaluate.fitting import cases_of, cross_validated_probabilities, read_outcomes, scored
    from lcoms.prediction.calibrate import CALIBRATION_FILE, fit_calibration, load_calibration

    if stated + (again is not None) + (weights is not None) > 1:
        raise ConfigError("--stated, --again and --weights exclude each other: only --weights writes a fit.")
    if stated and models != Models():
        raise ConfigError("energy models have no effect with --stated, which fits nothing; omit their names.")
    outcomes = read_outcomes(rows)
    if stated:
        right = np.array([outcome["ranks"]["both"] == 1 for outcome in outcomes], dtype=bool)
        _report(_stated(outcomes), right, "as stated")
        return
    spec = spec_of(replace(options_of(models), relax=True))
    bundle = _bundle(weights if again is None else again)
    cases, order = cases_of(outcomes, bundle, n_models=len(spec.models)), bundle.ranking.relaxed
    _require_models(outcomes, spec)
    every = scored(cases, order)
    if again is not None:
        model = load_calibration(again).find(spec)
        if model is None:
            raise DataError(f"{again} has no {CALIBRATION_FILE} for {spec.ranked_by}; fit one with --weights {again}.")
        _report_each([model.probabilities(case.heights, case.n_atoms) for case in every], cases, f"by {again}")
        return
    _report_each(cross_validated_probabilities(cases, order), cases, "cross-validated")
    if weights is not None:
        made = f"lcoms fit calibration {' '.join(path.name for path in rows)}"
        load_calibration(weights).with_model(fit_calibration(every, spec=spec, command=made)).save(weights)
        typer.echo(f"Written: {weights / CALIBRATION_FILE}")


@app.command()
def known(
    rows: RowsArgument,
    store: Annotated[Path, typer.Option(help="A store made by lcoms data ingest, with an earlier and a later source.")],
    earlier: Annotated[str, typer.Option(help="Start of the name of the earlier source.")] = "MP 2018",
    weights: FolderOption = None,
) -> None:
    """Fit how far below the known crystals of its composition an unknown one must lie to rank first."""
    import numpy as np

    from lcoms.data.store import Store
    from lcoms.evaluate.fitting import cases_of, read_outcomes, scored
    from lcoms.evaluate.fitting_known import fit_bonus, gaps_of, share_right, unknown_ground_states

    bundle = _bundle(weights)
    present = bundle.ranking
    gaps = gaps_of(scored(cases_of(read_outcomes(rows), bundle), present.relaxed))
    shares = unknown_ground_states(Store.open(store), earlier)
    typer.echo(f"{len(gaps)} predictions; the known crystal has the best score in {int((gaps > 0).sum())}")
    fitted = []
    for where, unknown in zip(("on the hull", "above the hull"), shares, strict=True):
        fitted.append(round(fit_bonus(gaps, unknown.share), 3))
        none, best = share_right(gaps, np.array([0.0, fitted[-1]]), unknown.share)
        typer.echo(f"lowest known crystal {where}: another ground state for {unknown.share:.3f} of {unknown.n}")
        typer.echo(f"  bonus {fitted[-1]:.3f} eV/atom: right first {best:.3f}, without it {none:.3f}")
    if weights is not None:
        bonuses = replace(present.known, on_hull=fitted[0], above_hull=fitted[1])
        source = f"{len(gaps)} predictions of validation compositions; lcoms fit known ROWS --store STORE"
        replace(present, known=bonuses, fitted={**present.fitted, "known": source}).save(weights)
        typer.echo(f"Written: {weights / 'ranking.json'}")


def _require_models(outcomes: list[dict[str, Any]], spec: PredictionSpec) -> None:
    """Check that the rows have energies by as many models as the predictions whose probability is fitted.

    Raises:
        DataError: they have fewer.
    """
    relaxed = [row for outcome in outcomes for row in outcome["rows"] if row["energy"] is not None]
    if (n := min(len(row["energies"]) for row in relaxed)) < len(spec.models):
        models = "one energy model" if n == 1 else f"{n} energy models"
        raise DataError(f"rows have energies by {models}, not by {spec.ranked_by}; name the models that made them.")


def _bundle(weights: Path | None) -> WeightBundle:
    """Return the weights in a folder; without networks there, those that ship, with the ranking of the folder."""
    from lcoms.models.weights import REQUIRED
    from lcoms.prediction.bundle import WeightBundle
    from lcoms.prediction.ranking_file import load_ranking

    if weights is None or all((weights / name).is_file() for name in REQUIRED):
        return WeightBundle.load(weights)
    return replace(WeightBundle.load(), ranking=load_ranking(weights))


def _report_each(probabilities: Sequence[NDArray[np.float64]], cases: Sequence[Case], how: str) -> None:
    """Print the reliability of the probabilities of the first candidates, for large cells apart, and of all."""
    import numpy as np

    from lcoms.evaluate.fitting import mean_surprise
    from lcoms.prediction.calibrate import reliability

    firsts = [int(np.argmax(p)) for p in probabilities]
    right = np.array([bool(case.right[at]) for case, at in zip(cases, firsts, strict=True)])
    large = np.array([int(case.n_atoms[at]) > LARGE for case, at in zip(cases, firsts, strict=True)])
    stated = np.array([p.max() for p in probabilities])
    _report(stated, right, how)
    if large.any():
        error = reliability(stated[large], right[large])[1]
        typer.echo(
            f"of {large.sum()} cells of more than {LARGE} atoms {error:.3f}: stated {stated[large].mean():.2f}, right "
            f"{right[large].mean():.2f}"
        )
    every = reliability(np.concatenate(probabilities), np.concatenate([case.right for case in cases]))[1]
    surprise = mean_surprise(probabilities, cases)
    n_candidates = sum(map(len, probabilities))
    typer.echo(f"of all {n_candidates} candidates {every:.3f}; mean negative log-likelihood {surprise:.3f}")


def _stated(outcomes: list[dict[str, Any]]) -> NDArray[np.float64]:
    import numpy as np

    stated = [outcome["probability"] for outcome in outcomes]
    if not stated or None in stated:
        raise DataError("the weights that made these rows state no probability; fit one without --stated.")
    return np.array(stated, dtype=np.float64)


def _report(probabilities: NDArray[np.float64], right: NDArray[np.bool_], how: str) -> None:
    from lcoms.prediction.calibrate import reliability

    bins, ece = reliability(probabilities, right)
    typer.echo(f"{len(right)} predictions, {right.mean():.3f} right (strict match and space group at rank 1)")
    typer.echo("stated  right  predictions")
    for probability, share, n in bins:
        typer.echo(f"{probability:6.2f}  {share:5.2f}  {n:>11}")
    typer.echo(f"expected calibration error {ece:.3f}, {how}")


@app.command()
def hull(
    store: Annotated[Path, typer.Argument(help="A store made by lcoms data ingest, with formation energies.")],
    work: Annotated[Path, typer.Option(help="Folder for energies; an interrupted run is resumed there.")],
    weights: FolderOption = None,
    oracle: Annotated[str, typer.Option(help="Energy model, such as chgnet:r2scan.")] = DEFAULT_ORACLE,
    near: Annotated[float, typer.Option(help="Largest energy above the hull of the source, eV/atom.")] = 0.005,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Use only sources that start with this text, on one energy scale; repeatable."),
    ] = None,
    relax: Annotated[
        bool,
        typer.Option(
            "--relax/--as-given",
            help="Relax the crystals, or take them as given and subtract the mean relaxation energy.",
        ),
    ] = True,
) -> None:
    """Compute the reference phases of the convex hull: those of the store and the paper's 26 compounds."""
    from lcoms.data.store import Store
    from lcoms.evaluate.references import paper_compounds
    from lcoms.models.manifest import record_files
    from lcoms.models.weights import PHASES_FILE
    from lcoms.oracles.registry import make_oracle
    from lcoms.train.phases import (
        choose_phases,
        evaluate_as_given,
        evaluate_relaxed,
        make_table,
        mean_decrease,
        relaxed_phases,
    )

    if not 0 <= near < inf:
        raise OptionError("{} must be zero or positive, not {value}.", ["near"], near)
    data, model = Store.open(store), make_oracle(oracle)
    rows, done = choose_phases(data, sources=source or (), near=near), 0
    if not rows:
        raise DataError(f"{store} holds no compound within {near:g} eV/atom of its hull; change --near or --source.")
    typer.echo(f"{len(rows)} phases within {near:g} eV/atom of the hull of the source")

    def tell(n: int) -> None:
        nonlocal done
        done += n
        if os.isatty(2):
            typer.echo(f"\r{done}", err=True, nl=False)

    lowered = 0.0
    if relax:
        energies = evaluate_relaxed(data, rows, oracle, work, tell)
    else:
        energies = evaluate_as_given(data, rows, model, work, tell)
        lowered = mean_decrease(data, rows, model, work)
        typer.echo(f"lowered by {lowered:.4f} eV/atom, as a relaxation does on average")
    literature = relaxed_phases([one.crystal for one in paper_compounds()], "literature", oracle)
    table = make_table(data, rows, energies, model, lowered=lowered, further=literature)
    typer.echo(f"{len(table)} have an energy by {oracle}")
    if weights is not None:
        table.save(weights)
        record_files(weights, [PHASES_FILE])
        typer.echo(f"Written: {weights / PHASES_FILE}")
