"""`lcoms predict`: formulas in, ranked CIF files out."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.errors import ConfigError, FormulaError

if TYPE_CHECKING:
    from lcoms.crystal import Composition, Crystal
    from lcoms.prediction import PredictConfig

ENERGY_NOTE = "Energies are formation energies predicted by the surrogate, not by DFT."


def predict(
    formulas: Annotated[
        list[str] | None, typer.Argument(help="Formulas such as NaCl SrTiO3.", show_default=False)
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", "-f", help="A text file with one formula a line.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    n: Annotated[int, typer.Option("-n", help="Candidates to keep for each formula.")] = 10,
    formula_units: Annotated[
        str | None, typer.Option(help="Formula units in the cell, such as 2 or 1-4.", show_default="as found")
    ] = None,
    starts: Annotated[int, typer.Option(help="Latents to descend from.")] = 48,
    steps: Annotated[int, typer.Option(help="Steps of latent descent; 0 decodes the starts.")] = 50,
    start: Annotated[str, typer.Option(help="Where starts come from: library, prior or random.")] = "library",
    start_structure: Annotated[
        Path | None, typer.Option(help="Start from this CIF, POSCAR or extxyz instead of the library.")
    ] = None,
    without_same: Annotated[
        bool, typer.Option("--without-same", help="Leave training crystals of the very formula out of the starts.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of trained weights.", show_default="those in the package")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads.", show_default="all cores")] = None,
) -> None:
    """Predict the crystal structures of formulas and write them as CIF files, best first."""
    texts = _gather(formulas, from_file)
    compositions, failed = _read(texts)
    if compositions:
        units = _range(formula_units)
        from lcoms.prediction import PredictConfig

        config = PredictConfig(
            n_candidates=n,
            n_starts=starts,
            start=start,  # type: ignore[arg-type]
            formula_units=units,
            steps=steps,
            exclude_same=without_same,
            seed=seed,
        )
        failed += _predict_all(compositions, config, out, weights, start_structure, threads)
    if failed:
        raise typer.Exit(2)


def _complain(sentence: str) -> None:
    typer.echo(f"lcoms: {sentence}", err=True)


def _gather(formulas: list[str] | None, from_file: Path | None) -> list[str]:
    texts = list(formulas or [])
    if from_file is not None:
        try:
            lines = from_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FormulaError(
                f"{from_file}: cannot be read as a text file of formulas ({type(error).__name__})."
            ) from error
        texts += [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    if not texts:
        raise FormulaError("no formula was given; type for instance: lcoms predict NaCl")
    return texts


def _read(texts: list[str]) -> tuple[list[Composition], int]:
    """Distinct compositions in the order given, and how many formulas cannot be read, after a sentence on each."""
    from lcoms.crystal import Composition

    compositions: dict[Composition, None] = {}
    failed = 0
    for text in texts:
        try:
            compositions[Composition.from_formula(text).reduced] = None
        except FormulaError as error:
            failed += 1
            _complain(str(error))
    return list(compositions), failed


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", text)
    if found is None:
        raise ConfigError(f"--formula-units {text!r} makes no sense; write 2 or 1-4.")
    low = int(found.group(1))
    return low, int(found.group(2) or low)


def _predict_all(
    compositions: list[Composition],
    config: PredictConfig,
    out: Path,
    weights_folder: Path | None,
    start_structure: Path | None,
    threads: int | None,
) -> int:
    """Predict, print and write; returns how many formulas came to nothing, after a sentence on each."""
    from rich.console import Console

    console = Console()
    clock = time.perf_counter()
    with console.status("Loading the weights ..."):
        import torch

        from lcoms.io import read_crystals
        from lcoms.models.weights import load_weights
        from lcoms.prediction import predict_crystals
        from lcoms.report import make_folder, table, write_prediction

        if threads is not None:
            torch.set_num_threads(max(1, threads))
        loaded = load_weights(weights_folder)
        structure: Crystal | None = None if start_structure is None else read_crystals(start_structure)[0]
        make_folder(out)
    failed = 0
    folders: list[Path] = []
    for composition in compositions:
        try:
            with console.status(f"{composition.reduced_formula}: searching ..."):
                prediction = predict_crystals(composition, loaded, config, structure=structure)
                folder = write_prediction(prediction, out)
        except FormulaError as error:
            failed += 1
            _complain(str(error))
            continue
        if prediction.candidates:
            console.print(table(prediction))
            folders.append(folder)
        else:
            failed += 1
            _complain(f"{composition.reduced_formula}: no valid crystal came out of {prediction.n_starts} starts.")
    if folders:
        console.print(f"{ENERGY_NOTE} {time.perf_counter() - clock:.1f} s.", style="dim")
        console.print(f"Next: open {folders[0] / 'rank-01.cif'} in a crystal viewer.", soft_wrap=True)
    return failed
