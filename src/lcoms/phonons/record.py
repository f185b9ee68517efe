"""JSON record of the phonons in a prediction."""

from __future__ import annotations

from typing import Any

from lcoms.phonons.harmonic import Phonons


def phonon_record(phonons: Phonons | None) -> dict[str, Any] | None:
    """Return a JSON-compatible dict with frequencies in THz, energies in eV/atom and entropy in eV/K/atom."""
    if phonons is None:
        return None
    return {
        "stable": phonons.stable,
        "lowest_frequency": round(phonons.lowest, 4),
        "soft_modes": [mode.name for mode in phonons.soft],
        "temperature": phonons.temperature,
        "free_energy": phonons.free_energy,
        "zero_point_energy": phonons.zero_point,
        "entropy": phonons.entropy,
        "omitted_modes": round(phonons.omitted, 6),
        "frequencies": phonons.frequencies.round(4).tolist(),
        "density_of_states": phonons.density.round(6).tolist(),
    }
