"""Everything that was fitted and that a prediction needs, read from one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.models.base import CDVAE
from lcoms.models.composition import element_fractions
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
        templates: exact templates of all sizes; None where the folder has none.
        wyckoff: which Wyckoff sequences known crystals take.
        ranking: weights of the score.
        phases: from which energies above the hull are counted; None where the folder has none.
        calibration: what turns a ranked prediction into a probability.
        elements: atomic numbers that occur in the training data.
        max_atoms: largest cell of the training data.
        digest: over the networks, the templates and all fitted numbers, to say which weights made a prediction.
        folder: where they were read from.
    """

    cdvae: CDVAE
    surrogate: ConservativeSurrogate
    library: LatentLibrary
    templates: ExactTemplates | None
    wyckoff: OrbitStatistics
    ranking: RankingWeights
    calibration: Calibration
    phases: PhaseTable | None
    elements: frozenset[int]
    max_atoms: int
    digest: str
    folder: Path

    @classmethod
    def load(cls, folder: str | Path | None = None) -> WeightBundle:
        """The weights of a folder; None: those that ship with the package.

        Raises:
            WeightsError: a file is missing, damaged, or of another version.
        """
        return _load(load_weights(None if folder is None else Path(folder)))

    @property
    def largest_cell(self) -> int:
        """Atoms in the largest cell that can be predicted; templates may be larger than what the networks learned."""
        return max(self.max_atoms, int(self.library.n_atoms.max()))

    @torch.no_grad()
    def encode(self, crystals: Sequence[Crystal]) -> Float[Tensor, "n latent"]:
        """Latents (mu) of crystals; none for none."""
        if not crystals:
            return torch.zeros(0, self.cdvae.latent_dim)
        return self.cdvae.encode(CrystalBatch.from_crystals(crystals))[0]

    @torch.no_grad()
    def energies(self, crystals: Sequence[Crystal]) -> list[float]:
        """Formation energies (eV/atom) that the surrogate predicts for crystals."""
        if not crystals:
            return []
        features = element_fractions([crystal.composition for crystal in crystals])
        energies: list[float] = self.surrogate(self.encode(crystals), features).tolist()
        return energies

    def structures(self, composition: Composition, *, exclude_same: bool = False) -> StructureProbabilities:
        """How probable each structure of a composition's stoichiometry is by its exact templates.

        Args:
            exclude_same: leave crystals of the very composition out, as a benchmark must.
        """
        if self.templates is None:
            return ALL_ALIKE
        return structure_probabilities(composition, self.templates, self.library.similarity, exclude_same=exclude_same)


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
        phases=load_phases(weights.folder),
        elements=weights.elements,
        max_atoms=weights.max_atoms,
        digest=weights.digest,
        folder=weights.folder,
    )
