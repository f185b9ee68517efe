"""Content of the page for a prediction: plain texts and numbers, in typed records.

Nothing here is HTML; the templates escape every text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lcoms.core.numerals import percent
from lcoms.diffraction.simulate import Line, powder_pattern
from lcoms.page.bonds import BondKind, bond_table, find_bonds
from lcoms.page.columns import Column, TableCell, table_cell, table_columns
from lcoms.page.drawing import drawing
from lcoms.page.facts import (
    NO_VALUE,
    Fact,
    energy_facts,
    group_name,
    nearness,
    notes,
    origin_facts,
    pattern_facts,
    structure_facts,
    summary,
)
from lcoms.page.sites import Site, occupied_sites
from lcoms.page.stability import stability_facts
from lcoms.prediction.output import cif_text
from lcoms.prediction.overlap import Overlap, TrainingOverlap
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.symmetry import conventional

STRONGEST = 12  # lines of the pattern that are listed


@dataclass(frozen=True)
class CandidateView:
    """Everything shown for one candidate; `drawing` is the data for the scripts, ready for JSON."""

    rank: int
    anchor: str
    space_group: str
    cells: tuple[TableCell, ...]
    structure: tuple[Fact, ...]
    energies: tuple[Fact, ...]
    stability: tuple[Fact, ...]
    origin: tuple[Fact, ...]
    nearness: str
    elements: tuple[str, ...]
    sites: tuple[Site, ...]
    bonds: tuple[BondKind, ...]
    pattern: tuple[Fact, ...]
    strongest: tuple[Line, ...]
    drawing: dict[str, Any]


@dataclass(frozen=True)
class FormulaView:
    """Everything shown for one prediction.

    Attributes:
        parts: the formula as pairs of a symbol and its count, for subscripts.
        summary: sentences about the result as a whole.
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
    """Return the content of the page for a prediction.

    Args:
        overlap: proximity of its candidates to the training data, in their order.
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
        probability=NO_VALUE if prediction.probability is None else percent(prediction.probability),
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
        cells=tuple(table_cell(column, candidate) for column in columns),
        structure=structure_facts(candidate, cell),
        energies=energy_facts(candidate, prediction),
        stability=stability_facts(candidate),
        origin=origin_facts(candidate, overlap, nearest),
        nearness=nearness(overlap, nearest),
        elements=tuple(SYMBOLS[z] for z in cell.composition.atomic_numbers),
        sites=occupied_sites(cell),
        bonds=tuple(bond_table(cell, bonds)),
        pattern=pattern_facts(candidate),
        strongest=tuple(sorted(lines, key=lambda line: -line.intensity)[:STRONGEST]),
        drawing=drawing(
            f"{formula}-rank-{rank:02d}", candidate, cell, bonds, lines, cif=cif_text(rank, candidate, prediction.made)
        ),
    )
