"""The work of `lcoms predict` after its options are read: formulas are predicted, written and printed one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lcoms.cli.console import complain, plain_console
from lcoms.core.disk import require_no_campaign
from lcoms.core.errors import FormulaError, LcomsError, OracleError
from lcoms.core.machine import release_memory

if TYPE_CHECKING:
    from rich.console import Console

    from lcoms.diffraction.fit import PatternFitter
    from lcoms.oracles.hull import Hull
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Typed
    from lcoms.prediction.progress import Progress
    from lcoms.prediction.result import Prediction
    from lcoms.prediction.spec import PredictionSpec
    from lcoms.structure.crystal import Composition, Crystal

PREDICTED = "predicted"
STAR_NOTE = " *: total energy, as the energy model has no reference for an element."
DECODED_NOTE = "Energies are formation energies predicted by the surrogate, not by DFT."
PRESSURE_NOTE = "H: enthalpies at {pressure:g} GPa after relaxation with {oracle}, eV/atom."
RELAXED_NOTE = "Formation energies in eV/atom, after relaxation with {oracle}{before}."
BEFORE_NOTE = "; `surrogate`: before relaxation"
MEAN_NOTE = " `above` is the mean of {models}."
SPREAD_NOTE = " ± is the standard deviation over the energy models."


@dataclass(frozen=True)
class Output:
    """Options of the written and printed output."""

    folder: Path
    formats: tuple[str, ...] = ("cif",)
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    report: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Inputs:
    """Input files of a prediction."""

    start_structure: Path | None = None
    hull: str | None = None
    pattern: Path | None = None
    wavelength: str | None = None

    @property
    def typed(self) -> Typed:
        """The inputs that were given, for results.json."""
        return tuple((name, str(value)) for name, value in vars(self).items() if value is not None)


@dataclass(frozen=True)
class Loaded:
    """Contents of the input files."""

    structure: Crystal | None = None
    hull: Hull | None = None
    pattern: PatternFitter | None = None


@dataclass(frozen=True)
class Run:
    """Specification, inputs, output and resources of a command."""

    spec: PredictionSpec
    typed: Typed
    output: Output
    inputs: Inputs
    weights: Path | None
    processes: int | None
    threads: int
    device: str = "cpu"

    @property
    def repeatable(self) -> bool:
        """Whether results.json records everything that the answer depends on, so that it can replace a new one."""
        given = (self.inputs.hull, self.inputs.start_structure, self.inputs.pattern)
        return given == (None, None, None) and not (self.output.report or self.output.as_json)


def predict_all(compositions: list[Composition], run: Run) -> int:
    """Predict, write and print one formula after another; return the number of failures."""
    console = plain_console(quiet=run.output.quiet or run.output.as_json)
    clock = time.perf_counter()
    with console.status("Loading the weights ..."):
        predictor, loaded = _prepare(run)
        able = _checked(compositions, predictor, loaded.pattern)
    failed = len(compositions) - len(able)
    waiting = [one for one in able if not _is_there(one, predictor, run, console)]
    if loaded.hull is not None:
        for composition in waiting:
            _complain_of_missing(composition, loaded.hull)
    found = (_predict_one(one, predictor, loaded, console, verbose=run.output.verbose) for one in waiting)
    predictions: Iterable[Prediction] = (replace(one, options=run.typed) for one in found if one is not None)
    if run.inputs.hull == PREDICTED:
        predictions = _with_predicted_hull(predictions, run.spec)
    done = _tell(predictions, predictor, run.output, console)
    if done.n:
        console.print(f"{done.note(run.spec)} {time.perf_counter() - clock:.1f} s.", style="dim")
        console.print(f"Next: open {done.next_step}.", soft_wrap=True, markup=False, highlight=False)
    return failed + len(waiting) - done.n


def _prepare(run: Run) -> tuple[Predictor, Loaded]:
    """Load weights and input files, and raise all errors that can be detected before the first formula."""
    import torch

    from lcoms.prediction.by_pattern import read_fitter
    from lcoms.prediction.hulls import predicted_hull, read_hull
    from lcoms.prediction.output import make_folder
    from lcoms.prediction.pipeline import Predictor
    from lcoms.structure.io import read_crystal

    require_no_campaign(run.output.folder)
    torch.set_num_threads(run.threads)
    inputs = run.inputs
    if inputs.hull == PREDICTED:
        predicted_hull([], run.spec)  # raises now if there will be nothing to compare
    predictor = Predictor.load(run.weights, spec=run.spec, processes=run.processes, device=run.device)
    structure = None if inputs.start_structure is None else read_crystal(inputs.start_structure)
    hull = None if inputs.hull in (None, PREDICTED) else read_hull(Path(str(inputs.hull)), run.spec)
    pattern = read_fitter(inputs.pattern, inputs.wavelength, predictor.bundle.pattern)
    make_folder(run.output.folder)
    return predictor, Loaded(structure, hull, pattern)


def _checked(compositions: list[Composition], predictor: Predictor, pattern: PatternFitter | None) -> list[Composition]:
    """Return the compositions that can be predicted, after printing a sentence on each of the others."""
    from lcoms.prediction.reach import doubts

    able = []
    for composition in compositions:
        try:
            predictor.check(composition, pattern)
            able.append(composition)
            for sentence in doubts(predictor.energy_models, composition):
                complain(f"{composition.reduced_formula}: {sentence}")
        except (FormulaError, OracleError) as error:
            name = composition.reduced_formula
            complain(f"{name}: {str(error).removeprefix(f'{name}: ')}")
    return able


def _is_there(composition: Composition, predictor: Predictor, run: Run, console: Console) -> bool:
    """Return whether the results folder already holds this prediction; say so, or that it holds another one."""
    from lcoms.prediction.output import holds_prediction, results_folder
    from lcoms.prediction.result import is_finished

    name = composition.reduced_formula
    folder = results_folder(run.output.folder, name)
    if run.output.overwrite or not holds_prediction(folder):
        return False
    there = run.repeatable and is_finished(
        run.output.folder, composition, run.spec, predictor.bundle.digest, run.output.formats
    )
    text = "already holds this prediction; --overwrite repeats it"
    if not there:
        text = "holds an earlier prediction, which this one replaces"
    console.print(f"{name}: {folder} {text}.", soft_wrap=True, markup=False, highlight=False)
    return there


@dataclass(frozen=True)
class Done:
    """Summary of the predictions of a command, printed at its end."""

    n: int = 0
    starred: bool = False
    spread: bool = False
    ranked_by: tuple[str, ...] = ()
    next_step: str = ""
    columns: frozenset[str] = frozenset()

    def with_one(self, prediction: Prediction, next_step: str, columns: frozenset[str]) -> Done:
        """Return the summary with one more prediction, whose table had these columns."""
        relaxed = (c.relaxed for c in prediction.candidates)
        starred = any(
            one is not None and one.usable and one.formation_energy is None and not one.pressure for one in relaxed
        )
        spread = any(c.hull is not None and c.hull.spread is not None for c in prediction.candidates)
        return Done(
            self.n + 1,
            self.starred or starred,
            self.spread or spread,
            prediction.ranked_by,
            self.next_step or next_step,
            self.columns | columns,
        )

    def note(self, spec: PredictionSpec) -> str:
        """Return an explanation of the energies shown in the tables."""
        if spec.relaxation is None:
            return DECODED_NOTE
        note = PRESSURE_NOTE if spec.pressure else RELAXED_NOTE
        before = BEFORE_NOTE if "surrogate" in self.columns else ""
        note = note.format(oracle=spec.relaxation.oracle, pressure=spec.pressure, before=before)
        if len(self.ranked_by) > 1 and "above" in self.columns:
            note += MEAN_NOTE.format(models=" and ".join(self.ranked_by))
        note += SPREAD_NOTE if self.spread and "hull" in self.columns else ""
        return note + (STAR_NOTE if self.starred else "")


def _with_predicted_hull(predictions: Iterable[Prediction], spec: PredictionSpec) -> Iterator[Prediction]:
    """Yield the predictions with energies above the hull of all of them; missing phases are reported.

    All formulas are predicted first, because each is a phase in the hull of the others.
    """
    from lcoms.prediction.hulls import predicted_hull
    from lcoms.prediction.rank import with_hull

    found = list(predictions)
    hull = predicted_hull(found, spec)
    for prediction in found:
        _complain_of_missing(prediction.composition, hull)
        yield replace(prediction, candidates=with_hull(prediction.candidates, hull))


def _tell(predictions: Iterable[Prediction], predictor: Predictor, output: Output, console: Console) -> Done:
    """Write, print and release each prediction before the next one is made; return the summary."""
    from lcoms.page import PageWriter
    from lcoms.prediction.table import headings

    done = Done()
    with ExitStack() as stack:
        page = stack.enter_context(PageWriter(output.folder, predictor.bundle)) if output.report else None
        if output.as_json:
            typer.echo("[")
            stack.callback(typer.echo, "]")
        for prediction in predictions:
            folder = prediction.write(output.folder, output.formats)
            if output.as_json:
                typer.echo(("," if done.n else "") + json.dumps(prediction.to_dict(), allow_nan=False))
            _print(prediction, console)
            if output.verbose:
                complain(_what_became(prediction))
            if page is not None:
                page.add(prediction)
            first = next(folder.glob("rank-01.*"), folder)
            next_step = f"{first} in a crystal viewer" if page is None else f"{page.path} in a browser"
            done = done.with_one(prediction, next_step, headings(prediction, console.width))
            release_memory()
    return done


def _print(prediction: Prediction, console: Console) -> None:
    from lcoms.prediction.table import sentences, table

    console.print(table(prediction, console.width))
    for sentence in sentences(prediction):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)


def _complain_of_missing(composition: Composition, hull: Hull) -> None:
    from lcoms.prediction.hulls import missing_phases

    if sentence := missing_phases(composition, hull):
        complain(f"{composition.reduced_formula}: {sentence}")


def _predict_one(
    composition: Composition, predictor: Predictor, loaded: Loaded, console: Console, *, verbose: bool
) -> Prediction | None:
    """Return a prediction with at least one candidate; otherwise print the reason and return None."""
    from lcoms.prediction.result import require_candidates

    name = composition.reduced_formula
    try:
        with console.status(f"{name}: searching ...") as status:
            prediction = predictor.predict(
                composition,
                structure=loaded.structure,
                hull=loaded.hull,
                pattern=loaded.pattern,
                progress=_said if verbose else lambda progress: status.update(f"{name}: {progress} ..."),
            )
        return require_candidates(prediction)
    except LcomsError as error:
        complain(str(error))
        return None


def _said(progress: Progress) -> None:
    """Print a progress step on a separate line."""
    complain(f"{progress.formula}: {progress}")


def _what_became(prediction: Prediction) -> str:
    """Return a sentence with the numbers of decoded, dropped and relaxed crystals."""
    one = prediction.decoded
    dropped = f"{one.n_invalid} without a valid crystal, {one.n_too_close} with atoms too close, "
    return (
        f"{prediction.composition.reduced_formula}: {one.n_proposals} latents, {dropped}{prediction.n_duplicates} "
        f"duplicates; {prediction.n_relaxations} relaxed with {prediction.n_oracle_calls} evaluations."
    )
