"""Library, exact templates and Wyckoff statistics in a folder of weights: built from a store, or copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.disk import sha256_of, write_whole
from lcoms.core.errors import WeightsError
from lcoms.data.store import Store
from lcoms.models.base import CDVAE
from lcoms.models.weights import CDVAE_FILE, LIBRARY_FILE, ORBITS_FILE, TEMPLATES_FILE
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.library import LatentLibrary
from lcoms.templates.wyckoff_statistics import OrbitStatistics
from lcoms.train.latents import describe_rows
from lcoms.train.library import build_library, count_orbits
from lcoms.train.templates import make_templates


class LibraryFiles(NamedTuple):
    """What predictions start from."""

    library: LatentLibrary
    templates: ExactTemplates
    statistics: OrbitStatistics

    def save(self, folder: Path) -> None:
        """Write the three files."""
        self.statistics.save(folder / ORBITS_FILE)
        self.library.save(folder / LIBRARY_FILE)
        self.templates.save(folder / TEMPLATES_FILE)


def build_files(
    model: CDVAE, store: Store, rows: NDArray[np.int64], latents: Float[Tensor, "n latent"], metadata: dict[str, Any]
) -> LibraryFiles:
    """Return the files of a store; this searches the symmetry of every crystal.

    Args:
        rows: crystals of the library and the statistics; templates come from all training crystals.
        latents: of these rows.
        metadata: description of the CD-VAE.
    """
    symmetries = describe_rows(store, rows)
    statistics = count_orbits(store, rows, symmetries)
    facts = {"store": store.fingerprint, "cdvae": metadata}
    library = build_library(model, store, rows, latents, symmetries, statistics, metadata=facts)
    return LibraryFiles(library, make_templates(store), statistics)


def require_same_cdvae(folder: Path, cdvae: Path) -> None:
    """Raise WeightsError unless a folder of weights has a library made with the CD-VAE of this file."""
    for name in (CDVAE_FILE, LIBRARY_FILE, ORBITS_FILE, TEMPLATES_FILE):
        if not (folder / name).is_file():
            raise WeightsError(f"there is no {name} in {folder}; name a folder of weights, or build the library anew.")
    if sha256_of(folder / CDVAE_FILE) != sha256_of(cdvae):
        raise WeightsError(
            f"the library of {folder} was made with another CD-VAE than {cdvae}, whose latents differ; give that of "
            "the folder, or build the library anew."
        )


def store_of(folder: Path) -> str:
    """Return the fingerprint of the store that the library in a folder was made from."""
    return str(LatentLibrary.load(folder / LIBRARY_FILE).metadata.get("store"))


def copy_files(source: Path, target: Path) -> None:
    """Copy the three files from one folder of weights to another."""
    if source.resolve() != target.resolve():
        for name in (ORBITS_FILE, LIBRARY_FILE, TEMPLATES_FILE):
            write_whole(target / name, (source / name).read_bytes())
