"""What the page shows of a prediction: plain texts and numbers, one record for each thing.

Nothing here is HTML; the templates escape every text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple

from lcoms.diffraction.simulate import Line, powder_pattern
from lcoms.page.bonds import Bond, BondKind, bond_table, find_bonds
from lcoms.page.facts import (
    NO_VALUE,
    Fact,
    energy_facts,
    group_name,
    nearness,
    notes,
    origin_facts,
    structure_facts,
    summary,
)
from lcoms.page.fitted import FittedView, fitted_view
from lcoms.prediction.output import CIF_SYMPREC
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate, Relaxed
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS, covalent_radius
from lcoms.structure.io import to_cif, to_poscar
from lcoms.structure.symmetry import conventional

STRONGEST = 12  # lines of the pattern that are listed


class Column(NamedTuple):
    """A column of the ranked table.

    Attributes:
        unit: shown under the heading.
        value: what the column is sorted by; None stands last.
        text: what is shown.
        minor: left out on narrow screens.
        kind: how it is set.
    """

    heading: str
    unit: str
    value: Callable[[Candidate], float | str | None]
    text: Callable[[Candidate], str]
    minor: bool = False
    kind: Literal["number", "text", "group"] = "text"


class TableCell(NamedTuple):
    """What stands in the table, and what it is sorted by; an empty value stands last."""

    text: str
    value: str
    kind: Literal["number", "text", "group"]
    minor: bool


@dataclass(frozen=True)
class CandidateView:
    """All that is shown of one candidate; `drawing` is what the scripts need, ready for JSON."""

    rank: int
    anchor: str
    space_group: str
    cells: tuple[TableCell, ...]
    structure: tuple[Fact, ...]
    energies: tuple[Fact, ...]
    origin: tuple[Fact, ...]
    nearness: str
    elements: tuple[str, ...]
    bonds: tuple[BondKind, ...]
    strongest: tuple[Line, ...]
    fitted: FittedView | None
    drawing: dict[str, Any]


@dataclass(frozen=True)
class FormulaView:
    """All that is shown of one prediction.

    Attributes:
        parts: the formula as pairs of a symbol and its count, for subscripts.
        summary: sentences about the answer as a whole.
        notes: how it was made.
    """

    formula: str
    parts: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    candidates: tuple[CandidateView, ...]
    probability: str
    summary: tuple[str, ...]
    failures: tuple[str, ...]
    notes: tuple[Fact, ...]


def formula_view(prediction: Prediction, overlap: TrainingOverlap | None = None) -> FormulaView:
    """A prediction as the page shows it.

    Args:
        overlap: how near its candidates come to the training data, in their order.
    """
    columns = table_columns(prediction)
    near = [None] * len(prediction.candidates) if overlap is None else overlap.crystals
    formula = prediction.composition.reduced_formula
    return FormulaView(
        formula=formula,
        parts=tuple(re.findall(r"([A-Z][a-z]?)(\d*)", formula)),
        columns=columns,
        candidates=tuple(
            _candidate_view(rank, candidate, prediction, columns, overlap, nearest)
            for rank, (candidate, nearest) in enumerate(zip(prediction.candidates, near, strict=True), 1)
        ),
        probability=NO_VALUE if prediction.probability is None else f"{prediction.probability:.0%}",
        summary=summary(prediction, overlap),
        failures=prediction.failures,
        notes=notes(prediction),
    )


def _candidate_view(
    rank: int,
    candidate: Candidate,
    prediction: Prediction,
    columns: tuple[Column, ...],
    overlap: TrainingOverlap | None,
    nearest: Overlap | None,
) -> CandidateView:
    cell = conventional(candidate.crystal)
    bonds, lines = find_bonds(cell), powder_pattern(cell)
    formula = prediction.composition.reduced_formula
    return CandidateView(
        rank=rank,
        anchor=f"{formula}/{rank}",
        space_group=group_name(candidate.space_group),
        cells=tuple(_table_cell(column, candidate) for column in columns),
        structure=structure_facts(candidate, cell),
        energies=energy_facts(candidate, prediction),
        origin=origin_facts(candidate, overlap, nearest),
        nearness=nearness(overlap, nearest),
        elements=tuple(SYMBOLS[z] for z in cell.composition.atomic_numbers),
        bonds=tuple(bond_table(cell, bonds)),
        strongest=tuple(sorted(lines, key=lambda line: -line.intensity)[:STRONGEST]),
        fitted=None if candidate.pattern is None else fitted_view(candidate.pattern, rank),
        drawing={
            "name": f"{formula}-rank-{rank:02d}",
            "cif": to_cif(cell, symprec=CIF_SYMPREC),
            "poscar": to_poscar(cell),
            "cell": _drawn_cell(cell, bonds),
            "descent": _finite(candidate.decoded.descent_energies),
            "relaxation": _finite(candidate.relaxed.energies if candidate.relaxed else ()),
            "pattern": [[round(x.two_theta, 3), round(x.intensity, 2), x.planes] for x in lines],
        },
    )


def _drawn_cell(cell: Crystal, bonds: list[Bond]) -> dict[str, Any]:
    """Lattice, atoms and bonds, a bond as the two atoms and the lattice vectors that the second is shifted by."""
    return {
        "lattice": cell.lattice.round(5).tolist(),
        "symbols": [SYMBOLS[z] for z in cell.atomic_numbers],
        "radii": {SYMBOLS[z]: covalent_radius(z) for z in cell.composition.atomic_numbers},
        "frac": cell.frac_coords.round(5).tolist(),
        "bonds": [[bond.first, bond.second, *bond.image] for bond in bonds],
    }


def _finite(energies: tuple[float, ...]) -> list[float | None]:
    return [round(energy, 5) if isfinite(energy) else None for energy in energies]


def table_columns(prediction: Prediction) -> tuple[Column, ...]:
    """What decides the order first; columns without any value are left out.

    Total energies are shown only where the oracle has no references for formation energies.
    """
    relaxed = prediction.spec.relaxation is not None
    total = _relaxed("Total", lambda r: r.energy_per_atom if r.formation_energy is None else None)
    columns = (
        _relaxed("E form", lambda r: r.formation_energy),
        total,
        _figure("Above lowest", "eV/atom", lambda c: c.energy_above_lowest, 3),
        _figure("Above hull", "eV/atom", lambda c: c.e_above_hull, 3),
        _figure("Prototype probability", "", lambda c: c.prototype_probability, 2),
        Column("Space group", "", lambda c: c.space_group, lambda c: group_name(c.space_group), kind="group"),
        _figure("Volume", "Å³/atom", lambda c: c.crystal.volume / c.crystal.n_atoms, 2, minor=True),
        _figure("Surrogate", "eV/atom", lambda c: c.decoded.energy_per_atom, 3, minor=relaxed),
        _figure("Found", "times", lambda c: c.n_found, 0, minor=True),
        Column("From", "", _source, _source, minor=True),
    )
    return tuple(
        column for column in columns if any(column.text(candidate) != NO_VALUE for candidate in prediction.candidates)
    )


def _figure(
    heading: str, unit: str, value: Callable[[Candidate], float | None], digits: int, *, minor: bool = False
) -> Column:
    def text(candidate: Candidate) -> str:
        figure = value(candidate)
        return NO_VALUE if figure is None or not isfinite(figure) else f"{figure:.{digits}f}"

    return Column(heading, unit, value, text, minor, "number")


def _source(candidate: Candidate) -> str:
    return candidate.proposal.formula or candidate.proposal.source


def _relaxed(heading: str, value: Callable[[Relaxed], float | None], *, minor: bool = False) -> Column:
    def figure(candidate: Candidate) -> float | None:
        return None if candidate.relaxed is None else value(candidate.relaxed)

    return _figure(heading, "eV/atom", figure, 3, minor=minor)


def _table_cell(column: Column, candidate: Candidate) -> TableCell:
    value = column.value(candidate)
    known = value is not None and (isinstance(value, str) or isfinite(value))
    return TableCell(column.text(candidate), str(value) if known else "", column.kind, column.minor)
