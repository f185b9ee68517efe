"""What is said about a candidate and a prediction, in names, figures and sentences of plain text."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

from lcoms.prediction.candidate import Candidate
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.pipeline import Prediction
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import space_group_symbol

NO_VALUE = "-"
DALTON = 1.66053907  # g/cm^3 in a dalton per cubic angstrom
ORIGINS = {
    "prior": "a random sample of the latent space",
    "random": "a random crystal of this composition",
    "symmetric": "a random crystal of its space group, chosen by the surrogate",
    "given": "the structure that was given",
}


class Fact(NamedTuple):
    """A named figure."""

    name: str
    text: str


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A figure with its unit; a dash where there is none."""
    if value is None or not isfinite(value):
        return NO_VALUE
    return f"{value:.{digits}f} {unit}".strip()


def group_name(space_group: int) -> str:
    """Symbol and number of a space group."""
    return f"{space_group_symbol(space_group)} ({space_group})"


def structure_facts(candidate: Candidate, cell: Crystal) -> tuple[Fact, ...]:
    """Symmetry, lattice and density; `cell` is the conventional cell."""
    lengths, angles = parameters_from_lattice(cell.lattice)
    return (
        Fact("Space group", group_name(candidate.space_group)),
        Fact("a, b, c", ", ".join(f"{length:.3f}" for length in lengths) + " Å"),
        Fact("α, β, γ", ", ".join(f"{angle:.2f}" for angle in angles) + "°"),
        Fact("Cell volume", number(cell.volume, 2, "Å³")),
        Fact("Atoms in the cell", f"{cell.n_atoms} conventional, {candidate.crystal.n_atoms} primitive"),
        Fact("Density", number(density(cell), 2, "g/cm³")),
        Fact("Closest atoms", number(candidate.shortest_distance, 3, "Å")),
        Fact("Symmetry found at", number(candidate.symprec, 2, "Å") if candidate.symprec else "no symmetry found"),
    )


def density(crystal: Crystal) -> float:
    """In g/cm^3."""
    from ase.data import atomic_masses

    return float(atomic_masses[crystal.atomic_numbers].sum() / crystal.volume * DALTON)


def energy_facts(candidate: Candidate, prediction: Prediction) -> tuple[Fact, ...]:
    """Energies by the oracle, where it was asked, and by the surrogate."""
    facts = []
    relaxation, unit = candidate.relaxation, "eV/atom"
    if relaxation is not None and prediction.refined is not None:
        oracle = prediction.refined.oracle
        facts += [
            Fact("Relaxation", f"{relaxation.status}, {relaxation.n_steps} steps with {oracle}"),
            Fact(f"Formation energy, {oracle}", number(relaxation.formation_energy, 3, unit)),
            Fact(f"Total energy, {oracle}", number(relaxation.energy_per_atom, 3, unit)),
            Fact("Above the lowest candidate", number(relaxation.energy_above_lowest, 3, unit)),
        ]
        if relaxation.e_above_hull is not None:
            facts.append(Fact("Above the hull", number(relaxation.e_above_hull, 3, unit)))
    return (
        *facts,
        Fact("Surrogate, at the start", number(candidate.start_energy, 3, unit)),
        Fact("Surrogate, after descent", number(candidate.latent_energy, 3, unit)),
        Fact("Surrogate, decoded crystal", number(candidate.energy_per_atom, 3, unit)),
    )


def origin_facts(candidate: Candidate, overlap: TrainingOverlap | None, nearest: Overlap | None) -> tuple[Fact, ...]:
    """Where the start came from, and what the training data hold near the crystal."""
    start = candidate.start
    facts = [
        Fact("Times found", _times(candidate.count)),
        Fact("Start", ORIGINS.get(start.source, f"training crystal {start.source}, {start.formula}")),
        Fact("Formula units of the start", str(start.n_formula_units)),
    ]
    if isfinite(start.distance):
        facts.append(Fact("Chemical distance of the start", f"{number(start.distance, 1)} Mendeleev numbers"))
    facts.append(Fact("Latent lost in decoding", number(candidate.latent_distance, 2)))
    if overlap is not None and nearest is not None:
        facts += [
            Fact("Nearest training crystal", f"{nearest.nearest}, {nearest.formula}"),
            Fact("Latent distance to it", number(nearest.distance, 2)),
        ]
    return tuple(facts)


def nearness(overlap: TrainingOverlap | None, nearest: Overlap | None) -> str:
    """What the latent distance to the nearest training crystal means; empty where it is not known."""
    if overlap is None or nearest is None:
        return ""
    half, most = f"{overlap.typical:.2f}", f"{overlap.far:.2f}"
    scale = f"half of the training crystals have a neighbour within {half}, and 19 of 20 within {most}"
    if nearest.distance <= overlap.typical:
        return f"Close to the training data: {scale}."
    if nearest.distance <= overlap.far:
        return f"As far from the training data as training crystals are from each other: {scale}."
    return f"Far from the training data: {scale}."


def summary(prediction: Prediction, overlap: TrainingOverlap | None) -> tuple[str, ...]:
    """The answer in sentences, with how far to trust it."""
    sentences = []
    if not prediction.candidates:
        return (f"No valid crystal came out of {prediction.n_starts} starts.",)
    first = prediction.candidates[0]
    energy = f"predicted formation energy {number(first.energy_per_atom, 3)} eV/atom by the surrogate"
    if first.relaxation is not None and first.relaxation.formation_energy is not None and prediction.refined:
        figure = number(first.relaxation.formation_energy, 3)
        energy = f"formation energy {figure} eV/atom after relaxation with {prediction.refined.oracle}"
    sentences.append(f"First of {len(prediction.candidates)}: {group_name(first.space_group)}, {energy}.")
    if prediction.confidence is not None:
        sentences.append(f"Rank 1 is the known ground state with a probability of {prediction.confidence:.0%}.")
    else:
        sentences.append(
            "No probability is stated for this answer: none was fitted for these weights and this ranking."
        )
    if overlap is not None:
        sentences.append(_overlap_sentence(prediction, overlap))
    return tuple(sentences)


def _overlap_sentence(prediction: Prediction, overlap: TrainingOverlap) -> str:
    formula = prediction.composition.reduced_formula
    if not overlap.n_same:
        return f"The training data ({overlap.n_library} crystals) hold no crystal of {formula}."
    held = f"The training data hold {overlap.n_same} crystal{'s' if overlap.n_same > 1 else ''} of {formula} itself"
    if prediction.config.exclude_same:
        return f"{held}; none was taken as a start, but the weights were trained on them."
    return f"{held}, so this answer may be remembered rather than found."


def notes(prediction: Prediction) -> tuple[Fact, ...]:
    """How a prediction was made and what was dropped on the way."""
    config, refined = prediction.config, prediction.refined
    ranked = "by the surrogate's score" if refined is None else f"by {refined.oracle} after relaxation"
    return (
        Fact("Starts", f"{prediction.n_starts} ({config.start}), {config.steps} steps of descent, seed {config.seed}"),
        Fact("Ranked", ranked),
        Fact(
            "Dropped",
            f"{prediction.n_invalid} without a valid crystal, {prediction.n_too_close} with atoms too close, "
            f"{prediction.n_duplicates} duplicates",
        ),
        Fact("Weights", prediction.weights_digest),
    )


def _times(count: int) -> str:
    if not count:
        return "by no start, by exploring alone"
    return f"by {count} start{'s' if count > 1 else ''}"
