"""`lcoms train library` and `lcoms train templates`: crystals of a store as templates for predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import progress_bar
from lcoms.core.disk import require_same, require_writable, write_whole
from lcoms.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lcoms.data.store import Store

StoreArgument = Annotated[Path, typer.Argument(help="Store made by lcoms data ingest.")]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of this run; an interrupted run is resumed there.")
]
MaxAtomsOption = Annotated[int, typer.Option(help="Largest number of atoms in a cell.")]


def library(
    store: StoreArgument,
    out: OutOption,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder of weights to extend.", show_default="in the package")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value setting: min_atoms, max_atoms, max_orbits or per_composition; repeatable."
        ),
    ] = None,
) -> None:
    """Add the stable crystals of a store to the templates, without training; writes a full set of weights to OUT."""
    from lcoms.core.config import with_overrides
    from lcoms.models.manifest import MANIFEST, record_files
    from lcoms.models.weights import LIBRARY_FILE, ORBITS_FILE, TEMPLATES_FILE
    from lcoms.prediction.bundle import WeightBundle
    from lcoms.templates.exact import load_templates
    from lcoms.train.library import ExtensionConfig, extend_library
    from lcoms.train.templates import extend_templates, make_templates

    config = with_overrides(ExtensionConfig(), settings or [])
    require_writable(out / LIBRARY_FILE)
    data, trained = open_training(store), WeightBundle.load(weights)
    if out.exists() and out.samefile(trained.folder):
        raise ConfigError(f"{out} holds the weights to extend; name another folder.")
    copies = [
        file
        for file in sorted(trained.folder.iterdir())
        if file.is_file() and file.name not in (ORBITS_FILE, LIBRARY_FILE, TEMPLATES_FILE, MANIFEST)
    ]
    for file in copies:
        require_same(out / file.name, file)
    there = trained.library
    extended, statistics = extend_library(there, trained.wyckoff, trained.cdvae, data, config)
    known = load_templates(trained.folder)
    templates = make_templates(data) if known is None else extend_templates(known, data)
    statistics.save(out / ORBITS_FILE)
    extended.save(out / LIBRARY_FILE)
    templates.save(out / TEMPLATES_FILE)
    for file in copies:
        write_whole(out / file.name, file.read_bytes())
    record_files(out, [ORBITS_FILE, LIBRARY_FILE, TEMPLATES_FILE, *(file.name for file in copies)])
    typer.echo(f"Library: {len(there)} crystals and {len(extended) - len(there)} of {store}.")
    typer.echo(f"Templates of every size: {len(templates)} crystals.")
    typer.echo(f"Next: lcoms predict NaCl --weights {out}")


def templates(
    store: StoreArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write, templates.safetensors in a folder of weights.")
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Use only crystals whose source starts with this text; repeatable.", show_default="all sources"
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Number of processes for the symmetry search.", min=1, max=512, show_default="all cores"),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Templates file to compare with; prints the differences.", show_default=False)
    ] = None,
) -> None:
    """Pack the exact templates of all training crystals of a store, of every size; nothing is trained."""
    from lcoms.models.manifest import read_manifest, record_files
    from lcoms.templates.exact import ExactTemplates
    from lcoms.train.templates import differences, make_templates, training_rows

    require_writable(out)
    other = None if compare is None else ExactTemplates.load(compare)
    data = open_training(store)
    with progress_bar() as progress:
        task = progress.add_task("Describing crystals", total=len(training_rows(data, source or ())))
        made = make_templates(
            data, sources=source or (), processes=processes, on_chunk=lambda n: progress.advance(task, n)
        )
    made.save(out)
    if out.name in read_manifest(out.parent):
        record_files(out.parent, [out.name])
    lost = made.metadata["not_described"]
    typer.echo(f"{out}: {len(made)} crystals; {lost} without a recognized symmetry are left out.")
    if other is not None:
        for line in differences(made, other):
            typer.echo(line)


def require_energies(store: Store, rows: NDArray[np.int64], max_atoms: int) -> None:
    """Check that a surrogate can learn from the rows of a store.

    Raises:
        DataError: none of them has a formation energy.
    """
    import numpy as np

    if not np.isfinite(store.arrays(rows).formation_energy).any():
        raise DataError(
            f"{store.path} has no crystals of up to {max_atoms} atoms with formation energies, which a surrogate "
            "needs; ingest data that have them, such as a folder with id_prop.csv."
        )


def open_training(path: Path) -> Store:
    """Return the store after checking that it has training crystals and that its rows are unchanged.

    Raises:
        DataError: it has no training crystals, or its rows were changed.
    """
    from lcoms.data.store import Store

    store = Store.open(path).verify()
    if not len(store.select(split="train")):
        raise DataError(f"{path} has no training crystals; ingest data with a split first.")
    return store
