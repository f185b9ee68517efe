"""Crystals brought into a cell that the user knows, in which their atoms are then relaxed.

A measured cell is more exact than a relaxed one: energy models err by 1 to 3 %, and by more where layers are held
together by dispersion. The strain is the smallest that leads to the cell in any of its settings, and of that the part
that keeps the crystal's symmetry.
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
from lcoms.prediction.scoring import SCORE_ERROR
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import primitive_standard

SYMPREC = 0.05  # angstrom
FORBIDDEN_STRAIN = 0.005  # standard deviation of what a measured cell is off where symmetry says what it must be
MOST_PENALTY = 0.3  # eV/atom

Matrix = Float[NDArray[np.float64], "3 3"]


def starts(crystals: Sequence[Crystal], spec: PredictionSpec, oracle: EnergyOracle | None) -> list[Crystal]:
    """Crystals as they are relaxed: compressed by the pressure, or in the cell that is known."""
    cell = spec.constraints.known_cell
    if cell is not None:
        return in_known_cell(crystals, cell)
    return compressed(crystals, oracle, 0.0 if spec.relaxation is None else spec.relaxation.pressure)


def in_known_cell(crystals: Sequence[Crystal], cell: KnownCell) -> list[Crystal]:
    """Crystals strained into a cell; as they are where their lattice is another one."""
    return [_strained(crystal, cell) for crystal in crystals]


def nearest_cell_first(candidates: Sequence[Candidate], cell: KnownCell | None) -> list[Candidate]:
    """Candidates with a penalty where their symmetry does not allow the cell as it is, such as two unequal axes."""
    if cell is None:
        return list(candidates)
    told = [replace(one, score=one.score + _penalty(one.crystal, cell)) for one in candidates]
    return sorted(told, key=lambda one: one.score)


def _penalty(crystal: Crystal, cell: KnownCell) -> float:
    """eV/atom; a Gaussian of the strain that is left."""
    left = min((float(np.linalg.norm(strain)) for strain in _strains_of(crystal, cell)), default=0.0)
    return min(SCORE_ERROR / 2 * (left / FORBIDDEN_STRAIN) ** 2, MOST_PENALTY)


def _strains_of(crystal: Crystal, cell: KnownCell) -> list[Matrix]:
    found = primitive_standard(crystal, symprec=SYMPREC)
    return [strain for base in (found.conventional, found.crystal.lattice) for strain in _strains(base, cell)]


def _strained(crystal: Crystal, cell: KnownCell) -> Crystal:
    found = primitive_standard(crystal, symprec=SYMPREC)
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
    """Symmetric strains of a lattice that give some basis of it the lengths and angles of the cell."""
    from pymatgen.core import Lattice

    tolerance = cell.tolerance + BEFORE_RELAXATION
    mappings = Lattice(base).find_all_mappings(
        Lattice(cell.lattice), ltol=tolerance, atol=float(np.degrees(tolerance)), skip_rotation_matrix=True
    )
    for _, _, scale in mappings:
        if round(abs(float(np.linalg.det(scale)))) == 1:
            wanted = np.linalg.inv(scale) @ cell.lattice  # in an orientation of its own
            stretch = np.linalg.inv(base) @ wanted
            values, vectors = np.linalg.eigh(stretch @ stretch.T)
            yield (vectors * np.sqrt(values)) @ vectors.T - np.eye(3)
