"""`lcoms train`: weights from a store: the autoencoder, then the surrogate and the library of latents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.console import progress_bar
from lcoms.cli.train_decoys import decoys, polymorphs
from lcoms.cli.train_further import further_rows, only_trained, tell_without_energies
from lcoms.cli.train_library import (
    MaxAtomsOption,
    OutOption,
    StoreArgument,
    library,
    open_training,
    require_energies,
    templates,
)
from lcoms.core.disk import require_same, require_writable, write_whole
from lcoms.core.errors import DataError, OptionError

if TYPE_CHECKING:
    from lcoms.data.store import Store
    from lcoms.models.base import CDVAE

DEFAULT_PRESET = "fast"

app = typer.Typer(no_args_is_help=True, help="Train the autoencoder and the surrogate.")

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value setting of the training, such as learning_rate=1e-3; repeatable."),
]
ModelSetOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="key=value setting of the network, such as latent_dim=32 or n_blocks=2; repeatable."),
]
TrainThreadsOption = Annotated[
    int | None, typer.Option(help="Number of threads per process.", min=1, max=256, show_default="all cores")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda; auto uses a GPU if there is one.")]


@app.command()
def cdvae(
    store: StoreArgument,
    out: OutOption,
    preset: Annotated[
        str | None, typer.Option(help="fast or paper.", show_default="fast, or that of --start-from")
    ] = None,
    model_set: ModelSetOption = None,
    train_set: SetOption = None,
    start_from: Annotated[Path | None, typer.Option(help="Weights file to continue from.")] = None,
    further: Annotated[
        list[Path] | None,
        typer.Option(
            help="Stores of further crystals (lcoms train polymorphs, lcoms data ingest), of which only the energies "
            "are learned; needs --set energy_atoms=2048 or so."
        ),
    ] = None,
    max_atoms: MaxAtomsOption = 20,
    threads: TrainThreadsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a CD-VAE on the training split; writes OUT/cdvae.safetensors, logs and a checkpoint."""
    import torch

    from lcoms.core.config import to_dict, with_overrides
    from lcoms.models.device import has_bfloat16, require_device
    from lcoms.models.weights import find_preset, new_cdvae, preset_of
    from lcoms.train.cdvae import TrainConfig, require_energy_batches, train_cdvae
    from lcoms.train.latents import select_rows
    from lcoms.train.trainer import CHECKPOINT_FILE

    if threads is not None:
        torch.set_num_threads(threads)
    config, place = with_overrides(TrainConfig(), train_set or []), require_device(device)
    data = open_training(store)
    rows = select_rows(data, max_atoms=max_atoms, split="train")
    if not len(rows):
        raise DataError(f"{store} has no training crystals of up to {max_atoms} atoms; raise --max-atoms.")
    torch.manual_seed(config.seed)
    earlier: list[dict[str, Any]] = []
    if start_from is None:
        chosen = DEFAULT_PRESET if preset is None else preset
        model = new_cdvae(chosen, with_overrides(find_preset(chosen).config(), model_set or []))
    else:
        model, earlier = _continued(start_from, preset, model_set or [])
    require_energy_batches(model, config, further=bool(further))
    model.mixed = has_bfloat16(place)
    crystals = data.arrays(rows)
    metadata = _metadata(data, crystals.atomic_numbers, max_atoms, len(rows))
    stores = [open_training(path) for path in further or []]
    others = [only_trained(data, one, max_atoms) for one in stores]
    if config.energy_atoms:
        tell_without_energies([crystals, *others])
    if stores:
        metadata["further"] = [one.fingerprint for one in stores]
    if earlier:
        metadata["earlier"] = earlier
    out.mkdir(parents=True, exist_ok=True)
    if not (out / CHECKPOINT_FILE).exists():
        settings = {"preset": preset_of(model), "model": to_dict(model.config), "train": to_dict(config)}
        write_whole(out / "config.json", json.dumps(settings, indent=2) + "\n")
    typer.echo(f"{len(rows)} training crystals of up to {max_atoms} atoms, {config.steps} steps.")
    weights = train_cdvae(
        model,
        crystals,
        config,
        out,
        metadata=metadata,
        further=others,
        fit_statistics=start_from is None,
        device=place,
    )
    typer.echo(f"Weights: {weights}")
    if data.n_energies:
        typer.echo(f"Next: lcoms train surrogate {store} --cdvae {weights} --out {out}")
    else:
        typer.echo("For predictions, the surrogate needs formation energies, which the store lacks.")


@app.command()
def surrogate(
    store: StoreArgument,
    out: OutOption,
    cdvae: Annotated[Path, typer.Option(help="Weights file of the CD-VAE.")],
    further: Annotated[
        list[Path] | None,
        typer.Option(
            help="Stores of further crystals (lcoms train polymorphs or decoys, lcoms data ingest) to train on as well."
        ),
    ] = None,
    train_set: SetOption = None,
    conservatism: Annotated[
        str, typer.Option(help="off trains by plain regression, the paper's supervised-learning (SL) baseline.")
    ] = "on",
    max_atoms: MaxAtomsOption = 20,
    larger: Annotated[
        int | None,
        typer.Option(
            help="Train the surrogate on cells of up to this many atoms as well; they do not enter the library.",
            show_default="--max-atoms",
        ),
    ] = None,
    library_from: Annotated[
        Path | None,
        typer.Option(help="Folder of weights whose library is copied, instead of building one from the store."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Encode a store, train the conservative surrogate and build the library; OUT then holds weights for prediction."""
    import torch

    from lcoms.core.config import with_overrides
    from lcoms.models.device import require_device
    from lcoms.models.manifest import record_files
    from lcoms.models.surrogate import MIN_LATENT_STD, SurrogateConfig
    from lcoms.models.surrogate_file import load_surrogate, save_surrogate
    from lcoms.models.weights import CDVAE_FILE, REQUIRED, SURROGATE_FILE, TEMPLATES_FILE, load_cdvae
    from lcoms.train.latents import encode_rows, select_rows, surrogate_data
    from lcoms.train.library_files import build_files, copy_files, require_same_cdvae, store_of
    from lcoms.train.surrogate import train_surrogate

    if larger is not None and larger <= max_atoms:
        raise OptionError("{} must exceed {}, or it adds no cells; raise or omit it.", ["larger", "max_atoms"])
    config = with_overrides(SurrogateConfig(), [f"conservatism={conservatism}", *(train_set or [])])
    place = require_device(device)
    if library_from is not None:
        require_same_cdvae(library_from, cdvae)
    require_writable(out / SURROGATE_FILE)
    data = open_training(store)
    model, metadata = load_cdvae(cdvae)
    require_same(out / CDVAE_FILE, cdvae)
    head = model.energy_model() if config.from_head else None
    rows = select_rows(data, max_atoms=max_atoms)
    require_energies(data, rows, max_atoms)
    typer.echo(f"Encoding {len(rows)} crystals ...")
    latents = encode_rows(model, data, rows)
    active = int((latents.std(0) > MIN_LATENT_STD).sum())
    typer.echo(f"Latent dimensions in use: {active} of {latents.shape[1]} (standard deviation over {MIN_LATENT_STD}).")
    files = None
    if library_from is not None and store_of(library_from) != data.fingerprint:
        typer.echo(f"The library of {library_from} is from another store; it may hold validation crystals of {store}.")
    if library_from is None:
        typer.echo("Searching their symmetries ...")
        files = build_files(model, data, rows, latents, metadata)
        lost, n = files.templates.metadata["not_described"], len(files.templates)
        typer.echo(f"Templates of every size: {n} crystals; {lost} without a recognized symmetry are left out.")
        typer.echo(f"Library: {len(files.library)} crystals.")
    typer.echo("Training the surrogate ...")
    run = out / f"surrogate-{config.conservatism}"
    learned = surrogate_data(data, rows, latents)
    for name, extra, some in further_rows(data, max_atoms, larger, further or []):
        learned = learned.joined(surrogate_data(extra, some, encode_rows(model, extra, some)))
        typer.echo(f"{len(some)} {name}")
    train_surrogate(learned, run, config=config, seed=seed, head=head, device=place, on_epoch=_echo)
    best, trained = load_surrogate(run / "last.safetensors")
    if files is not None:  # saved last and together, because files of an earlier run may be present
        files.save(out)
    elif library_from is not None:
        copy_files(library_from, out)
    save_surrogate(best, out / SURROGATE_FILE, metadata=trained, dtype=torch.int8)
    if cdvae.resolve() != (out / CDVAE_FILE).resolve():
        write_whole(out / CDVAE_FILE, cdvae.read_bytes())
    record_files(out, (*REQUIRED, TEMPLATES_FILE))
    typer.echo(f"Next: lcoms predict NaCl --weights {out}")


@app.command()
def megnet(
    store: StoreArgument,
    out: OutOption,
    model_set: ModelSetOption = None,
    train_set: SetOption = None,
    conservatism: Annotated[
        str, typer.Option(help="on also penalizes low energies reached by descent in lattice and coordinates.")
    ] = "off",
    max_atoms: MaxAtomsOption = 20,
    threads: TrainThreadsOption = None,
) -> None:
    """Train MEGNet, the energy model of the search baselines; writes OUT/megnet.safetensors and a checkpoint."""
    import torch

    from lcoms.core.config import to_dict, with_overrides
    from lcoms.models.megnet import Megnet, MegnetConfig
    from lcoms.train.graphs import megnet_data
    from lcoms.train.megnet import MegnetTraining, train_megnet
    from lcoms.train.trainer import CHECKPOINT_FILE

    if threads is not None:
        torch.set_num_threads(threads)
    smooth = ["smooth=true"] if conservatism == "on" else []
    network = with_overrides(MegnetConfig(), [*smooth, *(model_set or [])])
    config = with_overrides(MegnetTraining(), [f"conservatism.mode={conservatism}", *(train_set or [])])
    data = open_training(store)
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        task = progress.add_task("Finding neighbors", total=len(data.select(max_atoms=max_atoms)))
        found = megnet_data(
            data, network, out / "graphs.safetensors", max_atoms=max_atoms, on_chunk=lambda n: progress.advance(task, n)
        )
    torch.manual_seed(config.seed)
    model = Megnet(network)
    numbers, n_train, n_val = found.crystals.atomic_numbers, int(found.is_train.sum()), int(found.is_val.sum())
    if not (out / CHECKPOINT_FILE).exists():
        settings = {"model": to_dict(network), "train": to_dict(config)}
        write_whole(out / "config.json", json.dumps(settings, indent=2) + "\n")
    typer.echo(f"{n_train} training crystals of up to {max_atoms} atoms, {n_val} for validation.")
    metadata = _metadata(data, numbers, max_atoms, n_train)
    weights = train_megnet(model, found, config, out, metadata=metadata, on_validation=_echo_megnet)
    typer.echo(f"Weights: {weights}")


def _continued(start_from: Path, preset: str | None, model_set: list[str]) -> tuple[CDVAE, list[dict[str, Any]]]:
    """Return the network of a weights file, and its trainings so far, with those settings that are changed now.

    Settings that leave the network's tensors as they are may be changed.
    """
    from lcoms.core.config import to_dict, with_overrides
    from lcoms.models.weights import load_cdvae, new_cdvae, preset_of

    trained, metadata = load_cdvae(start_from)
    if preset not in (None, preset_of(trained)):
        sentence = "{} has no effect with {}, whose network is trained further; omit it."
        raise OptionError(sentence, ["preset", "start_from"])
    config = with_overrides(trained.config, model_set)
    now, before = to_dict(config), to_dict(trained.config)
    last = {key: value for key, value in metadata.items() if key not in ("elements", "earlier")}
    last |= {"model": {key: value for key, value in before.items() if value != now[key]}}
    earlier = [*metadata.get("earlier", []), last]
    model, state = new_cdvae(preset_of(trained), config), trained.state_dict()
    if {name: t.shape for name, t in model.state_dict().items()} != {name: t.shape for name, t in state.items()}:
        sentence = "{} changes the layers of the network that {} trains further; change only loss weights."
        raise OptionError(sentence, ["model", "start_from"])
    model.load_state_dict(state)
    return model.train(), earlier


def _metadata(store: Store, atomic_numbers: Any, max_atoms: int, n_crystals: int) -> dict[str, Any]:
    import numpy as np

    from lcoms import __version__

    return {
        "store": store.fingerprint,
        "n_crystals": n_crystals,
        "elements": np.unique(atomic_numbers).tolist(),
        "max_atoms": max_atoms,
        "lcoms_version": __version__,
    }


def _echo(record: Any) -> None:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    typer.echo(
        f"epoch {record.epoch:>3}  MAE {record.mae:.3f}  validation MAE {number(record.val_mae)} eV/atom  "
        f"Spearman {number(record.val_spearman)} ({record.val_polymorphic} compositions)  "
        f"overestimation {record.overestimation:.3f}  alpha {record.alpha:.4f}  {record.seconds:.0f} s"
    )


def _echo_megnet(record: Any) -> None:
    typer.echo(
        f"epoch {record.epoch:>3}  MAE {record.train_mae:.4f}  validation MAE {record.val_mae:.4f} eV/atom  "
        f"Spearman {record.val_spearman:.3f}  overestimation {record.overestimation:.3f}  alpha {record.alpha:.4f}"
    )


app.command()(decoys)
app.command()(polymorphs)
app.command()(library)
app.command()(templates)
