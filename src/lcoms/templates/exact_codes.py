"""Integer codes for the data of exact templates: free coordinates, conventional cells and energies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.exact_sites import free_parameters
from lcoms.structure.symmetric_cell import constrained

COORD_BITS = 14  # rounding changes forces by at most 0.02 eV/angstrom (40 crystals, CHGNet); with 12 bits by 0.2
COORD_LEVELS = 1 << COORD_BITS  # of a free coordinate, 0 to 1
CELL_LEVELS = 1 << 16
SHORTEST, LONGEST = 0.5, 1024.0  # angstrom; lengths are coded by their logarithms
UNKNOWN = -(1 << 31)
ENERGY_LEVELS = 10_000  # of 1 eV/atom


def starts(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the offsets (n + 1,) at which parts of these lengths begin, with the end of the last."""
    return np.append(0, np.cumsum(lengths, dtype=np.int64))


def cell_sizes(groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the numbers of free cell parameters of space groups."""
    table = np.array([0] + [len(lengths) + len(angles) for lengths, angles in map(free_parameters, range(1, 231))])
    return np.asarray(table[groups])


def encoded_cell(number: int, lengths: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return codes of the free cell parameters of a space group: logarithms of lengths, then angles."""
    free_lengths, free_angles = free_parameters(number)
    length_codes = np.log(lengths[list(free_lengths)] / SHORTEST) / np.log(LONGEST / SHORTEST) * (CELL_LEVELS - 1)
    codes = np.concatenate([length_codes, angles[list(free_angles)] / 180 * CELL_LEVELS])
    return np.round(codes).astype(np.int64)


def decoded_cell(number: int, codes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lengths (angstrom) and angles (degrees) from codes, completed by those that the crystal system fixes."""
    free_lengths, free_angles = free_parameters(number)
    lengths, angles = np.ones(3), np.full(3, 90.0)
    logs = codes[: len(free_lengths)] / (CELL_LEVELS - 1)
    lengths[list(free_lengths)] = SHORTEST * (LONGEST / SHORTEST) ** logs
    angles[list(free_angles)] = codes[len(free_lengths) :] * (180 / CELL_LEVELS)
    return constrained(number, lengths, angles)


def decoded_energies(codes: NDArray[np.int32] | np.int32) -> NDArray[np.float64]:
    """Return energies in eV/atom; NaN where unknown."""
    return np.where(codes == UNKNOWN, np.nan, codes / ENERGY_LEVELS)
