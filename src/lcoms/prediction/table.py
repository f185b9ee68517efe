"""The table of a prediction in the terminal, and the sentences below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple

from lcoms.core.numerals import percent
from lcoms.prediction.by_pattern import pattern_sentence
from lcoms.prediction.pressure import pressure_sentences
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate, Known
from lcoms.prediction.vibrations import phonon_sentences
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import conventional, space_group_symbol

if TYPE_CHECKING:
    from rich.table import Table

FIRST_MONOCLINIC = 3
KNOWN_IN_FULL = 3  # known crystals among the candidates with a sentence of their own
WORTH_SAYING = 0.05  # probability of untried cells above which it is reported
FIRST_ORTHORHOMBIC = 16
HULL_UNCERTAINTY = 0.005  # eV/atom; uncertainty from the relaxation of the phases


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        keep: columns with the lowest value are dropped first if the terminal is narrow.
        text: its text for a candidate, given the first one.
    """

    heading: str
    justify: Literal["left", "right"]
    keep: int
    text: Callable[[Candidate, Candidate], str]


SPACE_GROUP = Column("space group", "left", 9, lambda c, _: f"{space_group_symbol(c.space_group)} ({c.space_group})")
CELL = Column("cell, angstrom", "left", 4, lambda c, _: _cell_text(c))
PROTOTYPE = Column("prototype", "right", 5, lambda c, _: f"{c.prototype_probability:.0%}")
SCORE = Column("score", "right", 6, lambda c, first: _score_text(c, first))
RWP = Column("Rwp", "right", 8, lambda c, _: "" if c.pattern is None else f"{c.pattern.fit.rwp:.3f}")
MATCHED = Column("probability", "right", 8, lambda c, _: "" if c.pattern is None else percent(c.pattern.probability))
STATED = Column("probability", "right", 8, lambda c, _: "" if c.probability is None else percent(c.probability))
KNOWN = Column("known as", "left", 3, lambda c, _: "" if c.known is None else c.known.id)
DECODED = (
    Column("eV/atom", "right", 8, lambda c, _: f"{c.decoded.energy_per_atom:z.3f}"),
    SCORE,
    SPACE_GROUP,
    CELL,
    Column("closest", "right", 1, lambda c, _: f"{c.shortest_distance:.2f}"),
    PROTOTYPE,
    Column("from", "left", 2, lambda c, _: c.proposal.formula or c.proposal.source),
    KNOWN,
)
RELAXED = (
    Column("E form", "right", 8, lambda c, _: _formation_text(c)),
    Column("above", "right", 7, lambda c, _: _above_text(c)),
    SCORE,
    STATED,
    SPACE_GROUP,
    CELL,
    PROTOTYPE,
    KNOWN,
    Column("surrogate", "right", 1, lambda c, _: f"{c.decoded.energy_per_atom:z.3f}"),
)
ENTHALPY = Column("H", "right", 8, lambda c, _: _enthalpy_text(c))
HULL = Column("hull", "right", 7, lambda c, _: _hull_text(c))


def table(prediction: Prediction, width: int = 80) -> Table:
    """Return the candidates, best first: energies, score above the first, space group, cell, prototype probability.

    Args:
        width: of the terminal; the least important columns are left out if it is too narrow.
    """
    from rich import box
    from rich.table import Table

    rows = Table(
        title=prediction.composition.reduced_formula,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    columns, cells = _fitting(prediction, width)
    rows.add_column("", justify="right", min_width=2, no_wrap=True)
    for column in columns:
        rows.add_column(column.heading, justify=column.justify, no_wrap=True)
    for rank, texts in enumerate(zip(*cells, strict=True), 1):
        rows.add_row(str(rank), *texts)
    return rows


def headings(prediction: Prediction, width: int) -> frozenset[str]:
    """Return the headings of the columns that the table has in a terminal of this width."""
    return frozenset(column.heading for column in _fitting(prediction, width)[0])


def _fitting(prediction: Prediction, width: int) -> tuple[list[Column], list[list[str]]]:
    """Return the columns that fit, and the texts in each; columns without any text are left out."""
    candidates = prediction.candidates
    every = list(DECODED if prediction.spec.relaxation is None else RELAXED)
    if prediction.spec.pressure:
        every[0] = ENTHALPY
    if any(c.e_above_hull is not None for c in candidates):
        every.insert(2, HULL)
    every[-1:-1] = [RWP, MATCHED]
    texts = [[column.text(candidate, candidates[0]) for candidate in candidates] for column in every]
    kept = [(column, text) for column, text in zip(every, texts, strict=True) if any(text)]
    while len(kept) > 1 and _width(kept) > width:
        kept.remove(min(kept, key=lambda pair: pair[0].keep))
    return [column for column, _ in kept], [text for _, text in kept]


def _width(columns: Sequence[tuple[Column, list[str]]]) -> int:
    """Return the width in characters of a table with these columns and that of the rank."""
    return 3 + sum(3 + max(len(text) for text in (column.heading, *texts)) for column, texts in columns)


def sentences(prediction: Prediction) -> list[str]:
    """Return the remarks below the table, one sentence each."""
    said = [*(f"Not ranked: {failure}" for failure in prediction.failures), *prediction.left_out]
    n = sum(c.relaxed is None for c in prediction.candidates)
    if 0 < n < len(prediction.candidates):
        said.append(f"{n} candidate{'s were' if n > 1 else ' was'} not relaxed; raise --n-relax to relax more.")
    said += known_sentences(prediction.candidates)
    if n := prediction.decoded.known_passed_over:
        were = "more known crystal was" if n == 1 else "more known crystals were"
        said.append(f"{n} {were} not relaxed: too high above the hull, too large or too many.")
    if n := prediction.decoded.known_of_other_sizes:
        were = "known crystal of this formula has" if n == 1 else "known crystals of this formula have"
        said.append(f"{n} {were} another number of formula units and {'was' if n == 1 else 'were'} not tried.")
    if prediction.candidates and (sentence := _hull_sentence(prediction.candidates[0])):
        said.append(sentence)
    said += [*phonon_sentences(prediction.candidates), *prediction.no_phonons]
    if prediction.spec.pressure:
        said += pressure_sentences(prediction.candidates, prediction.spec.pressure)
    wanted, n = prediction.spec.search.random_symmetric, len(prediction.decoded.random_symmetric)
    if n < wanted.n:
        few = f"Only {n} of {wanted.n} random symmetric crystals were generated"
        said.append(f"{few}: cells have at most {wanted.max_atoms} atoms, and short distances are rejected.")
    share, larger = prediction.decoded.left_out
    if share >= WORTH_SAYING:
        said.append(
            f"Cells too large to be tried, such as one of {larger} atoms, have a probability of {share:.0%}; raise the "
            f"limit with --max-atoms {larger}."
        )
    first = prediction.candidates[0] if prediction.candidates else None
    if first is not None and first.pattern is not None:
        probability = _in_words(first.pattern.probability)
        said.append(f"Rank 1 gave the pattern with a probability of {probability}, if one of the candidates did.")
        said += [sentence] if (sentence := pattern_sentence(prediction.candidates)) else []
    if first is not None and (first.known is not None or first.pattern is not None):
        return said
    if prediction.probability is not None:
        probability = _in_words(prediction.probability)
        said.append(f"Rank 1 is the known ground state with a probability of {probability}.")
        largest = prediction.calibrated_atoms
        if first is not None and largest is not None and first.crystal.n_atoms > largest:
            said.append(f"This is uncertain: it was calibrated on cells of up to {largest} atoms.")
    elif prediction.spec.relaxation is not None and not prediction.spec.pressure:
        said.append("No probability is stated: it has not been calibrated for these options and energy models.")
    return said


def _in_words(probability: float) -> str:
    return percent(probability).replace(">", "more than ")


def score_above(candidate: Candidate, first: Candidate) -> float | None:
    """Return the score above that of the first candidate, eV/atom; None if only one of the two was relaxed.

    Energies before and after relaxation are by different models.
    """
    return candidate.score - first.score if candidate.is_relaxed == first.is_relaxed else None


def known_sentences(candidates: Sequence[Candidate]) -> list[str]:
    """Return a sentence on each of the first known crystals among the candidates, and one on all others together."""
    found = [(rank, one.known) for rank, one in enumerate(candidates, 1) if one.known is not None]
    said = [_known_sentence(rank, known) for rank, known in found[:KNOWN_IN_FULL]]
    if more := [f"rank {rank} ({known.id})" for rank, known in found[KNOWN_IN_FULL:]]:
        are = "is a known crystal" if len(more) == 1 else "are known crystals"
        said.append(f"{len(more)} more {are}: {', '.join(more)}.")
    return said


def _known_sentence(rank: int, known: Known) -> str:
    height = known.e_above_hull
    above = "" if height is None else f", {height:.3f} eV/atom above the hull in its source"
    return f"Rank {rank} is the known crystal {known.id}{above}."


def _formation_text(candidate: Candidate) -> str:
    """Return the formation energy by the relaxing model, or, marked, the total energy if a reference is missing."""
    relaxed = candidate.relaxed
    if relaxed is None or not relaxed.usable:
        return "-"
    if relaxed.formation_energy is None:
        return f"{relaxed.energy_per_atom:z.3f}*"
    return f"{relaxed.formation_energy:z.3f}"


def _enthalpy_text(candidate: Candidate) -> str:
    relaxed = candidate.relaxed
    return "-" if relaxed is None or not relaxed.usable else f"{relaxed.energy_per_atom:z.3f}"


def _score_text(candidate: Candidate, first: Candidate) -> str:
    above = score_above(candidate, first)
    return "-" if above is None else f"{above:.3f}"


def _above_text(candidate: Candidate) -> str:
    return f"{candidate.energy_above_lowest:.3f}" if isfinite(candidate.energy_above_lowest) else "-"


def _hull_text(candidate: Candidate) -> str:
    if candidate.hull is None:
        return "-"
    spread = candidate.hull.spread
    return f"{candidate.hull.e_above_hull:z.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _hull_sentence(candidate: Candidate) -> str | None:
    """Return the sentence on what rank 1 decomposes into, or with which phase it competes."""
    place = candidate.hull
    if place is None:
        return None
    first, *others = place.decomposition
    if others:
        phases = (
            " + ".join(f"{part.share:.2f} {part.formula}" for part in place.decomposition) + " (shares of the atoms)"
        )
    else:
        phases = f"{first.formula} ({first.id})" if first.id else first.formula
    if abs(place.e_above_hull) < HULL_UNCERTAINTY:
        return f"Rank 1 lies on the hull of {place.phases}, within {abs(place.e_above_hull):.3f} eV/atom: {phases}."
    if place.e_above_hull > 0:
        return f"Rank 1 lies {place.e_above_hull:.3f} eV/atom above the hull of {place.phases}: {phases}."
    if candidate.known is not None and not others and first.id == candidate.known.id:
        lower = f"after relaxation its energy is {-place.e_above_hull:.3f} eV/atom lower than there"
        return f"Rank 1 lies on the hull of {place.phases}, of which it is one: {phases}; {lower}."
    below = f"Rank 1 lies {-place.e_above_hull:.3f} eV/atom below the hull of {place.phases}"
    return f"{below}: {phases}. None of them has this composition and an energy as low."


def _cell_text(candidate: Candidate) -> str:
    """Return the lengths, and the angles that the crystal system leaves free."""
    lengths, angles = parameters_from_lattice(conventional(candidate.crystal).lattice)
    text = " ".join(f"{length:.2f}" for length in lengths)
    if candidate.space_group < FIRST_MONOCLINIC:
        return text + " / " + " ".join(f"{angle:.0f}" for angle in angles)
    if candidate.space_group < FIRST_ORTHORHOMBIC:
        return text + f" / {angles[1]:.0f}"
    return text
