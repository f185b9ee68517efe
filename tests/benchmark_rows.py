"""Synthetic benchmark rows, for tests of the quantities computed from rows."""

from __future__ import annotations

from typing import Any

from tiny import rock_salt

from lcoms.benchmark.rows import Judged, Known, Point, Row
from lcoms.structure.crystal import crystal_to_dict

CRYSTAL = crystal_to_dict(rock_salt())


def judged(energy: float | None, *, found: bool = False, note: str = "") -> Judged:
    """Return a judged crystal with a formation energy, which is or is not the known structure."""
    total = None if energy is None else energy - 3.0
    return Judged(CRYSTAL, total, energy, 225 if found else 1, 0.1 if found else None, found, found, note)


def row(
    method: str, compound: str = "NaCl", seed: int = 0, energy: float | None = -2.0, *, found: bool = False, **more: Any
) -> Row:
    """Return the row of a run on the paper's track; the known formation energy is -2 eV/atom."""
    answer = None if energy is None else judged(energy, found=found)
    fields: dict[str, Any] = {
        "track": "paper", "method": method, "compound": compound, "seed": seed, "group": "26 compounds",
        "formula": compound, "n_atoms": 2, "status": "failed" if energy is None else "ok",
        "reason": "it broke" if energy is None else "", "known": Known(-5.0, -2.0, 225, True), "answer": answer,
        "relaxed": answer, "settings": {"judge": "made up"},
    }  # fmt: skip
    return Row(**(fields | more))


def point(evaluations: int, seconds: float, *, found: bool, energy: float = -1.5) -> Point:
    return Point(evaluations, seconds, energy, judged(energy, found=found))
