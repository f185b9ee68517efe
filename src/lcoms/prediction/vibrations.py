"""Phonons of the top candidates: dynamical stability, and the order by harmonic free energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lcoms.core.errors import LcomsError
from lcoms.oracles.base import EnergyOracle
from lcoms.phonons.harmonic import LEAST_FREQUENCY, MOST_OMITTED, PhononConfig, compute_phonons
from lcoms.phonons.relaxed import relaxed_in_symmetry
from lcoms.prediction.progress import Progress, Tell
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate


def with_phonons(prediction: Prediction, oracle: EnergyOracle | None, tell: Tell) -> Prediction:
    """Return the prediction with the phonons of the requested number of top candidates.

    Each is relaxed further within its symmetry; if that or the phonons fail, a sentence says so.
    """
    wanted = prediction.spec.phonons
    if oracle is None or not wanted.n:
        return prediction
    config, name = PhononConfig(temperature=wanted.temperature), prediction.composition.reduced_formula
    found, failures = list(prediction.candidates), list(prediction.no_phonons)
    ranks = [rank for rank, one in enumerate(found[: wanted.n], 1) if one.is_relaxed]
    failures += unrelaxed_sentences("phonons", found[: wanted.n])
    for done, rank in enumerate(ranks):
        tell(Progress(name, "phonons", done, len(ranks)))
        try:
            crystal = relaxed_in_symmetry(found[rank - 1].crystal, oracle)
            phonons = compute_phonons(crystal, oracle, config)
        except LcomsError as error:
            failures.append(f"No phonons for rank {rank}: {error}")
            continue
        found[rank - 1] = replace(found[rank - 1], phonons=phonons)
    return replace(prediction, candidates=tuple(found), no_phonons=tuple(failures))


def unrelaxed_sentences(what: str, candidates: Sequence[Candidate]) -> list[str]:
    """Return one sentence for each of the top candidates that lacks phonons or soft modes because it is not relaxed."""
    return [
        f"No {what} for rank {rank}: it was not relaxed{'; raise --n-relax' if one.relaxed is None else ''}."
        for rank, one in enumerate(candidates, 1)
        if not one.is_relaxed
    ]


def phonon_sentences(candidates: Sequence[Candidate]) -> list[str]:
    """Return sentences on which candidates are stable, which are not and why, and the order by free energies."""
    have = [(rank, one, one.phonons) for rank, one in enumerate(candidates, 1) if one.phonons is not None]
    if not have:
        return []
    stable = [str(rank) for rank, _, phonons in have if phonons.stable]
    said = [f"Dynamically stable: rank{'s'[: len(stable) > 1]} {', '.join(stable)}."] if stable else []
    said += [
        f"Rank {rank} is dynamically unstable: {phonons.soft[0].name}" + _more(len(phonons.soft) - 1)
        for rank, _, phonons in have
        if not phonons.stable
    ]
    free = [
        (one.relaxed.energy_per_atom + phonons.free_energy, rank)
        for rank, one, phonons in have
        if one.relaxed is not None and phonons.free_energy is not None
    ]
    if len(free) > 1:
        lowest = min(free)[0]
        order = ", ".join(f"rank {rank} ({energy - lowest:.3f})" for energy, rank in sorted(free))
        kelvin = have[0][2].temperature
        said.append(f"Harmonic free energies at {kelvin:g} K, eV/atom above the lowest: {order}.")
        said += [
            f"That of rank {rank} is without the {phonons.omitted:.1%} of the modes that are imaginary or below "
            f"{LEAST_FREQUENCY:g} THz; do not trust it."
            for rank, _, phonons in have
            if phonons.free_energy is not None and phonons.omitted > MOST_OMITTED
        ]
    return said


def _more(n: int) -> str:
    return f", and {n} more soft mode{'s' if n > 1 else ''}." if n else "."
