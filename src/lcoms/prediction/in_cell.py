"""Crystals strained into a cell that the user knows, in which their atoms are then relaxed.

A measured cell is more accurate than a relaxed one: energy models have errors of 1 to 3 %, and larger ones if layers
are held together by dispersion. The strain is the smallest one that leads to any setting of the cell; only the part
that keeps the crystal's symmetry is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.diffraction.lines import allowed_strains
from lcoms.oracles.base import EnergyOracle
from lcoms.prediction.known_cell import BEFORE_RELAXATION, KnownCell
from lcoms.prediction.pressure import compressed
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import RELAXED_SYMPREC, primitive_standard

FORBIDDEN_STRAIN = 0.005  # standard deviation of the error of a measured cell in strains that symmetry forbids
MOST_PENALTY = 0.3  # eV/atom

Matrix = Float[NDArray[np.float64], "3 3"]


def starts(crystals: Sequence[Crystal], spec: PredictionSpec, oracle: EnergyOracle | None) -> list[Crystal]:
    """Return crystals as they enter relaxation: compressed by the pressure, or in the known cell."""
    cell = spec.constraints.known_cell
    if cell is not None:
        return in_known_cell(crystals, cell)
    return compressed(crystals, oracle, 0.0 if spec.relaxation is None else spec.relaxation.pressure)


def in_known_cell(crystals: Sequence[Crystal], cell: KnownCell) -> list[Crystal]:
    """Return crystals strained into a cell; unchanged if their lattice is a different one."""
    return [_strained(crystal, cell) for crystal in crystals]


def nearest_cell_first(
    candidates: Sequence[Candidate], cell: KnownCell | None, *, score_error: float
) -> list[Candidate]:
    """Return candidates ordered with a penalty if their symmetry forbids the cell, for example two unequal axes.

    Args:
        score_error: standard deviation of a score, eV/atom.
    """
    if cell is None:
        return list(candidates)
    told = [replace(one, score=one.score + _penalty(one.crystal, cell, score_error)) for one in candidates]
    return sorted(told, key=lambda one: one.score)


def _penalty(crystal: Crystal, cell: KnownCell, score_error: float) -> float:
    """Return the penalty (eV/atom) for the remaining strain, assuming a Gaussian error of the cell."""
    left = min((float(np.linalg.norm(strain)) for strain in _strains_of(crystal, cell)), default=0.0)
    return min(score_error / 2 * (left / FORBIDDEN_STRAIN) ** 2, MOST_PENALTY)


def _strains_of(crystal: Crystal, cell: KnownCell) -> list[Matrix]:
    found = primitive_standard(crystal, symprec=RELAXED_SYMPREC)
    return [strain for base in (found.conventional, found.crystal.lattice) for strain in _strains(base, cell)]


def _strained(crystal: Crystal, cell: KnownCell) -> Crystal:
    found = primitive_standard(crystal, symprec=RELAXED_SYMPREC)
    primitive = found.crystal
    if primitive.n_atoms != crystal.n_atoms:  # a supercell of a more symmetric crystal
        return crystal
    strains = _strains_of(crystal, cell)
    if not strains:
        return crystal
    allowed = allowed_strains(primitive.lattice, found.rotations)
    least = min(strains, key=lambda strain: float(np.linalg.norm(strain)))
    kept = np.einsum("mij,ij,mkl->kl", allowed, least, allowed)
    return Crystal(primitive.lattice @ (np.eye(3) + kept), primitive.frac_coords, primitive.atomic_numbers)


def _strains(base: Matrix, cell: KnownCell) -> Iterator[Matrix]:
    """Yield symmetric strains of a lattice that give one of its bases the lengths and angles of the cell."""
    from pymatgen.core import Lattice

    tolerance = cell.tolerance + BEFORE_RELAXATION
    mappings = Lattice(base).find_all_mappings(
        Lattice(cell.lattice), ltol=tolerance, atol=float(np.degrees(tolerance)), skip_rotation_matrix=True
    )
    for _, _, scale in mappings:
        if round(abs(float(np.linalg.det(scale)))) == 1:
            wanted = np.linalg.inv(scale) @ cell.lattice  # in an arbitrary orientation
            stretch = np.linalg.inv(base) @ wanted
            values, vectors = np.linalg.eigh(stretch @ stretch.T)
            yield (vectors * np.sqrt(values)) @ vectors.T - np.eye(3)
