"""The columns of the ranked table of candidates."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Literal, NamedTuple

from lcoms.core.numerals import rounded
from lcoms.page.facts import NO_VALUE, group_name, source_address
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate, Relaxed
from lcoms.prediction.table import score_above


class Column(NamedTuple):
    """A column of the ranked table.

    Attributes:
        unit: shown under the heading.
        value: by which the column is sorted; None comes last.
        text: text that is shown.
        keep: if the table is too wide, columns with the lowest value are dropped first.
        kind: how it is typeset.
    """

    heading: str
    unit: str
    value: Callable[[Candidate], float | str | None]
    text: Callable[[Candidate], str]
    keep: int
    kind: Literal["number", "text", "group"] = "text"


class TableCell(NamedTuple):
    """Text of a table cell, and the value by which it is sorted; an empty value comes last.

    Attributes:
        link: address of the text's source; empty for none.
    """

    text: str
    value: str
    kind: Literal["number", "text", "group"]
    link: str = ""


def table_columns(prediction: Prediction) -> tuple[Column, ...]:
    """Return the columns, most decisive first; columns without any value are left out.

    Total energies are shown only if the oracle has no references for formation energies.
    """
    columns = (
        _probability("by pattern", lambda c: None if c.pattern is None else c.pattern.probability),
        _probability("ground state", lambda c: c.probability),
        _figure("Rwp", "", lambda c: None if c.pattern is None else c.pattern.fit.rwp, 3, keep=8),
        _relaxed("E form", lambda r: r.formation_energy, keep=9),
        _relaxed("Enthalpy", lambda r: r.energy_per_atom if r.pressure else None, keep=9),
        _relaxed(
            "Total", lambda r: None if r.formation_energy is not None or r.pressure else r.energy_per_atom, keep=9
        ),
        _figure("Above lowest", "eV/atom", lambda c: c.energy_above_lowest, 3, keep=7),
        _figure("Above hull", "eV/atom", lambda c: c.e_above_hull, 3, keep=8),
        _figure("Score", "eV/atom", lambda c: score_above(c, prediction.candidates[0]), 3, keep=7),
        Column("Space group", "", lambda c: c.space_group, lambda c: group_name(c.space_group), 10, kind="group"),
        _figure("Prototype", "probability", lambda c: c.prototype_probability, 2, keep=6),
        Column("Known as", "", _known, lambda c: _known(c) or NO_VALUE, 5),
        _figure("Volume", "Å³/atom", lambda c: c.crystal.volume / c.crystal.n_atoms, 2, keep=4),
        _figure(
            "Surrogate",
            "eV/atom",
            lambda c: c.decoded.energy_per_atom,
            3,
            keep=9 if prediction.spec.relaxation is None else 1,
        ),
        Column("Template", "", _source, _source, 3),
        _figure("Found", "times", lambda c: c.n_found, 0, keep=2),
    )
    return tuple(
        column for column in columns if any(column.text(candidate) != NO_VALUE for candidate in prediction.candidates)
    )


def table_cell(column: Column, candidate: Candidate) -> TableCell:
    """Return the cell of a column in the candidate's row."""
    value = column.value(candidate)
    known = value is not None and (isinstance(value, str) or isfinite(value))
    link = source_address(_known(candidate) or "") if column.value is _known else ""
    return TableCell(column.text(candidate), str(value) if known else "", column.kind, link)


def _figure(heading: str, unit: str, value: Callable[[Candidate], float | None], digits: int, *, keep: int) -> Column:
    def text(candidate: Candidate) -> str:
        figure = value(candidate)
        return NO_VALUE if figure is None or not isfinite(figure) else f"{figure:z.{digits}f}"

    return Column(heading, unit, value, text, keep, "number")


def _probability(of: str, value: Callable[[Candidate], float | None]) -> Column:
    def text(candidate: Candidate) -> str:
        probability = value(candidate)
        return NO_VALUE if probability is None else rounded(probability, "{:.2f}", ">0.99")

    return Column("Probability", of, value, text, 9, "number")


def _source(candidate: Candidate) -> str:
    return candidate.proposal.formula or candidate.proposal.source


def _known(candidate: Candidate) -> str | None:
    return None if candidate.known is None else candidate.known.id


def _relaxed(heading: str, value: Callable[[Relaxed], float | None], *, keep: int) -> Column:
    def figure(candidate: Candidate) -> float | None:
        return None if candidate.relaxed is None else value(candidate.relaxed)

    return _figure(heading, "eV/atom", figure, 3, keep=keep)
