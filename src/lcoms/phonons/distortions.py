"""Crystals distorted along soft modes, from which relaxations reach structures of lower symmetry.

The displacement of atom j in the cell at R is Re[e_j / sqrt(m_j) exp(2 pi i q . (R + r_j))] for the eigenvector e at
the wave vector q (Togo and Tanaka 2015). Degenerate modes are combined into displacements along the axes and diagonals
of the conventional cell, since an arbitrary combination would destroy all symmetry.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.phonons.harmonic import Phonons
from lcoms.phonons.modes import SoftMode
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import primitive_standard

AMPLITUDE = 0.2  # angstrom
SYMPREC = 0.01  # angstrom; far below the amplitude
MOST_REPEATS = 6  # along an axis
DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1))


class Distortion(NamedTuple):
    """A crystal displaced along a soft mode.

    Attributes:
        crystal: primitive cell of the distorted crystal.
        space_group: its number in the International Tables.
        mode: the mode.
    """

    crystal: Crystal
    space_group: int
    mode: SoftMode


def distortions(phonons: Phonons, *, amplitude: float = AMPLITUDE, most: int = 6) -> list[Distortion]:
    """Return crystals distorted along the soft modes, those of different modes first, the softest mode leading.

    Args:
        amplitude: largest displacement of an atom, angstrom.
        most: largest number of crystals; for each mode, only one of each space group and number of atoms is kept.
    """
    of_modes = [_of_mode(phonons, mode, amplitude) for mode in phonons.soft]
    longest = max((len(some) for some in of_modes), default=0)
    return [some[at] for at in range(longest) for some in of_modes if at < len(some)][:most]


def _of_mode(phonons: Phonons, mode: SoftMode, amplitude: float) -> list[Distortion]:
    repeats = [Fraction(float(q)).limit_denominator(24).denominator for q in mode.primitive_q]
    if max(repeats) > MOST_REPEATS:
        return []
    found: dict[tuple[int, int], Distortion] = {}
    for vector in _directions(mode.eigenvectors):
        displaced = _displaced(phonons, mode.primitive_q, vector, repeats, amplitude)
        cell = primitive_standard(displaced, symprec=SYMPREC)
        key = cell.space_group, cell.crystal.n_atoms
        found.setdefault(key, Distortion(cell.crystal, cell.space_group, mode))
    return list(found.values())


def _directions(eigenvectors: NDArray[np.complex128]) -> list[NDArray[np.complex128]]:
    """Return the eigenvector of a single mode; of degenerate ones, their combinations nearest to simple directions.

    The atom that takes most part is moved along each direction, and the movement projected on the modes.
    """
    if eigenvectors.shape[1] == 1:
        return [eigenvectors[:, 0]]
    shares = np.square(np.abs(eigenvectors)).sum(1).reshape(-1, 3)
    atom = int(shares.sum(1).argmax())
    found = []
    for direction in DIRECTIONS:
        wanted = np.zeros_like(shares)
        wanted[atom] = direction
        vector = eigenvectors @ (eigenvectors.conj().T @ wanted.ravel())
        if np.linalg.norm(vector) > 0.1 * np.linalg.norm(wanted):
            found.append(vector)
    return found


def _displaced(
    phonons: Phonons, q: NDArray[np.float64], vector: NDArray[np.complex128], repeats: list[int], amplitude: float
) -> Crystal:
    """Return the supercell in which the displacement repeats."""
    cell = phonons.primitive
    shifts = np.array(list(product(*(range(n) for n in repeats))), dtype=np.float64)
    places = (shifts[:, None] + cell.frac_coords[None]).reshape(-1, 3)
    amplitudes = vector.reshape(-1, 3) / np.sqrt(phonons.masses)[:, None]
    waves = np.tile(amplitudes, (len(shifts), 1)) * np.exp(2j * np.pi * places @ q)[:, None]
    turn = np.exp(-0.5j * np.angle(np.square(waves).sum()))  # the phase at which the real part is largest
    moves = np.real(waves * turn)
    moves *= amplitude / np.linalg.norm(moves, axis=1).max()
    coords = places + moves @ np.linalg.inv(cell.lattice)
    numbers = np.tile(cell.atomic_numbers, len(shifts))
    return Crystal(cell.lattice * np.array(repeats)[:, None], coords / np.array(repeats), numbers)
