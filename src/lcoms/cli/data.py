"""`lcoms data`: fetch public data sets, ingest files into a store, and summarize a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.console import plain_console, plain_text, progress_bar
from lcoms.cli.options import formulas_of
from lcoms.cli.text_table import print_table
from lcoms.core.errors import FormulaError

if TYPE_CHECKING:
    from rich.progress import Progress

    from lcoms.data.info import Spread, StoreInfo
    from lcoms.data.store import Store

ROOM_FOR_QUANTILES = 80  # characters
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Fetch, ingest and describe data sets.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Data set: mp_e_form, mp_20, oqmd, jarvis_dft_3d, perov_5 or carbon_24.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to download into.")] = Path(),
) -> None:
    """Download a public data set; an interrupted download is resumed."""
    from lcoms.data.fetch import fetch as fetch_files
    from lcoms.data.sources import find_source

    source = find_source(name)
    console = plain_console(soft_wrap=True)
    console.print(source.title)
    with _download_bar() as bar:
        tasks: dict[str, Any] = {}

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=done, total=total)

        fetched = fetch_files(source, out, report=report)
    for one in fetched:
        was_there = ", was there already" if one.was_there else ""
        checked = (
            "equals the published checksum"
            if one.verified
            else "no checksum was published, so this one is recorded for later downloads"
        )
        typer.echo(f"{one.path}: {one.size:,} bytes{was_there}\n  SHA-256 {one.sha256}: {checked}.")
    typer.echo(f"Licence: {source.licence}.")
    typer.echo("Please cite:\n" + "\n".join(f"  {citation}" for citation in source.citations))
    names = " ".join(str(one.path) for one in fetched)
    keep = " --keep-split" if source.has_splits else ""
    typer.echo(f"Next: lcoms data ingest {names} --out {out / (source.name + '-store')}{keep}")


@app.command()
def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Parquet, CSV, JSON or extxyz files, or folders of CIF, POSCAR or extxyz files; in a folder, each "
            "line of id_prop.csv may give a name and a formation energy in eV/atom."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the store.")],
    max_atoms: Annotated[int, typer.Option(help="Largest number of atoms in a cell.")] = 200,
    min_distance: Annotated[float, typer.Option(help="Shortest allowed distance between atoms, angstrom.")] = 0.5,
    volume_range: Annotated[
        tuple[float, float], typer.Option(help="Smallest and largest allowed volume per atom, cubic angstrom.")
    ] = (2.0, 200.0),
    max_formation_energy: Annotated[
        float, typer.Option(help="Largest allowed absolute formation energy, eV/atom.")
    ] = 5.0,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Composition to exclude, or a text file of compositions; repeatable.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Fraction of the compositions used for validation.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed of the split by composition.")] = 0,
    keep_split: Annotated[
        bool,
        typer.Option(
            "--keep-split",
            help="Keep the split given in the files; a validation composition of one file is one in all.",
        ),
    ] = False,
    niggli: Annotated[bool, typer.Option(help="Reduce cells to their Niggli form.")] = True,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format of the files, regardless of their names: parquet, csv, json, extxyz or folder."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that read and check.", min=1, max=512)] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
) -> None:
    """Check crystals and write them to a store; the same command resumes after an interruption."""
    from lcoms.data.checks import IngestOptions
    from lcoms.data.ingest import Progress as IngestProgress
    from lcoms.data.ingest import ingest as ingest_files

    options = IngestOptions(
        max_atoms=max_atoms,
        min_distance=min_distance,
        min_volume=volume_range[0],
        max_volume=volume_range[1],
        max_formation_energy=max_formation_energy,
        exclude=_excluded(exclude or []),
        reduce=niggli,
        val_fraction=val_fraction,
        seed=seed,
        keep_split=keep_split,
    )
    with _rows_bar() as bar:
        task = bar.add_task("reading", total=None, kept=0)

        def report(progress: IngestProgress) -> None:
            bar.update(task, completed=progress.n_read, total=progress.n_total, kept=progress.n_kept)

        store = ingest_files(
            files, out, options=options, file_format=file_format, workers=workers, overwrite=overwrite, report=report
        )
    _print_kept(store)
    if not store.n_energies:
        typer.echo("No crystal has a formation energy; the surrogate needs them, for instance from id_prop.csv.")
    typer.echo(f"Next: lcoms train cdvae {out} --out run")


@app.command()
def info(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Summarize a store: counts, elements, atoms per cell, energies, polymorphs."""
    from lcoms.data.info import describe
    from lcoms.data.store import Store

    figures = describe(Store.open(store).verify())
    if as_json:
        import json
        from dataclasses import asdict

        from lcoms.core.config import without_nan

        typer.echo(json.dumps(without_nan(asdict(figures))))
    else:
        _print_info(store, figures)


def _excluded(values: list[str]) -> frozenset[str]:
    """Return the reduced formulas given on the command line or in files."""
    from lcoms.data.checks import read_formulas

    lines: list[str] = []
    for value in values:
        path = Path(value)
        listed = formulas_of(path) if path.is_file() else [value]
        if not listed:
            raise FormulaError(f"{path} holds no formula to exclude; write one per line, or omit --exclude.")
        lines += listed
    return read_formulas(lines)


def _rows_bar() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    kept = plain_text("rows, {task.fields[kept]:,} kept")
    return progress_bar(
        plain_text("{task.description}"), BarColumn(), MofNCompleteColumn(), kept, TimeElapsedColumn(), keep=True
    )


def _download_bar() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    return progress_bar(
        plain_text("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), keep=True
    )


def _print_kept(store: Store) -> None:
    manifest = store.manifest
    rows = [("read", manifest.n_read), ("kept", manifest.n_crystals)]
    rows += [(f"dropped: {reason}", n) for reason, n in sorted(manifest.dropped.items(), key=lambda item: -item[1])]
    remarks = manifest.provenance.get("remarks", {})
    rows += [(f"noted: {topic}", n) for topic, n in sorted(remarks.items(), key=lambda item: -item[1])]
    rows += [(f"moved to {split}", n) for split, n in manifest.provenance.get("n_moved", {}).items()]
    typer.echo(f"{store.path}:")
    texts = [(f"{number:,}", f"{number / max(manifest.n_read, 1):.2%}", name) for name, number in rows]
    print_table(("number", "share", "rows"), texts)
    fallbacks = manifest.provenance.get("n_fallbacks", 0)
    if fallbacks:
        typer.echo(f"{fallbacks:,} cells have no Niggli form within tolerance and were Minkowski-reduced.")


def _print_info(path: Path, figures: StoreInfo) -> None:
    from rich.table import Table

    console = plain_console(soft_wrap=True)
    size = f"{figures.size / 1e6:.1f} MB"
    console.print(
        f"{path}: {figures.n_crystals:,} crystals, {figures.n_atoms:,} atoms, "
        f"{figures.n_compositions:,} compositions, {len(figures.elements)} elements, {size}"
    )
    console.print(f"fingerprint: {figures.fingerprint}")
    console.print("splits: " + _listed(figures.splits))
    console.print("sources: " + _listed(figures.sources))
    console.print("elements: " + _listed(figures.elements))
    wide = console.width >= ROOM_FOR_QUANTILES
    table = Table(box=None, pad_edge=False)
    for name in ("", "known", "min", *(["5 %"] if wide else []), "median", *(["95 %"] if wide else []), "max"):
        table.add_column(name, justify="right" if name else "left", overflow="fold", no_wrap=bool(name))
    for name, spread, pattern in (
        ("atoms per cell", figures.atoms, "{:.0f}"),
        ("volume, cubic angstrom/atom", figures.volume_per_atom, "{:.2f}"),
        ("formation energy, eV/atom", figures.formation_energy, "{:.3f}"),
        ("total energy, eV/atom", figures.energy, "{:.3f}"),
        ("energy above hull, eV/atom", figures.e_above_hull, "{:.3f}"),
    ):
        table.add_row(name, f"{spread.count:,}", *_spread_texts(spread, pattern, wide=wide))
    console.print(table)
    structures = {f"{n} structure{'s'[: n > 1]}": count for n, count in figures.polymorphs.items() if n <= 5}
    more = sum(count for n, count in figures.polymorphs.items() if n > 5)
    console.print("compositions with " + _listed(structures | ({"more than 5 structures": more} if more else {})))
    console.print("most polymorphs: " + _listed(figures.most_polymorphs))
    console.print(f"dropped at ingest, of {figures.n_read:,} rows: " + (_listed(figures.dropped) or "none"))


def _spread_texts(spread: Spread, pattern: str, *, wide: bool) -> list[str]:
    quantiles = spread.minimum, spread.low, spread.median, spread.high, spread.maximum
    values = quantiles if wide else quantiles[::2]
    return [pattern.format(value) if spread.count else "-" for value in values]


def _listed(counts: Any) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
