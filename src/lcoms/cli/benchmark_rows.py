"""`lcoms benchmark report` and `keep`: tables and figures from rows, and storage of rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from lcoms.core.errors import ConfigError


def report(
    rows: Annotated[
        list[Path] | None, typer.Argument(help="Folders or files of rows, combined.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for report.md, CSV and PNG files; with --results, for a figure."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of kept measurements: print the tables of the results page.")
    ] = None,
    page: Annotated[
        list[Path] | None, typer.Option(help="With --results: write the tables into this page; repeatable.")
    ] = None,
) -> None:
    """Make all tables and figures from rows; equal rows give equal files."""
    from lcoms.benchmark.rows import read_rows
    from lcoms.benchmark.write import write_benchmark

    if results is not None and not rows:
        _results(results, page or [], out)
    elif rows and out is not None and results is None and not page:
        for path in write_benchmark(read_rows(rows), out):
            typer.echo(str(path))
    else:
        raise ConfigError(
            "give ROWS and --out FOLDER, or --results FOLDER with or without --page FILE and --out FOLDER."
        )


def keep(
    rows: Annotated[Path, typer.Argument(help="Rows written by lcoms evaluate --out, or cases in JSON or JSON Lines.")],
    name: Annotated[str, typer.Option(help="Name of the measurement, such as cspbench.")],
    title: Annotated[str, typer.Option(help="Title of the rows in the tables.")],
    command: Annotated[str, typer.Option(help="Command that made the rows.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of kept measurements.")] = Path("benchmarks/results"),
    weights: Annotated[
        str | None, typer.Option(help="Digest of the weights.", show_default="that of the weights in the package")
    ] = None,
    note: Annotated[str, typer.Option(help="Note below the table.")] = "",
    machine: Annotated[str, typer.Option(help="Machine on which times were measured.")] = "",
    date: Annotated[str | None, typer.Option(help="Date on which the rows were made.", show_default="today")] = None,
    columns: Annotated[str, typer.Option(help="Columns of the table, separated by commas.", show_default="all")] = "",
    headline: Annotated[bool, typer.Option("--headline", help="Include it in the headline table.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a kept measurement of this name.")] = False,
) -> None:
    """Keep rows in OUT/NAME.jsonl.gz, from which report --results makes the tables of the results page."""
    from lcoms.benchmark.kept import Header, measurement_of, read_content, write_measurement

    content = read_content(rows)
    kind: Literal["predictions", "cases"] = "predictions" if content and "ranks" in content[0] else "cases"
    digest = _shipped() if weights is None else weights
    made = time.strftime("%Y-%m-%d") if date is None else date
    chosen = tuple(part.strip() for part in columns.split(",") if part.strip())
    header = Header(name, kind, title, command, digest, made, machine, note, headline, chosen)
    path = write_measurement(out, measurement_of(header, content), overwrite=overwrite)
    typer.echo(f"{path}: {len(content)} rows.")
    typer.echo(f"Next: lcoms benchmark report --results {out} --page docs/results.md")


def _results(folder: Path, pages: list[Path], out: Path | None) -> None:
    """Print the tables or write them into pages, and write the figure into a folder."""
    from lcoms.benchmark.kept import read_measurements
    from lcoms.benchmark.page import fill, page_tables
    from lcoms.benchmark.page_figure import calibration_figure
    from lcoms.benchmark.write import to_png
    from lcoms.core.disk import write_whole

    tables = page_tables(folder, shipped=_shipped())
    for path in pages:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be read; give --page a Markdown file.") from error
        write_whole(path, fill(text, tables))
        typer.echo(str(path))
    figure = None if out is None else calibration_figure(list(read_measurements(folder).values()))
    if out is not None and figure is not None:
        write_whole(out / "calibration.png", to_png(figure))
        typer.echo(str(out / "calibration.png"))
    if not pages and out is None:
        typer.echo("\n".join(f"{name}\n\n{table}" for name, table in tables.items()))


def _shipped() -> str:
    from lcoms.prediction.bundle import WeightBundle

    return WeightBundle.load().digest
