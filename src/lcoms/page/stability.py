"""Stability of a candidate: the phases that it decomposes into, and its phonons."""

from __future__ import annotations

from lcoms.oracles.hull import KNOWN_PHASES, HullPlace, Part
from lcoms.page.facts import Fact, number, source_address
from lcoms.phonons.harmonic import MOST_OMITTED, Phonons
from lcoms.prediction.stages import Candidate
from lcoms.prediction.table import HULL_UNCERTAINTY

MEV = 1000.0  # meV per eV


def stability_facts(candidate: Candidate) -> tuple[Fact, ...]:
    """Return thermodynamic stability if there is a hull, and dynamical stability if phonons were computed."""
    hull = () if candidate.hull is None else _hull_facts(candidate.hull)
    return (*hull, *(() if candidate.phonons is None else _phonon_facts(candidate.phonons)))


def _hull_facts(place: HullPlace) -> tuple[Fact, ...]:
    """Return the energy above the hull and the phases there, each with its fraction of the atoms and its source."""
    spread = "" if place.spread is None else f" ± {place.spread:.3f}"
    of = "" if place.phases == KNOWN_PHASES else f", of {place.phases}"
    name = "Decomposes into" if place.e_above_hull >= HULL_UNCERTAINTY else "Competing phases"
    name = "Lies on the hull with" if abs(place.e_above_hull) < HULL_UNCERTAINTY else name
    return (
        Fact("Energy above the hull", f"{place.e_above_hull:z.3f}{spread} eV/atom{of}"),
        *(Fact(name, _phase(part), source_address(part.id)) for part in place.decomposition),
    )


def _phase(part: Part) -> str:
    source = f" ({part.id})" if part.id else ""
    return f"{part.formula}{source}, {part.share:.0%} of the atoms"


def _phonon_facts(phonons: Phonons) -> tuple[Fact, ...]:
    soft, temperature = len(phonons.soft), f"{phonons.temperature:g} K"
    unstable = f"unstable, {soft} soft mode{'s' if soft > 1 else ''}"
    facts = [
        Fact("Dynamical stability", "stable" if phonons.stable else unstable),
        *(Fact("Soft mode", mode.name) for mode in phonons.soft),
        Fact("Lowest phonon frequency", f"{abs(phonons.lowest):.2f}{'i' if phonons.lowest < 0 else ''} THz"),
        Fact("Supercell of the phonons", " × ".join(map(str, phonons.repeats)) + " conventional cells"),
    ]
    if phonons.free_energy is not None:
        facts.append(Fact(f"Harmonic free energy at {temperature}", number(phonons.free_energy, 3, "eV/atom")))
    if phonons.zero_point is not None:
        facts.append(Fact("Zero-point energy", number(phonons.zero_point, 3, "eV/atom")))
    if phonons.entropy is not None:
        facts.append(Fact(f"Vibrational entropy at {temperature}", number(phonons.entropy * MEV, 3, "meV/K/atom")))
    if phonons.free_energy is not None and phonons.omitted > MOST_OMITTED:
        facts.append(Fact("Modes omitted from these", f"{phonons.omitted:.1%}: do not trust them"))
    return tuple(facts)
