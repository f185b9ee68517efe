"""Facts about a candidate and a prediction, as names, values and sentences in plain text."""

from __future__ import annotations

import re
from math import isfinite
from typing import NamedTuple

from lcoms.core.numerals import percent
from lcoms.prediction.constraints import DALTON
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate
from lcoms.prediction.table import known_sentences, score_above
from lcoms.prediction.table import sentences as said_of
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import conventional, space_group_symbol

NO_VALUE = "-"
ORIGINS = {
    "prior": "a random sample of the latent space",
    "random": "a random crystal of this composition",
    "symmetric": "a random crystal of its space group, chosen by the surrogate",
    "given": "the given structure",
}


SOURCES = ((re.compile(r"(mp|mvc)-\d{1,9}"), "https://next-gen.materialsproject.org/materials/{}"),)


class Fact(NamedTuple):
    """A named value.

    Attributes:
        link: address of its source; empty for none.
    """

    name: str
    text: str
    link: str = ""


def source_address(crystal_id: str) -> str:
    """Return the address of a training crystal's description; empty if its source has no page for it."""
    return next((page.format(crystal_id) for ids, page in SOURCES if ids.fullmatch(crystal_id)), "")


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Return a number with its unit; a dash if there is none."""
    if value is None or not isfinite(value):
        return NO_VALUE
    return f"{value:z.{digits}f} {unit}".strip()


def group_name(space_group: int) -> str:
    """Return the symbol and number of a space group."""
    return f"{space_group_symbol(space_group)} ({space_group})"


def structure_facts(candidate: Candidate, cell: Crystal) -> tuple[Fact, ...]:
    """Return symmetry, lattice and density; `cell` is the conventional cell."""
    lengths, angles = parameters_from_lattice(cell.lattice)
    return (
        Fact("Space group", group_name(candidate.space_group)),
        Fact("a, b, c", ", ".join(f"{length:.3f}" for length in lengths) + " Å"),
        Fact("α, β, γ", ", ".join(f"{angle:.2f}" for angle in angles) + "°"),
        Fact("Cell volume", f"{cell.volume:.2f} Å³, {cell.volume / cell.n_atoms:.2f} Å³/atom"),
        Fact("Atoms in the cell", f"{cell.n_atoms} conventional, {candidate.crystal.n_atoms} primitive"),
        Fact("Density", number(density(cell), 2, "g/cm³")),
        Fact("Closest atoms", number(candidate.shortest_distance, 3, "Å")),
        Fact("Symmetry found at", number(candidate.symprec, 2, "Å") if candidate.symprec else "no symmetry found"),
    )


def density(crystal: Crystal) -> float:
    """Return the density in g/cm^3."""
    from ase.data import atomic_masses

    return float(atomic_masses[crystal.atomic_numbers].sum() / crystal.volume * DALTON)


def energy_facts(candidate: Candidate, prediction: Prediction) -> tuple[Fact, ...]:
    """Return the energies by the oracle, if the candidate was relaxed, and by the surrogate."""
    facts = []
    relaxed, relaxation, unit = candidate.relaxed, prediction.spec.relaxation, "eV/atom"
    if relaxed is not None and relaxation is not None:
        oracle = relaxation.oracle
        facts += [
            Fact("Relaxation", f"{relaxed.status}, {relaxed.n_steps} steps with {oracle}"),
            Fact(f"Formation energy, {oracle}", number(relaxed.formation_energy, 3, unit)),
            Fact(f"Total energy, {oracle}", number(relaxed.energy_per_atom - relaxed.pressure_volume, 3, unit)),
            Fact("Above the lowest candidate", number(candidate.energy_above_lowest, 3, unit)),
            Fact("Score above rank 1", number(score_above(candidate, prediction.candidates[0]), 3, unit)),
        ]
        if relaxed.pressure:
            enthalpy = number(relaxed.energy_per_atom, 3, unit)
            facts.append(Fact(f"Enthalpy at {relaxation.pressure:g} GPa", enthalpy))
    return (
        *facts,
        Fact("Surrogate, before descent", number(candidate.decoded.start_energy, 3, unit)),
        Fact("Surrogate, after descent", number(candidate.decoded.latent_energy, 3, unit)),
        Fact("Surrogate, decoded crystal", number(candidate.decoded.energy_per_atom, 3, unit)),
    )


def pattern_facts(candidate: Candidate) -> tuple[Fact, ...]:
    """Return how the candidate fits the user's powder pattern; empty if there is no pattern."""
    if candidate.pattern is None:
        return ()
    fit = candidate.pattern.fit
    lengths, angles = parameters_from_lattice(conventional(fit.crystal).lattice)
    facts = [
        Fact("Probability, if one candidate gave it", percent(candidate.pattern.probability)),
        Fact("Rwp", f"{fit.rwp:.3f}, {fit.rwp_net:.3f} without background"),
        Fact("Fitted a, b, c", ", ".join(f"{length:.3f}" for length in lengths) + " Å"),
        Fact("Fitted α, β, γ", ", ".join(f"{angle:.2f}" for angle in angles) + "°"),
        Fact("Volume change by the fit", f"{fit.scale_change:+.1%}"),
        Fact("Zero shift", number(fit.zero_shift, 3, "°")),
    ]
    if fit.texture_axis is not None:
        axis = " ".join(map(str, fit.texture_axis))
        facts.append(Fact("Preferred orientation", f"[{axis}], March-Dollase {fit.texture:.2f}"))
    if fit.unexplained:
        facts.append(Fact("Lines not explained", ", ".join(f"{peak.two_theta:.2f}°" for peak in fit.unexplained)))
    return tuple(facts)


def origin_facts(candidate: Candidate, overlap: TrainingOverlap | None, nearest: Overlap | None) -> tuple[Fact, ...]:
    """Return the origin of the candidate, and the nearest training crystal."""
    proposal, known = candidate.proposal, candidate.known
    template = ORIGINS.get(proposal.source, f"template {proposal.source}, {proposal.formula}")
    facts = []
    if known is not None:
        above = "" if known.e_above_hull is None else f", {known.e_above_hull:.3f} eV/atom above its hull"
        facts.append(Fact("Known crystal", f"{known.id}{above}", source_address(known.id)))
    facts += [
        Fact("Found", _times(candidate.n_found)),
        Fact("Origin" if candidate.decoded.is_exact else "Descent from", template, source_address(proposal.source)),
        Fact("Formula units of the template", str(proposal.n_formula_units)),
    ]
    if isfinite(proposal.distance):
        facts.append(Fact("Chemical distance of the template", f"{number(proposal.distance, 2)} (learned distance)"))
    facts.append(Fact("Prototype probability", f"{candidate.prototype_probability:.0%}"))
    facts.append(Fact("Latent distance after decoding", number(candidate.decoded.latent_distance, 2)))
    if overlap is not None and nearest is not None:
        facts += [
            Fact("Nearest training crystal", f"{nearest.nearest}, {nearest.formula}", source_address(nearest.nearest)),
            Fact("Latent distance to it", number(nearest.distance, 2)),
        ]
    return tuple(facts)


def nearness(overlap: TrainingOverlap | None, nearest: Overlap | None) -> str:
    """Return a sentence interpreting the latent distance to the nearest training crystal; empty if unknown."""
    if overlap is None or nearest is None:
        return ""
    half, most = f"{overlap.typical:.2f}", f"{overlap.far:.2f}"
    scale = f"half of the training crystals have a neighbor within {half}, and 19 of 20 within {most}"
    if nearest.distance <= overlap.typical:
        return f"Close to the training data: {scale}."
    if nearest.distance <= overlap.far:
        return f"As far from the training data as training crystals are from each other: {scale}."
    return f"Far from the training data: {scale}."


def summary(prediction: Prediction, overlap: TrainingOverlap | None) -> tuple[str, ...]:
    """Return sentences on the result and its reliability."""
    sentences = []
    if not prediction.candidates:
        return (f"None of {prediction.decoded.n_proposals} proposals gave a valid crystal.",)
    first = prediction.candidates[0]
    energy = f"predicted formation energy {number(first.decoded.energy_per_atom, 3)} eV/atom by the surrogate"
    relaxation = prediction.spec.relaxation
    if first.relaxed is not None and first.relaxed.formation_energy is not None and relaxation is not None:
        figure = number(first.relaxed.formation_energy, 3)
        energy = f"formation energy {figure} eV/atom after relaxation with {relaxation.oracle}"
    sentences.append(f"First of {len(prediction.candidates)}: {group_name(first.space_group)}, {energy}.")
    in_column = {one for one in known_sentences(prediction.candidates) if not one.startswith("Rank 1 ")}
    sentences += [one for one in said_of(prediction)[len(prediction.failures) :] if one not in in_column]
    formula = prediction.composition.reduced_formula
    sentences += [_doubt_sentence(one, formula) for one in prediction.doubts]
    if relaxation is None:
        sentences.append("No probability is stated for candidates that are not relaxed.")
    if overlap is not None:
        sentences.append(_overlap_sentence(prediction, overlap))
    return tuple(sentences)


def _doubt_sentence(doubt: str, formula: str) -> str:
    return f"{formula} {doubt.removeprefix('it ')}" if doubt.startswith("it ") else doubt[:1].upper() + doubt[1:]


def _overlap_sentence(prediction: Prediction, overlap: TrainingOverlap) -> str:
    formula = prediction.composition.reduced_formula
    if not overlap.n_same:
        return (
            f"The training data ({overlap.n_library} crystals) hold no crystal of {formula}{_named_type(prediction)}."
        )
    held = f"The training data hold {overlap.n_same} crystal{'s' if overlap.n_same > 1 else ''} of {formula} itself"
    if prediction.spec.search.exclude_same:
        return f"{held}; none was used as a template, but the weights were trained on them."
    return f"{held}, so this answer may be recalled rather than predicted."


def _named_type(prediction: Prediction) -> str:
    """Return the end of a sentence on a named structure type of this composition among the templates, otherwise ""."""
    formula = prediction.composition.reduced_formula
    for rank, candidate in enumerate(prediction.candidates, 1):
        for proposal in (candidate.proposal, *candidate.decoded.others):
            if proposal.formula == formula:
                return f"; rank {rank} comes from {proposal.source}, a structure type that is named after {formula}"
    return ""


def notes(prediction: Prediction) -> tuple[Fact, ...]:
    """Return how a prediction was made and what was discarded."""
    search, decoded = prediction.spec.search, prediction.decoded
    given = {one.proposal.source for one in prediction.candidates} == {"given"}
    return (
        Fact(
            "Descents",
            f"{decoded.n_proposals} ({'given structure' if given else search.start}), {search.steps} steps each, seed "
            f"{prediction.spec.seed}",
        ),
        Fact("Ranked by", _ranked_by(prediction)),
        Fact(
            "Dropped",
            f"{decoded.n_invalid} without a valid crystal, {decoded.n_too_close} with atoms too close, "
            f"{prediction.n_duplicates} duplicates",
        ),
        Fact("Weights", prediction.weights_digest),
    )


def _ranked_by(prediction: Prediction) -> str:
    """Return what determined the order of the candidates."""
    models = " and ".join(prediction.ranked_by) + (", mean" if len(prediction.ranked_by) > 1 else "")
    energy = "enthalpy" if prediction.spec.pressure else "energy"
    parts = [f"{energy} after relaxation ({models})" if models else "energy by the surrogate"]
    parts += [] if prediction.spec.pressure else ["prototype probability"]
    parts += ["fit to the powder pattern"] if any(one.pattern for one in prediction.candidates) else []
    return ", ".join(parts)


def _times(n_found: int) -> str:
    if not n_found:
        return "only by the random symmetric search"
    return "from one template or descent" if n_found == 1 else f"from {n_found} templates or descents"
