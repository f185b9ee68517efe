"""Lines of a powder pattern: families of lattice planes, their intensities, and their shifts under strain.

A family holds all planes that the Laue class makes equivalent, so it stays one line under every strain that keeps the
symmetry. Intensities are |F|^2 times the multiplicity, without `lorentz_polarisation` and thermal motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.diffraction.radiation import Radiation
from lcoms.diffraction.scattering import scattering_factors
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shifts_within
from lcoms.structure.symmetry import PrimitiveStandard, primitive_standard

FAINT = 1e-4  # of the strongest multiplicity |F|^2; fainter families are left out
MOST_PLANES = 300_000  # at 1 angstrom the planes of a cell of about 70 000 cubic angstrom
AT_ONCE = 1 << 23  # phases in memory


@dataclass(frozen=True, eq=False)
class Lines:
    """Families of lattice planes of one crystal.

    Attributes:
        crystal: primitive standard cell, to which vectors and strains refer.
        vectors: (k, 3) reciprocal vectors, without 2 pi, of one plane of each family; 1/angstrom.
        planes: (k, 3) Miller indices of these planes in the conventional cell.
        multiplicities: (k,) number of equivalent planes.
        strengths: (k,) multiplicity times |F|^2.
        strains: (m, 3, 3) orthonormal strains that keep the symmetry; the first is the isotropic one.
        members: (n, 3) unit vectors of all planes.
        family: (n,) family of each member.
    """

    crystal: Crystal
    vectors: NDArray[np.float64]
    planes: NDArray[np.int64]
    multiplicities: NDArray[np.int64]
    strengths: NDArray[np.float64]
    strains: NDArray[np.float64]
    members: NDArray[np.float64]
    family: NDArray[np.int64]

    def indices(self, place: int) -> tuple[int, int, int]:
        """Miller indices of a family."""
        first, second, third = self.planes[place].tolist()
        return first, second, third

    @property
    def lengths(self) -> NDArray[np.float64]:
        """1 / d of each family, 1/angstrom."""
        return np.linalg.norm(self.vectors, axis=1)

    def slopes(self) -> NDArray[np.float64]:
        """Return the derivatives (k, m) of ln d of each family with respect to each strain."""
        unit = self.vectors / self.lengths[:, None]
        return np.einsum("ki,mij,kj->km", unit, self.strains, unit)

    def strained(self, amounts: NDArray[np.float64]) -> Crystal:
        """Return the crystal with its cell strained by the given amounts (m,) of the allowed strains."""
        strain = np.eye(3) + np.tensordot(amounts, self.strains, 1)
        return Crystal(self.crystal.lattice @ strain, self.crystal.frac_coords, self.crystal.atomic_numbers)


def find_lines(
    crystal: Crystal | PrimitiveStandard, radiation: Radiation, reach: float, *, symprec: float = 0.01
) -> Lines:
    """Return the families with 1 / d up to `reach` (1/angstrom), by descending d.

    Args:
        crystal: a crystal, or its cell with the rotations that strains are to keep.
        symprec: angstrom; tolerance of the symmetry, which determines the allowed strains.

    Raises:
        ConfigError: an element has no tabulated scattering factor, or the cell has too many planes.
    """
    cell = crystal if isinstance(crystal, PrimitiveStandard) else primitive_standard(crystal, symprec=symprec)
    reciprocal = np.asarray(np.linalg.inv(cell.crystal.lattice).T, dtype=np.float64)
    indices = _indices(cell.crystal.lattice, reciprocal, reach)
    named = np.rint(indices @ reciprocal @ cell.conventional.T).astype(np.int64)
    indices = indices[np.lexsort(-named.T[::-1])]  # a family is named after its highest indices
    first, family = _families(indices, cell.rotations)
    vectors = indices[first] @ reciprocal
    squares = _squares(cell.crystal, radiation, indices[first])
    multiplicities = np.bincount(family, minlength=len(first))
    kept = squares * multiplicities > FAINT * (squares * multiplicities).max(initial=1e-300)
    order = np.flatnonzero(kept)[np.argsort(np.linalg.norm(vectors[kept], axis=1), kind="stable")]
    place = np.full(len(first), -1)
    place[order] = np.arange(len(order))
    member = place[family] >= 0
    directions = indices[member] @ reciprocal
    planes = np.rint(vectors[order] @ cell.conventional.T).astype(np.int64)
    return Lines(
        cell.crystal,
        vectors[order],
        planes,
        multiplicities[order],
        (squares * multiplicities)[order],
        allowed_strains(cell.crystal.lattice, cell.rotations),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        place[family[member]],
    )


def lorentz_polarisation(theta: NDArray[np.float64], radiation: Radiation) -> NDArray[np.float64]:
    """Return the Lorentz-polarisation factor at Bragg angles in radians, for a flat powder sample."""
    lorentz = 1 / (np.square(np.sin(theta)) * np.cos(theta))
    if radiation.kind == "neutron" or radiation.polarised:
        return np.asarray(lorentz)
    return np.asarray(lorentz * (1 + np.square(np.cos(2 * theta))) / 2)


def allowed_strains(lattice: NDArray[np.float64], rotations: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return orthonormal symmetric strains (m, 3, 3) that all rotations leave unchanged; the isotropic one first.

    Args:
        rotations: (n, 3, 3) acting on columns of fractional coordinates.
    """
    turns = np.einsum("ij,njk,kl->nil", lattice.T, rotations, np.linalg.inv(lattice.T))
    average = np.einsum("nij,nkl->ikjl", turns, turns).reshape(9, 9) / len(turns)
    swap = np.eye(9).reshape(3, 3, 3, 3).transpose(0, 1, 3, 2).reshape(9, 9)
    isotropic = (np.eye(3) / np.sqrt(3)).ravel()
    projector = average @ (np.eye(9) + swap) / 2
    projector = (projector + projector.T) / 2 - np.outer(isotropic, isotropic)
    values, vectors = np.linalg.eigh(projector)
    return np.concatenate([isotropic[None], vectors.T[values > 0.5][::-1]]).reshape(-1, 3, 3)


def _indices(lattice: NDArray[np.float64], reciprocal: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Return all Miller indices (n, 3) within the reach except 0 0 0; raises ConfigError if there are too many."""
    size = abs(float(np.linalg.det(lattice)))
    if 4 / 3 * np.pi * reach**3 * size > MOST_PLANES:
        raise ConfigError(f"the primitive cell, of {size:.0f} cubic angstrom, has too many lines for a powder pattern.")
    most = np.floor(reach * np.linalg.norm(lattice, axis=1) + 1e-9).astype(int)
    grid = shifts_within(most)
    squares = np.square(grid @ reciprocal).sum(1)
    return np.asarray(grid[(squares <= reach**2) & (squares > 0)], dtype=np.int64)


def _families(indices: NDArray[np.int64], rotations: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the first member of each family, and the family (n,) of each plane."""
    base = 2 * int(np.abs(indices).max(initial=0)) + 1
    weights = np.array([base * base, base, 1])
    turned = np.abs(np.einsum("ni,rij,j->nr", indices, proper_rotations(rotations), weights, optimize=True))
    _, first, family = np.unique(turned.max(1), return_index=True, return_inverse=True)
    return first.astype(np.int64), family.astype(np.int64)


def proper_rotations(rotations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct rotations, one of each pair W, -W: the two sides of a plane are equivalent."""
    flat = rotations.reshape(-1, 9)
    proper = np.where(np.linalg.det(rotations)[:, None] > 0, flat, -flat)
    return np.unique(proper, axis=0).reshape(-1, 3, 3)


def _squares(crystal: Crystal, radiation: Radiation, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return |F|^2 (k,), averaged over hkl and -h-k-l."""
    elements = crystal.composition.atomic_numbers
    some = max(1, AT_ONCE // crystal.n_atoms)
    parts = []
    for planes in (indices[at : at + some] for at in range(0, len(indices), some)):
        s = np.linalg.norm(planes @ np.linalg.inv(crystal.lattice).T, axis=1) / 2
        factors = scattering_factors(elements, radiation, s)
        phases = np.exp(2j * np.pi * (planes @ crystal.frac_coords.T))
        sums = np.stack([phases[:, crystal.atomic_numbers == z].sum(1) for z in elements])
        parts.append(np.abs((factors.real * sums).sum(0)) ** 2 + np.abs((factors.imag * sums).sum(0)) ** 2)
    return np.concatenate(parts) if parts else np.zeros(0)
