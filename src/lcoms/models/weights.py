"""Trained weights on disk: one safetensors file per model, with preset, configuration and history in the header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from lcoms.core.config import from_dict, to_dict
from lcoms.core.errors import ConfigError, WeightsError
from lcoms.core.machine import bound_kernel_caches
from lcoms.diffraction.weights import PATTERN_FILE
from lcoms.models.base import CDVAE
from lcoms.models.device import has_bfloat16
from lcoms.models.fast import FastCDVAE
from lcoms.models.fast_config import FastConfig
from lcoms.models.manifest import MANIFEST, checked_digest
from lcoms.models.paper import PaperCDVAE, PaperConfig
from lcoms.models.surrogate import ConservativeSurrogate
from lcoms.models.surrogate_file import load_surrogate, must_fit, read_tensors, write_tensors

KIND = "lcoms-cdvae"
VERSION = 1
CDVAE_FILE = "cdvae.safetensors"
SURROGATE_FILE = "surrogate.safetensors"
LIBRARY_FILE = "library.safetensors"
ORBITS_FILE = "orbits.json"
TEMPLATES_FILE = "templates.safetensors"
RANKING_FILE = "ranking.json"
CALIBRATION_FILE = "calibration.json"
PHASES_FILE = "phases.safetensors"
REQUIRED = (CDVAE_FILE, SURROGATE_FILE, LIBRARY_FILE, ORBITS_FILE)
OPTIONAL = (TEMPLATES_FILE, RANKING_FILE, CALIBRATION_FILE, PATTERN_FILE, PHASES_FILE)


@dataclass(frozen=True)
class Preset:
    """A kind of CD-VAE: its configuration and its network."""

    config: type[Any]
    model: type[CDVAE]


PRESETS: Mapping[str, Preset] = {
    "fast": Preset(FastConfig, FastCDVAE),
    "paper": Preset(PaperConfig, PaperCDVAE),
}


@dataclass(frozen=True, eq=False)
class Weights:
    """Models and facts that prediction needs.

    Attributes:
        elements: atomic numbers that occur in the training data.
        max_atoms: number of atoms in the largest cell of the training data.
        digest: SHA-256 over all files, including the calibration, to identify the weights behind a prediction.
        folder: folder of the files; it also holds the library of latents and the statistics of orbits.
    """

    cdvae: CDVAE
    surrogate: ConservativeSurrogate
    elements: frozenset[int]
    max_atoms: int
    digest: str
    folder: Path


def preset_of(model: CDVAE) -> str:
    """Return the name of the preset of a model."""
    return next(name for name, preset in PRESETS.items() if isinstance(model, preset.model))


def find_preset(name: str) -> Preset:
    """Return the preset with the given name.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def new_cdvae(preset: str, config: Any = None) -> CDVAE:
    """Return an untrained model of a preset.

    Raises:
        ConfigError: there is no such preset.
    """
    found = find_preset(preset)
    return found.model(found.config() if config is None else config)


def save_cdvae(
    model: CDVAE, path: Path | str, *, metadata: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Save a model for inference: parameters in `dtype`, normalisation in full precision.

    Args:
        metadata: facts serialisable to JSON, including `elements` and `max_atoms` of the training data.
    """
    parameters = {name for name, _ in model.named_parameters()}
    state = {name: t.to(dtype) if name in parameters else t for name, t in model.state_dict().items()}
    header = {
        "kind": KIND,
        "version": VERSION,
        "preset": preset_of(model),
        "config": to_dict(model.config),
        "metadata": dict(metadata),
    }
    write_tensors(Path(path), state, header)


def load_cdvae(path: Path | str) -> tuple[CDVAE, dict[str, Any]]:
    """Return a saved model in float32, ready to encode and decode, and its metadata.

    Raises:
        WeightsError: the file is missing, damaged, of another version, or its tensors do not fit its configuration.
    """
    state, header = read_tensors(Path(path), KIND, VERSION)
    with must_fit(path, state):
        preset = PRESETS[header["preset"]]
        model = preset.model(from_dict(preset.config, header["config"]))
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
        metadata = dict(header["metadata"])
    model.requires_grad_(False)
    return _for_inference(model), metadata


def load_weights(folder: Path | None = None) -> Weights:
    """Return the weights that ship with the package, or those in a folder; read once, and again if a file changes.

    Raises:
        WeightsError: a file is missing, damaged or differs from its record in the manifest (`lcoms.models.manifest`).
    """
    if folder is None:
        with as_file(files("lcoms").joinpath("weights")) as shipped:
            if not (shipped / MANIFEST).is_file():
                raise WeightsError(f"{shipped} has no {MANIFEST}; install lcoms again.")
            return load_weights(Path(shipped))
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise WeightsError(f"there is no file {folder / name}; check the folder, or train first.")
    return _loaded(folder, _state(folder))


def _state(folder: Path) -> tuple[tuple[int, ...], ...]:
    """Return facts that change if a file of the weights in a folder is written or replaced."""
    files = (folder / name for name in (*REQUIRED, *OPTIONAL, MANIFEST))
    facts = [file.stat() for file in files if file.is_file()]
    return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in facts)


@lru_cache(maxsize=2)
def _loaded(folder: Path, _facts: tuple[tuple[int, ...], ...]) -> Weights:
    """Return the weights in a folder whose files are in a certain state."""
    digest = checked_digest(folder, (*REQUIRED, *(name for name in OPTIONAL if (folder / name).is_file())))
    cdvae, metadata = load_cdvae(folder / CDVAE_FILE)
    surrogate, _ = load_surrogate(folder / SURROGATE_FILE)
    with must_fit(folder / CDVAE_FILE):
        elements, max_atoms = frozenset(map(int, metadata["elements"])), int(metadata["max_atoms"])
    if surrogate.latent_dim != cdvae.config.latent_dim:
        raise WeightsError(
            f"{folder / SURROGATE_FILE} and {CDVAE_FILE} do not belong together; copy or train them again."
        )
    return Weights(cdvae, surrogate, elements, max_atoms, digest, folder)


def _for_inference(model: CDVAE) -> CDVAE:
    """Set half precision inside the layers where the processor supports it natively; elsewhere it would be slower."""
    if not torch.cuda.is_available():
        model.mixed = has_bfloat16(torch.device("cpu"))
        bound_kernel_caches()
    model.eval()
    return model
