"""The table of a prediction, as the terminal shows it, and the sentences below it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Literal

from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import conventional, space_group_symbol

if TYPE_CHECKING:
    from rich.table import Table

FIRST_MONOCLINIC = 3
WORTH_SAYING = 0.05  # probability of cells that were not tried
FIRST_ORTHORHOMBIC = 16

Column = tuple[str, Literal["left", "right"], int, Callable[[Candidate], str]]
"""Heading, justification, width, and what stands in it."""
SHARED: tuple[Column, ...] = (
    ("space group", "left", 13, lambda c: f"{space_group_symbol(c.space_group)} ({c.space_group})"),
    ("cell, angstrom", "left", 22, lambda c: _cell_text(c)),
)
DECODED: tuple[Column, ...] = (
    ("eV/atom", "right", 7, lambda c: f"{c.decoded.energy_per_atom:.3f}"),
    *SHARED,
    ("closest", "right", 7, lambda c: f"{c.shortest_distance:.2f}"),
    ("prototype", "right", 9, lambda c: f"{c.prototype_probability:.0%}"),
    ("from", "left", 5, lambda c: c.proposal.formula or c.proposal.source),
)
RELAXED: tuple[Column, ...] = (
    ("E form", "right", 7, lambda c: _formation_text(c)),
    ("above", "right", 6, lambda c: _above_text(c)),
    *SHARED,
    ("surrogate", "right", 9, lambda c: f"{c.decoded.energy_per_atom:.3f}"),
    ("prototype", "right", 9, lambda c: f"{c.prototype_probability:.0%}"),
)
HULL: Column = ("hull", "right", 9, lambda c: _hull_text(c))


def table(prediction: Prediction) -> Table:
    """Rank, energies, space group, cell and prototype probability; shortest distance and origin if not relaxed."""
    from rich import box
    from rich.table import Table

    rows = Table(
        title=prediction.composition.reduced_formula,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    columns = DECODED if prediction.spec.relaxation is None else RELAXED
    if any(c.e_above_hull is not None for c in prediction.candidates):
        columns = tuple(HULL if column[0] == "surrogate" else column for column in columns)
    rows.add_column("", justify="right", min_width=2, no_wrap=True)
    for name, justify, width, _ in columns:
        rows.add_column(name, justify=justify, min_width=width, no_wrap=True)
    for rank, candidate in enumerate(prediction.candidates, 1):
        rows.add_row(str(rank), *(text(candidate) for *_, text in columns))
    return rows


def sentences(prediction: Prediction) -> list[str]:
    """What is said below the table, one sentence each."""
    said = [f"Not ranked: {failure}" for failure in prediction.failures]
    said += [_known_sentence(rank, c) for rank, c in enumerate(prediction.candidates, 1) if c.known is not None][:3]
    share, larger = prediction.decoded.left_out
    if share >= WORTH_SAYING:
        said.append(
            f"Similar compounds have cells of {larger} atoms and others too large to be tried, with a probability of "
            f"{share:.0%}; --max-atoms {larger} tries them."
        )
    if prediction.candidates and prediction.candidates[0].known is not None:
        return said
    if prediction.probability is not None:
        said.append(f"Rank 1 is the known ground state with a probability of {prediction.probability:.0%}.")
    elif prediction.spec.relaxation is not None:
        said.append("No probability is stated: none was fitted for these options and energy models.")
    return said


def _known_sentence(rank: int, candidate: Candidate) -> str:
    assert candidate.known is not None
    height = candidate.known.e_above_hull
    above = "" if height is None else f", {height:.3f} eV/atom above the hull in its source"
    return f"Rank {rank} is the known crystal {candidate.known.id}{above}."


def _formation_text(candidate: Candidate) -> str:
    """Formation energy by the model that relaxed; its total energy, marked, where a reference element is missing."""
    relaxed = candidate.relaxed
    if relaxed is None or not relaxed.usable:
        return "-"
    if relaxed.formation_energy is None:
        return f"{relaxed.energy_per_atom:.3f}*"
    return f"{relaxed.formation_energy:.3f}"


def _above_text(candidate: Candidate) -> str:
    return f"{candidate.energy_above_lowest:.3f}" if isfinite(candidate.energy_above_lowest) else "-"


def _hull_text(candidate: Candidate) -> str:
    return "-" if candidate.e_above_hull is None else f"{candidate.e_above_hull:.3f}"


def _cell_text(candidate: Candidate) -> str:
    """Lengths, and the angles that the crystal system leaves free."""
    lengths, angles = parameters_from_lattice(conventional(candidate.crystal).lattice)
    text = " ".join(f"{length:.2f}" for length in lengths)
    if candidate.space_group < FIRST_MONOCLINIC:
        return text + " / " + " ".join(f"{angle:.0f}" for angle in angles)
    if candidate.space_group < FIRST_ORTHORHOMBIC:
        return text + f" / {angles[1]:.0f}"
    return text
