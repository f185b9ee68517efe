"""Candidates of lower symmetry: the top candidates distorted along their soft modes, to be relaxed and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lcoms.core.errors import LcomsError
from lcoms.oracles.base import EnergyOracle
from lcoms.phonons.distortions import Distortion, distortions
from lcoms.phonons.harmonic import PhononConfig, compute_phonons
from lcoms.phonons.relaxed import relaxed_in_symmetry
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.progress import Progress, Tell
from lcoms.prediction.stages import EXACT_SYMPREC, Candidate, Decoded
from lcoms.structure.symmetry import Symmetrised

ROUNDS = 2  # the distorted crystals may have soft modes themselves


class Distorted(NamedTuple):
    """Crystals distorted along soft modes.

    Attributes:
        crystals: with the proposals of the candidates they were made from.
        failures: one sentence for each candidate whose phonons could not be computed.
    """

    crystals: tuple[Decoded, ...]
    failures: tuple[str, ...]


def distort(candidates: Sequence[Candidate], oracle: EnergyOracle, bundle: WeightBundle, tell: Tell) -> Distorted:
    """Return the candidates distorted along the soft modes that they have once relaxed within their symmetry.

    Args:
        oracle: energy model that relaxed them.
    """
    made: list[Decoded] = []
    failures: list[str] = []
    for done, candidate in enumerate(candidates):
        composition = candidate.crystal.composition
        tell(Progress(composition.reduced_formula, "soft modes", done, len(candidates)))
        try:
            phonons = compute_phonons(relaxed_in_symmetry(candidate.crystal, oracle), oracle, PhononConfig())
        except LcomsError as error:
            failures.append(f"No soft modes of the candidate in space group {candidate.space_group}: {error}")
            continue
        made += [_decoded(one, candidate, bundle) for one in distortions(phonons)]
    return Distorted(tuple(made), tuple(failures))


def _decoded(distorted: Distortion, candidate: Candidate, bundle: WeightBundle) -> Decoded:
    """Return a distorted crystal as a decoded one, on exact sites, so that its relaxation may keep the distortion."""
    found = Symmetrised(distorted.crystal, distorted.space_group, EXACT_SYMPREC)
    return Decoded.as_is(found, bundle.energies([distorted.crystal])[0], candidate.decoded.proposal)
