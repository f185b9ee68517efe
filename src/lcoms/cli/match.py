"""`lcoms match`: crystals from files ranked by their fit to a powder pattern."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import complain, counted
from lcoms.cli.structures import Failure, read_named, require_no_input, require_outputs, short_names
from lcoms.cli.text_table import print_table
from lcoms.core.disk import require_no_campaign, write_together, write_whole
from lcoms.core.errors import ConfigError
from lcoms.core.figures import check_figure, write_figure

if TYPE_CHECKING:
    from lcoms.diffraction.fit import PatternFit, PatternFitter
    from lcoms.diffraction.reading import PowderPattern
    from lcoms.structure.crystal import Crystal

RANKS = "rank-*.cif"
HEADINGS = ("", "formula", "space group", "Rwp", "cosine", "prob.", "volume", "missing", "file")


def match(
    files: Annotated[list[Path], typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.")],
    pattern: Annotated[
        Path,
        typer.Option(help="Measured powder pattern: columns of two theta and counts, CIF, xrdml, GSAS, uxd, cpi, ..."),
    ],
    wavelength: Annotated[
        str,
        typer.Option(help="CuKa (the doublet), CuKa1, CoKa, MoKa, ..., a wavelength in angstrom, or 'neutron 1.54'."),
    ],
    axis: Annotated[
        str | None,
        typer.Option(
            help="Quantity in the first column: two-theta, d or q.", show_default="by the header, else two-theta"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for CIF files with fitted cells.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Plot the best fit to this file: .png, .svg or .pdf.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all fits to this JSON file.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace all rank-*.cif files that --out already holds.")
    ] = False,
) -> None:
    """Fit cells and profiles of crystals to a powder pattern, and rank them by how well they explain it."""
    from lcoms.diffraction.fit import PatternFitter
    from lcoms.diffraction.radiation import read_radiation
    from lcoms.diffraction.reading import read_pattern
    from lcoms.prediction.output import make_folder, require_no_prediction

    require_outputs((json_out, figure), (*files, pattern))
    if figure is not None:
        check_figure(figure)
    if out is not None:
        require_no_input(out, files, RANKS)
        require_no_campaign(out)
        require_no_prediction(out)
        make_folder(out)
        if not overwrite:
            _require_no_ranks(out)
    read = read_pattern(pattern, read_radiation(wavelength), axis=axis)
    fitter = PatternFitter(read)
    found, failed = read_named(files)
    clock = time.perf_counter()
    fits, unfit = _fitted(found, fitter)
    failed += unfit
    seconds = time.perf_counter() - clock
    for name, reason in failed:
        complain(f"{name}: {reason}")
    if json_out is not None:
        write_whole(json_out, _to_json(fits, failed, read))
    if fits:
        _write(fits, out, figure)
        _print(fits, read, seconds)
    if failed:
        raise typer.Exit(2)


Fits = list[tuple[str, "PatternFit"]]


def _ranks_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(RANKS))


def _require_no_ranks(folder: Path) -> None:
    """Raise ConfigError if a folder holds rank files, which would be replaced or remain among the new ones."""
    if there := _ranks_in(folder):
        raise ConfigError(
            f"{folder} holds {there[0].name} already; choose another folder with --out, or replace all its {RANKS} "
            "files with --overwrite."
        )


def _fitted(found: list[tuple[str, Crystal]], fitter: PatternFitter) -> tuple[Fits, list[Failure]]:
    """Return the fits, most likely first, and the crystals that have none: of untabulated elements, or too large."""
    from lcoms.diffraction.posterior import log_likelihood
    from lcoms.structure.symmetry import RELAXED_SYMPREC

    fits, failed = [], []
    for name, crystal in found:
        try:
            fits.append((name, fitter.fit(crystal, symprec=RELAXED_SYMPREC)))
        except ConfigError as error:
            failed.append((name, str(error)))
    return sorted(fits, key=lambda fit: -log_likelihood(fit[1])), failed


def _write(fits: Fits, out: Path | None, figure: Path | None) -> None:
    from lcoms.diffraction.figure import fit_figure
    from lcoms.structure.io import to_cif
    from lcoms.structure.symmetry import EXACT_SYMPREC, conventional

    if out is not None:
        width = max(2, len(str(len(fits))))
        cifs = {
            f"rank-{rank:0{width}d}.cif": to_cif(conventional(fit.crystal), symprec=EXACT_SYMPREC)
            for rank, (_, fit) in enumerate(fits, 1)
        }
        old = [path for path in _ranks_in(out) if path.name not in cifs]
        write_together(out, cifs)
        for path in old:
            path.unlink()
    if figure is not None:
        name, best = fits[0]
        write_figure(fit_figure(best, Path(name).name), figure)


def _to_json(fits: Fits, failed: list[Failure], pattern: PowderPattern) -> str:
    from lcoms import __version__
    from lcoms.diffraction.posterior import pattern_probabilities, verdict
    from lcoms.diffraction.record import fit_record

    results = [fit for _, fit in fits]
    probabilities = pattern_probabilities(results)
    content = {
        "lcoms_version": __version__,
        "pattern": pattern.name,
        "radiation": pattern.radiation.name,
        "notes": list(pattern.notes),
        "units": {"length": "angstrom", "angle": "degrees"},
        "verdict": verdict(results),
        "fits": [
            {"rank": rank, "name": name, "probability": round(float(p), 6), **fit_record(fit)}
            for rank, ((name, fit), p) in enumerate(zip(fits, probabilities, strict=True), 1)
        ],
        "failed": [{"name": name, "reason": reason} for name, reason in failed],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _print(fits: Fits, pattern: PowderPattern, seconds: float) -> None:
    from lcoms.diffraction.posterior import pattern_probabilities, verdict
    from lcoms.structure.symmetry import EXACT_SYMPREC, space_group_number, space_group_symbol

    results = [fit for _, fit in fits]
    names, rows = short_names([name for name, _ in fits]), []
    for rank, ((name, fit), probability) in enumerate(zip(fits, pattern_probabilities(results), strict=True), 1):
        group = space_group_number(fit.crystal, symprec=EXACT_SYMPREC)
        row = (
            str(rank),
            fit.crystal.composition.reduced_formula,
            f"{space_group_symbol(group)} ({group})",
            f"{fit.rwp:.3f}",
            f"{fit.cosine:.3f}",
            f"{probability:.3f}",
            f"{fit.scale_change:+.1%}",
            str(len(fit.unexplained)),
            names[name],
        )
        rows.append(row)
    print_table(HEADINGS, rows, left=("formula", "space group"))
    end = f"fitted up to {results[0].two_theta[-1]:.1f} degrees"
    shift = f"zero shift {results[0].zero_shift:+.3f} degrees, {end}"
    typer.echo(f"{counted(len(fits))} against {pattern.name} ({pattern.radiation.name}, {shift}) in {seconds:.1f} s.")
    typer.echo("volume: change by the fit; missing: strong lines of the pattern that the crystal lacks.")
    for sentence in (*(f"{note}." for note in pattern.notes), verdict(results)):
        if sentence:
            typer.echo(sentence)
