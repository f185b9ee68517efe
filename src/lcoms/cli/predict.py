"""`lcoms predict`: ranked CIF files for formulas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import complain
from lcoms.cli.groups import with_groups
from lcoms.cli.options import (
    OrderedOption,
    RelaxProcessesOption,
    ThreadsOption,
    WeightsOption,
    formulas_of,
    tell_repeated,
)
from lcoms.cli.search_options import SearchOptions, asked_spec
from lcoms.core.errors import ConfigError, FormulaError

if TYPE_CHECKING:
    from lcoms.structure.crystal import Composition

MANY = 10  # errors that are told one by one, if nothing else can be read
STANDARD_INPUT = "-"


@with_groups
def predict(
    formulas: Annotated[
        list[str] | None,
        typer.Argument(help="Formulas such as NaCl SrTiO3, or - for standard input.", show_default=False),
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option("--from-file", "-f", help="Text file with one formula per line, or - for standard input."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CIF files and results.json.")] = Path("results"),
    start_structure: Annotated[
        Path | None, typer.Option(help="Start the descent from this CIF, POSCAR or extxyz file instead of templates.")
    ] = None,
    hull: Annotated[
        str | None,
        typer.Option(
            help="Reference phases of the convex hull instead of those in the package: a file as for lcoms rank "
            "--hull, or 'predicted' for the elements and the formulas of this command."
        ),
    ] = None,
    pattern: Annotated[
        Path | None,
        typer.Option(
            help="Measured powder pattern (columns, CIF, xrdml, GSAS, uxd, cpi, ...); it also ranks the candidates."
        ),
    ] = None,
    wavelength: Annotated[
        str | None,
        typer.Option(
            help="Radiation: CuKa (the doublet), CuKa1, CoKa, ..., a wavelength in angstrom, or 'neutron 1.54'."
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option("--format", help="File formats for the candidates, separated by commas: cif, poscar, extxyz, qe."),
    ] = "cif",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also print progress, and how many crystals were decoded, dropped and relaxed."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Repeat predictions that OUT already holds for the same options.")
    ] = False,
    ordered_approximation: OrderedOption = False,
    processes: RelaxProcessesOption = None,
    report: Annotated[bool, typer.Option("--report", help="Also write OUT/report.html, which opens offline.")] = False,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or auto: where the networks search; energy models relax on the CPU.")
    ] = "cpu",
    *,
    asked: SearchOptions,
) -> None:
    """Predict the crystal structures of formulas and write them as CIF files, best first."""
    from lcoms.cli.predicting import Inputs, Output, Run, predict_all
    from lcoms.prediction.presets import require_use

    compositions, failed = _read(_gather(formulas, from_file), ordered=ordered_approximation, quiet=quiet)
    if compositions:
        output = Output(out, _formats_of(formats), as_json, quiet, verbose, report, overwrite)
        inputs = Inputs(start_structure, hull, pattern, wavelength)
        spec, typed = asked_spec(asked)
        if start_structure is not None:
            require_use(typed)
        run = Run(spec, (*typed, *inputs.typed), output, inputs, weights, processes, threads, device)
        failed += predict_all(compositions, run)
    if failed:
        raise typer.Exit(2)


def _formats_of(text: str) -> tuple[str, ...]:
    """Return the typed file formats.

    Raises:
        ConfigError: a format is unknown.
    """
    from lcoms.prediction.output import FORMATS

    names = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for name in names or (text,):
        if name not in FORMATS:
            raise ConfigError(f"--format {name}: unknown format; choose from {', '.join(FORMATS)}.")
    return names


def _gather(formulas: list[str] | None, from_file: str | None) -> list[str]:
    """Return the formulas that were typed, or read from a file or standard input."""
    texts = list(formulas or [])
    if from_file is not None and from_file != STANDARD_INPUT:
        listed = formulas_of(Path(from_file))
        if not listed:
            raise FormulaError(f"{from_file} holds no formula; write one per line, such as NaCl.")
        texts += listed
    if STANDARD_INPUT in texts or from_file == STANDARD_INPUT:
        lines = [line.split("#")[0].strip() for line in sys.stdin.read().splitlines()]
        texts = [text for text in texts if text != STANDARD_INPUT] + [line for line in lines if line]
    if not texts:
        raise FormulaError("no formula was given; type for instance: lcoms predict NaCl")
    return texts


def _read(texts: list[str], *, ordered: bool, quiet: bool) -> tuple[list[Composition], int]:
    """Return the distinct compositions in order and the number of unreadable formulas, each reported in a sentence."""
    from lcoms.structure.crystal import Composition

    compositions: dict[Composition, None] = {}
    again: list[str] = []
    errors: list[str] = []
    for text in texts:
        try:
            composition = Composition.from_formula(text, ordered_approximation=ordered)
            again += [text.strip()] if composition.reduced in compositions else []
            compositions[composition.reduced] = None
            if composition.n_formula_units > 1 and not quiet:
                reduced = composition.reduced_formula
                size = "--formula-units limits the size of the cells that are tried"
                complain(f"{text.strip()} is predicted as {reduced}; {size}.")
        except FormulaError as error:
            errors.append(str(error))
    if len(errors) > MANY and not compositions:
        raise FormulaError(f"none of {len(errors)} texts is a formula that can be read; the first: {errors[0]}")
    for sentence in errors:
        complain(sentence)
    if not quiet:
        tell_repeated(again)
    return list(compositions), len(errors)
