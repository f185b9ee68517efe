"""Whether two crystals are the same structure, by pymatgen's StructureMatcher with stated tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lcoms.crystal import Crystal
from lcoms.io import to_pymatgen

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher


@dataclass(frozen=True)
class Tolerance:
    """Tolerances of StructureMatcher: `ltol` and `stol` are fractions, `angle_tol` is in degrees."""

    ltol: float
    stol: float
    angle_tol: float


LOOSE = Tolerance(ltol=0.3, stol=0.5, angle_tol=10.0)
"""Match rate of CDVAE, DiffCSP and their successors."""
STRICT = Tolerance(ltol=0.2, stol=0.3, angle_tol=5.0)
"""pymatgen's defaults."""


def rmsd(first: Crystal, second: Crystal, tolerance: Tolerance) -> float | None:
    """Root mean square displacement over (volume / atom)^(1/3), dimensionless; None where they do not match."""
    if first.composition.reduced != second.composition.reduced:
        return None
    found = _matcher(tolerance).get_rms_dist(to_pymatgen(first), to_pymatgen(second))
    return None if found is None else float(found[0])


def matches(first: Crystal, second: Crystal, tolerance: Tolerance) -> bool:
    """Whether the two are the same structure."""
    if first.composition.reduced != second.composition.reduced:
        return False
    return bool(_matcher(tolerance).fit(to_pymatgen(first), to_pymatgen(second)))


@cache
def _matcher(tolerance: Tolerance) -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=tolerance.ltol, stol=tolerance.stol, angle_tol=tolerance.angle_tol)
