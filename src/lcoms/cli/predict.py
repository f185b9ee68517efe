"""`lcoms predict`: formulas in, ranked CIF files out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.options import (
    DEFAULT_EFFORT,
    CandidatesOption,
    CommitteeOption,
    EffortOption,
    FmaxOption,
    FormulaUnitsOption,
    MaxCellOption,
    NRelaxOption,
    OracleOption,
    RandomSymmetricOption,
    RelaxOption,
    SeedOption,
    SpecOption,
    StartOption,
    StartsOption,
    StepsOption,
    SymmetryOption,
    ThreadsOption,
    WeightsOption,
    WithoutSameOption,
    formulas_of,
    names_of,
    spec_of,
    units_of,
)
from lcoms.core.errors import FormulaError, LcomsError, OracleError

if TYPE_CHECKING:
    from rich.console import Console

    from lcoms.oracles.hull import Hull
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.result import Prediction
    from lcoms.prediction.spec import PredictionSpec
    from lcoms.structure.crystal import Composition, Crystal

PREDICTED = "predicted"
STAR_NOTE = " *: total energy, as the energy model has no reference for an element."
DECODED_NOTE = "Energies are formation energies predicted by the surrogate, not by DFT."
RELAXED_NOTE = "Formation energies after relaxation with {oracle}, eV/atom, and the surrogate's before it."
COMMITTEE_NOTE = " `above` is by the mean of {models}."


def predict(
    formulas: Annotated[
        list[str] | None, typer.Argument(help="Formulas such as NaCl SrTiO3.", show_default=False)
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", "-f", help="A text file with one formula a line.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    n: CandidatesOption = 10,
    formula_units: FormulaUnitsOption = None,
    max_atoms: MaxCellOption = None,
    effort: EffortOption = DEFAULT_EFFORT,
    starts: StartsOption = None,
    steps: StepsOption = None,
    start: StartOption = None,
    start_structure: Annotated[
        Path | None, typer.Option(help="Start from this CIF, POSCAR or extxyz instead of the library.")
    ] = None,
    symmetry: SymmetryOption = True,
    without_same: WithoutSameOption = False,
    relax: RelaxOption = None,
    oracle: OracleOption = None,
    committee: CommitteeOption = None,
    n_relax: NRelaxOption = None,
    random_symmetric: RandomSymmetricOption = None,
    fmax: FmaxOption = None,
    spec: SpecOption = None,
    hull: Annotated[
        str | None,
        typer.Option(
            help="Reference phases for the energy above hull: a file as lcoms rank --hull takes it, or 'predicted' for "
            "the elements and the formulas of this command."
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Processes that relax.", show_default="all cores")] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Also write OUT/report.html, a page to look at that works offline.")
    ] = False,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Predict the crystal structures of formulas and write them as CIF files, best first."""
    from lcoms.prediction.presets import Options

    texts = _gather(formulas, from_file)
    compositions, failed = _read(texts)
    if compositions:
        options = Options(
            effort=effort,
            n_candidates=n,
            formula_units=units_of(formula_units),
            max_atoms=max_atoms,
            starts=starts,
            steps=steps,
            start=start,
            symmetry=symmetry,
            exclude_same=without_same,
            relax=relax,
            oracle=oracle,
            committee=names_of(committee),
            n_relax=n_relax,
            random_symmetric=random_symmetric,
            fmax=fmax,
            seed=seed,
        )
        run = Run(spec_of(options, spec), out, weights, processes, threads, start_structure, hull, report)
        failed += _predict_all(compositions, run)
    if failed:
        raise typer.Exit(2)


@dataclass(frozen=True)
class Run:
    """What is wanted of every formula, and how this command goes about it."""

    spec: PredictionSpec
    out: Path
    weights: Path | None
    processes: int | None
    threads: int
    start_structure: Path | None
    hull: str | None
    report: bool


def _complain(sentence: str) -> None:
    typer.echo(f"lcoms: {sentence}", err=True)


def _gather(formulas: list[str] | None, from_file: Path | None) -> list[str]:
    texts = list(formulas or [])
    if from_file is not None:
        texts += formulas_of(from_file)
    if not texts:
        raise FormulaError("no formula was given; type for instance: lcoms predict NaCl")
    return texts


def _read(texts: list[str]) -> tuple[list[Composition], int]:
    """Distinct compositions in the order given, and how many formulas cannot be read, after a sentence on each."""
    from lcoms.structure.crystal import Composition

    compositions: dict[Composition, None] = {}
    failed = 0
    for text in texts:
        try:
            compositions[Composition.from_formula(text).reduced] = None
        except FormulaError as error:
            failed += 1
            _complain(str(error))
    return list(compositions), failed


def _predict_all(compositions: list[Composition], run: Run) -> int:
    """Predict, print and write, one formula after another; returns how many came to nothing."""
    from rich.console import Console

    console = Console()
    clock = time.perf_counter()
    with console.status("Loading the weights ..."):
        predictor, structure, hull = _prepare(run)
        able = _checked(compositions, predictor)
    failed = len(compositions) - len(able)
    if hull is not None:
        for composition in able:
            _complain_of_missing(composition, hull)
    found = (_predict_one(composition, predictor, structure, hull, console) for composition in able)
    predictions: Iterable[Prediction] = (prediction for prediction in found if prediction is not None)
    if run.hull == PREDICTED:
        predictions = _with_predicted_hull(predictions, run.spec)
    done = _tell(predictions, predictor, run, console)
    failed += len(able) - done.n
    if done.n:
        console.print(f"{done.note(run.spec)} {time.perf_counter() - clock:.1f} s.", style="dim")
        console.print(f"Next: open {done.next_step}.", soft_wrap=True, markup=False, highlight=False)
    return failed


def _prepare(run: Run) -> tuple[Predictor, Crystal | None, Hull | None]:
    """All that can go wrong before the first formula does so here."""
    import torch

    from lcoms.prediction.hulls import predicted_hull, read_hull
    from lcoms.prediction.output import make_folder
    from lcoms.prediction.pipeline import Predictor
    from lcoms.structure.io import read_crystals

    torch.set_num_threads(run.threads)
    if run.hull == PREDICTED:
        predicted_hull([], run.spec)  # says at once where there will be nothing to compare
    predictor = Predictor.load(run.weights, spec=run.spec, processes=run.processes)
    structure = None if run.start_structure is None else read_crystals(run.start_structure)[0]
    hull = None if run.hull is None or run.hull == PREDICTED else read_hull(Path(run.hull), run.spec)
    make_folder(run.out)
    return predictor, structure, hull


def _checked(compositions: list[Composition], predictor: Predictor) -> list[Composition]:
    """Those that can be predicted, after a sentence on each of the others."""
    able = []
    for composition in compositions:
        try:
            predictor.check(composition)
            able.append(composition)
        except (FormulaError, OracleError) as error:
            _complain(f"{composition.reduced_formula}: {_without_name(str(error), composition)}")
    return able


def _without_name(sentence: str, composition: Composition) -> str:
    return sentence.removeprefix(f"{composition.reduced_formula}: ").removeprefix(f"{composition.formula}: ")


@dataclass(frozen=True)
class Done:
    """What a command has done, told at its end."""

    n: int = 0
    starred: bool = False
    ranked_by: tuple[str, ...] = ()
    next_step: str = ""

    def with_one(self, prediction: Prediction, next_step: str) -> Done:
        """After one more prediction."""
        relaxed = (c.relaxed for c in prediction.candidates)
        starred = any(one is not None and one.usable and one.formation_energy is None for one in relaxed)
        return Done(self.n + 1, self.starred or starred, prediction.ranked_by, self.next_step or next_step)

    def note(self, spec: PredictionSpec) -> str:
        """What the energies of the tables are."""
        if spec.relaxation is None:
            return DECODED_NOTE
        note = RELAXED_NOTE.format(oracle=spec.relaxation.oracle)
        if len(self.ranked_by) > 1:
            note += COMMITTEE_NOTE.format(models=" and ".join(self.ranked_by))
        return note + (STAR_NOTE if self.starred else "")


def _with_predicted_hull(predictions: Iterable[Prediction], spec: PredictionSpec) -> Iterator[Prediction]:
    """All formulas first, since each is a phase of the others' hull; what lacks a phase is said."""
    from lcoms.prediction.hulls import predicted_hull
    from lcoms.prediction.rank import with_hull

    found = list(predictions)
    hull = predicted_hull(found, spec)
    for prediction in found:
        _complain_of_missing(prediction.composition, hull)
        yield replace(prediction, candidates=with_hull(prediction.candidates, hull))


def _tell(predictions: Iterable[Prediction], predictor: Predictor, run: Run, console: Console) -> Done:
    """Each prediction is written, printed and let go before the next one is asked for."""
    from lcoms.page import PageWriter
    from lcoms.prediction.table import sentences, table

    done = Done()
    with ExitStack() as stack:
        page = stack.enter_context(PageWriter(run.out, predictor.bundle)) if run.report else None
        for prediction in predictions:
            folder = prediction.write(run.out)
            console.print(table(prediction))
            for sentence in sentences(prediction):
                console.print(sentence, soft_wrap=True, markup=False, highlight=False)
            if page is not None:
                page.add(prediction)
            next_step = f"{folder / 'rank-01.cif'} in a crystal viewer"
            done = done.with_one(prediction, next_step if page is None else f"{page.path} in a browser")
    return done


def _complain_of_missing(composition: Composition, hull: Hull) -> None:
    if lacking := hull.missing(composition):
        name = composition.reduced_formula
        _complain(f"{name}: no hull without a phase of {' and '.join(lacking)}; add one to --hull.")


def _predict_one(
    composition: Composition, predictor: Predictor, structure: Crystal | None, hull: Hull | None, console: Console
) -> Prediction | None:
    """A prediction with at least one candidate, or a sentence why there is none."""
    from lcoms.prediction.pipeline import require_candidates

    name = composition.reduced_formula
    try:
        with console.status(f"{name}: searching ...") as status:
            prediction = predictor.predict(
                composition,
                structure=structure,
                hull=hull,
                progress=lambda progress: status.update(f"{name}: {progress} ..."),
            )
        return require_candidates(prediction)
    except LcomsError as error:
        _complain(str(error))
        return None
