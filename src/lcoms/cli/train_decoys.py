"""`lcoms train decoys` and `lcoms train polymorphs`: further crystals to train on, with energies of an energy model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.console import progress_bar
from lcoms.cli.train_library import MaxAtomsOption, StoreArgument
from lcoms.core.disk import require_writable
from lcoms.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lcoms.data.store import Store
    from lcoms.train.decoys import Anchor

DECOY_CHUNK = 100  # compositions

TableOption = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write; ingest it with --keep-split.")]
NumberOption = Annotated[int, typer.Option("-n", help="Number of compositions.", min=1)]
OracleOption = Annotated[str, typer.Option(help="Energy model.")]
WeightsOption = Annotated[Path | None, typer.Option(help="Folder of trained weights.", show_default="in the package")]
SeedOption = Annotated[int, typer.Option(help="Random seed.", min=0)]


def decoys(
    store: StoreArgument,
    out: TableOption,
    n: NumberOption = 3000,
    starts: Annotated[int, typer.Option(help="Number of decoys for each composition.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of latent descent.")] = 50,
    oracle: OracleOption = "chgnet:0.3.0",
    weights: WeightsOption = None,
    max_atoms: MaxAtomsOption = 20,
    seed: SeedOption = 0,
) -> None:
    """Decode crystals of known compositions, as in a prediction, and compute their energies with an energy model.

    Crystals of the same composition are excluded from the templates.
    """
    from rich.progress import track

    from lcoms.data.store import Store
    from lcoms.oracles.registry import make_oracle
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Options, spec_for
    from lcoms.train.decoys import Decoy, make_decoys, write_decoys

    require_writable(out)
    data = Store.open(store)
    judge = make_oracle(oracle)
    options = Options(starts=starts, steps=steps, exclude_same=True, relax=False)
    predictor = Predictor.load(weights, spec=spec_for(options))
    anchors = _anchors(data, max_atoms, n, seed)
    made: list[Decoy] = []
    n_lost = 0
    for i in track(range(0, len(anchors), DECOY_CHUNK), description="Decoding and labelling"):
        seeded = predictor.with_options({"seed": seed + i})
        found, lost = make_decoys(anchors[i : i + DECOY_CHUNK], seeded, judge)
        made, n_lost = made + found, n_lost + lost
        write_decoys(out, made, source=oracle)
    typer.echo(f"{out}: {len(made)} decoys of {len(anchors)} compositions, {n_lost} lost.")


def polymorphs(
    store: StoreArgument,
    out: TableOption,
    n: NumberOption = 10_000,
    templates: Annotated[int, typer.Option(help="Number of templates for each composition.", min=1)] = 6,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Use only crystals whose source starts with this text; repeatable.", show_default="all sources"
        ),
    ] = None,
    oracle: OracleOption = "chgnet:0.3.0",
    processes: Annotated[
        int | None, typer.Option(help="Number of processes.", min=1, max=512, show_default="all cores")
    ] = None,
    weights: WeightsOption = None,
    max_atoms: MaxAtomsOption = 20,
    seed: SeedOption = 0,
) -> None:
    """Relax the most probable templates of known compositions with an energy model.

    Crystals of the same composition are excluded from the templates. Unrelaxed templates are written as well, unless
    their energy is more than 0.6 eV/atom above the known crystal. An interrupted run continues from the finished
    relaxations, which are in OUT.relaxed until OUT is written.
    """
    from lcoms.data.store import Store
    from lcoms.oracles.registry import make_oracle
    from lcoms.prediction.bundle import WeightBundle
    from lcoms.train.decoys import write_decoys
    from lcoms.train.polymorphs import make_polymorphs, template_crystals

    require_writable(out)
    make_oracle(oracle)  # before the templates are chosen
    data, bundle = Store.open(store), WeightBundle.load(weights)
    anchors = _anchors(data, max_atoms, n, seed, source or ())
    checkpoint = out.with_name(f"{out.name}.relaxed")
    with progress_bar() as progress:
        tracked = progress.track(anchors, description="Choosing templates")
        starts = template_crystals(tracked, bundle, per_composition=templates, max_atoms=max_atoms)
        n_with = len({id(anchor) for anchor, _ in starts})
        known = progress.add_task("Known crystals", total=n_with)
        task = progress.add_task("Relaxing templates", total=len(starts))
        try:
            made, lost = make_polymorphs(
                starts,
                oracle,
                processes=processes,
                checkpoint=checkpoint,
                on_known=lambda n: progress.update(known, completed=n),
                progress=lambda *_: progress.advance(task),
            )
        finally:
            if checkpoint.exists() and not checkpoint.stat().st_size:  # it could not be written at all
                checkpoint.unlink()
    if not made:
        raise DataError(f"no template gave a crystal: {lost} were tried for {len(anchors)} compositions.")
    write_decoys(out, made, name="polymorph", source=oracle)
    checkpoint.unlink(missing_ok=True)
    of, without = f"{n_with} composition{'s'[: n_with > 1]}", len(anchors) - n_with
    typer.echo(f"{out}: {len(made)} crystals of {of}; {lost} templates gave none.")
    if without:
        typer.echo(f"{without} composition{'s'[: without > 1]} without a template of up to {max_atoms} atoms.")
    typer.echo(f"Next: lcoms data ingest {out} --keep-split --out {out.with_name(out.stem + '-store')}")


def _anchors(data: Store, max_atoms: int, n: int, seed: int, sources: Sequence[str] = ()) -> list[Anchor]:
    """Return the known crystals of lowest energy of random compositions.

    Raises:
        DataError: there is none.
    """
    import numpy as np

    from lcoms.train.decoys import choose_anchors
    from lcoms.train.latents import select_rows

    rows = select_rows(data, max_atoms=max_atoms)
    if sources:
        of = data.columns("source")["source"][rows]
        rows = rows[[str(source).startswith(tuple(sources)) for source in of]]
    anchors = choose_anchors(data, rows, n, np.random.default_rng(seed))
    if not anchors:
        what = f" from {' or '.join(sources)}" if sources else ""
        remedy = "check --source, or raise --max-atoms" if sources else "raise --max-atoms"
        raise DataError(
            f"{data.path} has no crystals{what} of up to {max_atoms} atoms with formation energies; {remedy}."
        )
    return anchors
