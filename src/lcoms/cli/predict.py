"""`lcoms predict`: formulas in, ranked CIF files out."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lcoms.cli.options import (
    DEFAULT_EFFORT,
    CandidatesOption,
    EffortOption,
    ExploreOption,
    FmaxOption,
    FormulaUnitsOption,
    MaxCellOption,
    NRelaxOption,
    OracleOption,
    RelaxOption,
    SecondOracleOption,
    SeedOption,
    StartOption,
    StartsOption,
    StepsOption,
    SymmetryOption,
    ThreadsOption,
    WeightsOption,
    WithoutSameOption,
    formulas_of,
    settings,
)
from lcoms.core.errors import ConfigError, FormulaError
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from rich.console import Console

    from lcoms.models.weights import Weights
    from lcoms.oracles.hull import Phase
    from lcoms.prediction.pipeline import PredictConfig, Prediction, RefineConfig
    from lcoms.structure.crystal import Composition, Crystal

STAR_NOTE = " *: total energy, as the oracle has no reference for an element."
PREDICTED = "predicted"
TOGETHER = 8  # formulas whose candidates are relaxed at once
DECODED_NOTE = "Energies are formation energies predicted by the surrogate, not by DFT."
RELAXED_NOTE = "Formation energies after relaxation with {oracle}, eV/atom, and the surrogate's before it."
SECOND_NOTE = " `above` is the mean of that and {second_oracle}."


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
    steps: StepsOption = 10,
    start: StartOption = "library",
    start_structure: Annotated[
        Path | None, typer.Option(help="Start from this CIF, POSCAR or extxyz instead of the library.")
    ] = None,
    symmetry: SymmetryOption = True,
    without_same: WithoutSameOption = False,
    relax: RelaxOption = None,
    oracle: OracleOption = DEFAULT_ORACLE,
    second_oracle: SecondOracleOption = None,
    n_relax: NRelaxOption = None,
    explore: ExploreOption = None,
    fmax: FmaxOption = 0.1,
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
    texts = _gather(formulas, from_file)
    compositions, failed = _read(texts)
    if compositions:
        config, refined = settings(
            effort,
            n=n,
            formula_units=formula_units,
            max_atoms=max_atoms,
            starts=starts,
            steps=steps,
            start=start,
            symmetry=symmetry,
            without_same=without_same,
            relax=relax,
            oracle=oracle,
            second_oracle=second_oracle,
            n_relax=n_relax,
            explore=explore,
            fmax=fmax,
            seed=seed,
        )
        if hull is not None and refined is None:
            raise ConfigError("--hull needs relaxed energies; add --relax.")
        if refined is not None:
            from lcoms.prediction.pipeline import for_relaxing

            config = for_relaxing(config, refined)
        run = Run(config, refined, n, out, processes, hull, report)
        failed += _predict_all(compositions, run, weights, start_structure, threads)
    if failed:
        raise typer.Exit(2)


class Run(NamedTuple):
    """What is wanted of every formula."""

    config: PredictConfig
    refined: RefineConfig | None
    n_candidates: int
    out: Path
    processes: int | None
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


def _predict_all(
    compositions: list[Composition],
    run: Run,
    weights_folder: Path | None,
    start_structure: Path | None,
    threads: int,
) -> int:
    """Predict, print and write; returns how many formulas came to nothing, after a sentence on each."""
    from rich.console import Console

    console = Console()
    phases: list[Phase] = []
    clock = time.perf_counter()
    with console.status("Loading the weights ..."):
        import torch

        from lcoms.models.weights import load_weights
        from lcoms.oracles.registry import make_oracle
        from lcoms.prediction.output import make_folder
        from lcoms.prediction.refine import ranked_by
        from lcoms.structure.io import read_crystals

        torch.set_num_threads(threads)
        loaded = load_weights(weights_folder)
        structure: Crystal | None = None if start_structure is None else read_crystals(start_structure)[0]
        if run.refined is not None:
            make_oracle(run.refined.oracle).check(compositions)
            if run.refined.second_oracle:
                make_oracle(run.refined.second_oracle)
            phases = _phases(run.hull, run.refined.oracle)
        make_folder(run.out)
    failed = 0
    finished: list[Prediction] = []
    no_reference = False
    together = len(compositions) if run.hull == PREDICTED else TOGETHER
    for i in range(0, len(compositions), together):
        predictions = []
        for composition in compositions[i : i + together]:
            prediction = _predict_one(composition, loaded, run, structure, console)
            failed += prediction is None
            predictions += [] if prediction is None else [prediction]
        predictions = _finish(predictions, run, phases, loaded.folder, console)
        finished += predictions
        no_reference |= any(
            c.relaxation is not None and c.relaxation.formation_energy is None
            for prediction in predictions
            for c in prediction.candidates
        )
    if finished:
        note = DECODED_NOTE
        if run.refined is not None:
            note = RELAXED_NOTE.format(oracle=run.refined.oracle)
            if all(ranked_by(prediction) != run.refined.oracle for prediction in finished):
                note += SECOND_NOTE.format(second_oracle=run.refined.second_oracle)
            note += STAR_NOTE if no_reference else ""
        console.print(f"{note} {time.perf_counter() - clock:.1f} s.", style="dim")
        if run.report:
            page = _write_report(finished, loaded, run.out, console)
            console.print(f"Next: open {page} in a browser.", soft_wrap=True)
        else:
            first = run.out / finished[0].composition.reduced_formula / "rank-01.cif"
            console.print(f"Next: open {first} in a crystal viewer.", soft_wrap=True)
    return failed


def _write_report(predictions: list[Prediction], weights: Weights, out: Path, console: Console) -> Path:
    """One page with all predictions of the command."""
    from lcoms.page import write_page
    from lcoms.prediction.overlap import training_overlap

    with console.status("Writing the page ..."):
        overlaps = [training_overlap(p.composition, [c.crystal for c in p.candidates], weights) for p in predictions]
        return write_page(predictions, out, overlaps)


def _predict_one(
    composition: Composition, weights: Weights, run: Run, structure: Crystal | None, console: Console
) -> Prediction | None:
    """A prediction with at least one candidate, or a sentence why there is none."""
    from lcoms.prediction.pipeline import predict_crystals

    try:
        with console.status(f"{composition.reduced_formula}: searching ..."):
            prediction = predict_crystals(composition, weights, run.config, structure=structure)
    except FormulaError as error:
        _complain(str(error))
        return None
    if prediction.candidates:
        return prediction
    _complain(f"{composition.reduced_formula}: no valid crystal came out of {prediction.n_starts} starts.")
    return None


def _phases(hull: str | None, oracle: str) -> list[Phase]:
    """Reference phases of the user's file; none where there is no file."""
    if hull is None or hull == PREDICTED:
        return []
    from lcoms.oracles.base import evaluate_all
    from lcoms.oracles.hull import read_entries
    from lcoms.oracles.references import load_references
    from lcoms.oracles.registry import make_oracle

    def evaluate(crystals: list[Crystal]) -> list[float]:
        model = make_oracle(oracle)
        model.check([crystal.composition for crystal in crystals])
        found = evaluate_all(model, crystals)
        return [e.energy / crystal.n_atoms for e, crystal in zip(found, crystals, strict=True)]

    return read_entries(Path(hull), evaluate, load_references(oracle))


def _finish(
    predictions: list[Prediction], run: Run, phases: list[Phase], folder: Path, console: Console
) -> list[Prediction]:
    """Relax where that is wanted, write and print."""
    from lcoms.prediction.output import table, write_prediction

    if run.refined is not None and predictions:
        from lcoms.oracles.hull import Hull
        from lcoms.oracles.references import load_references
        from lcoms.prediction.calibrate import load_confidence
        from lcoms.prediction.refine import found_phases, refine_all, to_relax, with_hull

        n = sum(len(to_relax(p, run.refined)) for p in predictions)
        done = itertools.count(1)
        with console.status(f"Relaxing {n} candidates ...") as status:
            predictions = refine_all(
                predictions,
                run.refined,
                n_candidates=run.n_candidates,
                confidence=load_confidence(folder),
                processes=run.processes,
                progress=lambda: status.update(f"Relaxing candidates: {next(done)} of {n} ..."),
            )
        if run.hull is not None:
            phases = found_phases(predictions) if run.hull == PREDICTED else phases
            reference = Hull(phases, load_references(run.refined.oracle))
            for composition in [p.composition for p in predictions if reference.missing(p.composition)]:
                lacking = " and ".join(reference.missing(composition))
                _complain(f"{composition.reduced_formula}: no hull without a phase of {lacking}; add one to --hull.")
            predictions = [with_hull(prediction, reference) for prediction in predictions]
    for prediction in predictions:
        write_prediction(prediction, run.out)
        console.print(table(prediction))
        for sentence in prediction.failures:
            console.print(f"Not ranked: {sentence}", style="dim", soft_wrap=True)
        if prediction.confidence is not None:
            console.print(f"Rank 1 is the known ground state with a probability of {prediction.confidence:.0%}.")
    return predictions
