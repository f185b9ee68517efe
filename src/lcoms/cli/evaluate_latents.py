"""`lcoms evaluate reconstruction`, `surrogate` and `latents`: what latents hold of crystals and their energies."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.cli.options import WeightsOption
from lcoms.core.disk import require_writable, write_whole
from lcoms.core.errors import ConfigError, DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lcoms.evaluate.latents import Pair
    from lcoms.models.base import CDVAE

StoreArgument = Annotated[Path, typer.Argument(help="Store made by lcoms data ingest.")]
CdvaeOption = Annotated[
    Path | None, typer.Option(help="Weights file of the CD-VAE for encoding.", show_default="the one in WEIGHTS")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Also write the numbers to this JSON file.")]
MaxAtomsOption = Annotated[int, typer.Option(help="Largest number of atoms in a cell.")]


def reconstruction(
    store: StoreArgument,
    cdvae: Annotated[
        Path | None,
        typer.Option(
            help="Weights file of a CD-VAE, for decoding without symmetry.", show_default="the one in WEIGHTS"
        ),
    ] = None,
    weights: WeightsOption = None,
    n: Annotated[int, typer.Option("-n", help="Number of crystals, drawn at random.", min=1)] = 1000,
    k: Annotated[int, typer.Option("-k", help="Number of independent decodes of each.", min=1)] = 3,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    symmetry: Annotated[
        bool,
        typer.Option(
            "--symmetry/--no-symmetry",
            help="Start also from sites, and within space groups, of the library's nearest latents.",
        ),
    ] = True,
    max_atoms: MaxAtomsOption = 20,
    langevin_steps: Annotated[
        int | None,
        typer.Option(help="Steps at each noise level of a CD-VAE of the paper preset.", show_default="its own", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the result for each crystal to this JSON file.")
    ] = None,
) -> None:
    """Decode latents of crystals, given number of atoms and species, and match them with the crystals."""
    import numpy as np
    import torch

    from lcoms.data.dataset import plausible_volume
    from lcoms.data.store import Store
    from lcoms.evaluate.reconstruction import library_decode, reconstruct
    from lcoms.models.weights import load_cdvae
    from lcoms.prediction.bundle import WeightBundle

    require_one(cdvae, weights)
    if out is not None:
        require_writable(out)
    model = WeightBundle.load(weights).cdvae if cdvae is None else load_cdvae(cdvae)[0]
    if langevin_steps is not None:
        _sample_longer(model, langevin_steps)
    arrays = Store.open(store)
    rows = arrays.select(split=split, max_atoms=max_atoms)
    rows = rows[plausible_volume(arrays.arrays(rows))]
    if not len(rows):
        raise DataError(f"{store} holds no crystals of split {split!r} with up to {max_atoms} atoms; choose others.")
    rows = np.random.default_rng(seed).permutation(rows)[:n]
    clock = time.perf_counter()
    decode = library_decode(WeightBundle.load(weights)) if cdvae is None and symmetry else None
    crystals = [arrays[int(i)] for i in rows]
    result = reconstruct(model, crystals, torch.Generator().manual_seed(seed), decode=decode, k=k)
    typer.echo(f"{len(rows)} crystals of split {split}, {time.perf_counter() - clock:.0f} s")
    typer.echo(f"{'atoms':>6}  {'n':>5}  {'match@1':<22}  {f'match@{k}':<22}  RMSE")
    for name, first, any_of_k, rmse in result.bands():
        typer.echo(f"{name:>6}  {first.trials:>5}  {first!s:<22}  {any_of_k!s:<22}  {rmse:.3f}")
    if out is not None:
        names = arrays.columns("material_id")["material_id"][rows].tolist()
        write_whole(out, json.dumps(result.cases(names), indent=0) + "\n")


def surrogate(
    store: StoreArgument,
    weights: WeightsOption = None,
    cdvae: CdvaeOption = None,
    surrogates: Annotated[
        list[Path] | None,
        typer.Option("--surrogate", help="File of a surrogate; repeat to average several.", show_default="in WEIGHTS"),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source", help="Report crystals whose source starts with this text, such as MP, separately; repeatable."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    max_atoms: MaxAtomsOption = 20,
    out: OutOption = None,
) -> None:
    """Measure errors of surrogates on unseen compositions, and how well they rank the crystals of each."""
    from lcoms.data.store import Store
    from lcoms.evaluate.surrogates import encode_crystals, score_surrogates, unseen_rows
    from lcoms.models.surrogate_file import load_surrogate
    from lcoms.models.weights import load_cdvae, load_weights

    if out is not None:
        require_writable(out)
    require_one(cdvae if surrogates else None, weights)
    data = Store.open(store)
    rows = unseen_rows(data, max_atoms=max_atoms, split=split)
    used = [load_surrogate(file)[0] for file in surrogates] if surrogates else [load_weights(weights).surrogate]
    model = load_weights(weights).cdvae if cdvae is None else load_cdvae(cdvae)[0]
    _require_fit(model.latent_dim, [one.latent_dim for one in used])
    clock = time.perf_counter()
    crystals = encode_crystals(data, model, rows)
    scores = score_surrogates(used, crystals, sources=sources or [])
    typer.echo(f"{len(used)} surrogate{'s'[: len(used) > 1]}, split {split}, {time.perf_counter() - clock:.0f} s")
    typer.echo(f"{'crystals':<10} {'n':>6}  {'MAE, eV/atom':<22} {'within compositions':<22} {'Spearman':<22} of")
    for one in scores:
        within = f"{one.mae_within!s:<22} {one.spearman!s:<22}"
        typer.echo(f"{one.name:<10} {one.n_crystals:>6}  {one.mae!s:<22} {within} {one.n_ordered}")
    if out is not None:
        write_whole(out, json.dumps([asdict(one) for one in scores], indent=1) + "\n")


def require_one(cdvae: Path | None, weights: Path | None) -> None:
    """Check that not both a CD-VAE and a folder of weights, from which nothing would then be used, are given.

    Raises:
        OptionError: both are.
    """
    if cdvae is not None and weights is not None:
        raise OptionError("{} has no effect with {}; omit one of them.", ["weights", "cdvae"])


def _require_fit(latent_dim: int, theirs: list[int]) -> None:
    if any(other != latent_dim for other in theirs):
        raise ConfigError("the surrogate belongs to another CD-VAE; give that one by --cdvae.")


def latents(
    store: StoreArgument,
    weights: WeightsOption = None,
    cdvae: CdvaeOption = None,
    n: Annotated[
        int, typer.Option("-n", help="Number of pairs of crystals, each of another composition.", min=1)
    ] = 100,
    points: Annotated[int, typer.Option(help="Number of latents decoded along each path.", min=2)] = 11,
    oracle: Annotated[str, typer.Option(help="Energy model that evaluates the decoded crystals, or none.")] = "none",
    probe: Annotated[
        int,
        typer.Option(
            help="Number of training crystals for the regression, and of validation crystals; 0 skips it.", min=0
        ),
    ] = 10_000,
    split: Annotated[str, typer.Option(help="Split of the pairs: train or val.")] = "val",
    max_atoms: MaxAtomsOption = 20,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    out: OutOption = None,
) -> None:
    """Displace atoms, decode the path between two crystals of one composition, and regress energies on latents."""
    import numpy as np
    import torch

    from lcoms.data.store import Store
    from lcoms.evaluate.latents import interpolate, pairs_of_one_composition, probe_energy
    from lcoms.evaluate.statistics import Share
    from lcoms.models.weights import load_cdvae, load_weights
    from lcoms.oracles.registry import make_oracle
    from lcoms.train.latents import encode_rows, select_rows, surrogate_data

    if out is not None:
        require_writable(out)
    require_one(cdvae, weights)
    judge, random = None if oracle == "none" else make_oracle(oracle), np.random.default_rng(seed)
    model, data = load_weights(weights).cdvae if cdvae is None else load_cdvae(cdvae)[0], Store.open(store)
    clock = time.perf_counter()
    pairs = pairs_of_one_composition(data, select_rows(data, max_atoms=max_atoms, split=split), n, random)
    ways = interpolate(model, pairs, torch.Generator().manual_seed(seed), oracle=judge, points=points)
    typer.echo(f"{len(ways)} pairs of split {split}, {points} points each, {time.perf_counter() - clock:.0f} s")
    inner = [good for way in ways for good in way.valid[1:-1]]
    ends = [good for way in ways for good in (way.valid[0], way.valid[-1])]
    if inner:
        typer.echo(f"valid between the ends   {Share(sum(inner), len(inner))}")
    typer.echo(f"valid at the ends        {Share(sum(ends), len(ends))}")
    typer.echo(f"ends that match          {Share(sum(sum(way.ends_match) for way in ways), 2 * len(ways))}")
    barriers = [way.barrier for way in ways if way.barrier is not None]
    if barriers:
        low, middle, high = np.percentile(barriers, [10, 50, 90])
        typer.echo(f"barrier, eV/atom         median {middle:.3f}, 10 to 90 %: {low:.3f} to {high:.3f}")
    figures: dict[str, object] = {"ways": [asdict(way) | {"barrier": way.barrier} for way in ways]}
    figures |= _smoothness(model, pairs, seed)
    if probe:
        some = [select_rows(data, max_atoms=max_atoms, split=name) for name in ("train", "val")]
        rows = np.sort(np.concatenate([random.permutation(part)[:probe] for part in some]))
        found = probe_energy(surrogate_data(data, rows, encode_rows(model, data, rows)))
        typer.echo(f"energy probe, {found.n_train} training crystals, {found.n_unseen} of unseen compositions, eV/atom")
        typer.echo(
            f"  composition alone      {found.composition:.3f}, within compositions {found.within_composition:.3f}"
        )
        typer.echo(f"  and latent             {found.latent:.3f}, within them {found.within:.3f}")
        figures["probe"] = found._asdict()
    if out is not None:
        write_whole(out, json.dumps(figures, indent=1) + "\n")


def _smoothness(model: CDVAE, pairs: Sequence[Pair], seed: int) -> dict[str, object]:
    """Print and return how far latents of pairs of crystals are apart, and how far they move with the atoms."""
    import numpy as np

    from lcoms.evaluate.latents import latent_shifts, pair_distances

    apart = float(np.median(pair_distances(model, pairs)))
    typer.echo(f"latents of a pair        {apart:.2f} apart (median)")
    shifts = latent_shifts(model, [one for pair in pairs for one in pair], np.random.default_rng(seed))
    for shift in shifts:
        told = f"atoms moved by {shift.displacement:g} A"
        typer.echo(f"{told:<24} latents by {shift.median:.2f} (median), {shift.percentile_90:.2f} (90th percentile)")
    return {"distance": apart, "shifts": [shift._asdict() for shift in shifts]}


def _sample_longer(model: CDVAE, steps: int) -> None:
    """Set the Langevin steps at each noise level.

    Raises:
        OptionError: the model is not of the paper preset.
    """
    from lcoms.models.paper import PaperCDVAE

    if not isinstance(model, PaperCDVAE):
        sentence = "{} has no effect on this CD-VAE, which is not of the paper preset; omit it, or name another."
        raise OptionError(sentence, ["langevin_steps"])
    model.langevin = replace(model.langevin, steps_per_level=steps)
