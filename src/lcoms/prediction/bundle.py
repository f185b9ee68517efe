"""Everything fitted that a prediction needs, read from one folder."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.diffraction.weights import PatternWeights, load_pattern_weights
from lcoms.models.base import CDVAE
from lcoms.models.composition import element_fractions
from lcoms.models.device import has_bfloat16
from lcoms.models.surrogate import ConservativeSurrogate
from lcoms.models.weights import LIBRARY_FILE, Weights, load_weights
from lcoms.prediction.calibrate import Calibration, load_calibration
from lcoms.prediction.phases import PhaseTable, load_phases
from lcoms.prediction.ranking_file import RankingWeights, load_ranking
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.templates.exact import ExactTemplates, load_templates
from lcoms.templates.library import LatentLibrary
from lcoms.templates.structure_probability import ALL_ALIKE, StructureProbabilities, structure_probabilities
from lcoms.templates.wyckoff_statistics import OrbitStatistics, load_orbits


@dataclass(frozen=True, eq=False)
class WeightBundle:
    """Networks, templates and fitted numbers that belong together.

    Attributes:
        cdvae: encoder and decoder.
        surrogate: energies from latents.
        library: latents and structures of the templates.
        templates: exact templates of all sizes; None if the folder has none.
        wyckoff: statistics of the Wyckoff sequences of known crystals.
        ranking: weights of the score.
        phases: reference phases for energies above the hull; None if the folder has none.
        calibration: models that convert scores to probabilities.
        pattern: weights of the fit to a powder pattern.
        elements: atomic numbers that occur in the training data.
        max_atoms: number of atoms in the largest cell of the training data.
        digest: hash of the networks, the templates and all fitted numbers; identifies the weights of a prediction.
        folder: from which they were read.
    """

    cdvae: CDVAE
    surrogate: ConservativeSurrogate
    library: LatentLibrary
    templates: ExactTemplates | None
    wyckoff: OrbitStatistics
    ranking: RankingWeights
    calibration: Calibration
    pattern: PatternWeights
    phases: PhaseTable | None
    elements: frozenset[int]
    max_atoms: int
    digest: str
    folder: Path

    @classmethod
    def load(cls, folder: str | Path | None = None) -> WeightBundle:
        """Return the weights in a folder; None: those that ship with the package.

        Raises:
            WeightsError: a file is missing, damaged, or of another version.
        """
        return _load(load_weights(None if folder is None else Path(folder)))

    @property
    def device(self) -> torch.device:
        """Device of the networks; their inputs are moved to it and their outputs back to the CPU."""
        return self.surrogate.latent_std.device

    def on(self, device: torch.device) -> WeightBundle:
        """Return the bundle with copies of the networks on another device; itself if they are already on it."""
        if device.type == self.device.type:
            return self
        cdvae, surrogate = deepcopy(self.cdvae).to(device), deepcopy(self.surrogate).to(device)
        cdvae.mixed = has_bfloat16(device)
        return replace(self, cdvae=cdvae, surrogate=surrogate)

    @property
    def largest_cell(self) -> int:
        """Number of atoms in the largest cell that can be predicted; templates may exceed the training cells."""
        return max(self.max_atoms, int(self.library.n_atoms.max()))

    @torch.no_grad()
    def encode(self, crystals: Sequence[Crystal]) -> Float[Tensor, "n latent"]:
        """Return the latents (mu) of crystals; an empty tensor for no crystals."""
        if not crystals:
            return torch.zeros(0, self.cdvae.latent_dim)
        return self.cdvae.encode(CrystalBatch.from_crystals(crystals).to(self.device))[0].cpu()

    @torch.no_grad()
    def energies(self, crystals: Sequence[Crystal], *, latents: Float[Tensor, "n latent"] | None = None) -> list[float]:
        """Return the formation energies (eV/atom) that the surrogate predicts for crystals.

        Args:
            latents: their latents, if known.
        """
        if not crystals:
            return []
        features = element_fractions([crystal.composition for crystal in crystals])
        z = self.encode(crystals) if latents is None else latents
        energies: list[float] = self.surrogate(z.to(self.device), features.to(self.device)).tolist()
        return energies

    def structures(self, composition: Composition, *, exclude_same: bool = False) -> StructureProbabilities:
        """Return the probability of each structure of a composition's stoichiometry, from its exact templates.

        Args:
            exclude_same: exclude crystals of the same composition, as a benchmark must.
        """
        if self.templates is None:
            return ALL_ALIKE
        return _structures(composition.reduced, self.templates, self.library, exclude_same)


@lru_cache(maxsize=4)
def _structures(
    composition: Composition, templates: ExactTemplates, library: LatentLibrary, exclude_same: bool
) -> StructureProbabilities:
    """Return the probabilities of the structures of a composition, which a prediction needs several times."""
    return structure_probabilities(composition, templates, library.similarity, exclude_same=exclude_same)


@lru_cache(maxsize=2)
def _load(weights: Weights) -> WeightBundle:
    ranking, calibration = load_ranking(weights.folder), load_calibration(weights.folder)
    return WeightBundle(
        cdvae=weights.cdvae,
        surrogate=weights.surrogate,
        library=LatentLibrary.load(weights.folder / LIBRARY_FILE),
        templates=load_templates(weights.folder),
        wyckoff=load_orbits(weights.folder),
        ranking=ranking,
        calibration=calibration,
        pattern=load_pattern_weights(weights.folder),
        phases=load_phases(weights.folder),
        elements=weights.elements,
        max_atoms=weights.max_atoms,
        digest=weights.digest,
        folder=weights.folder,
    )
