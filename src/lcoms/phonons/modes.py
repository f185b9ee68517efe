"""Soft modes and their names: wave vector, irreducible representation where known, and the atoms that move.

Only wave vectors commensurate with the supercell are considered, where frequencies are exact: between them they are
interpolated, and in small supercells interpolated acoustic modes become imaginary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.core.unique import unique
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.symmetry import EXACT_SYMPREC, space_group_symbol
from lcoms.structure.symmetry_search import moyo_dataset

if TYPE_CHECKING:
    from phonopy import Phonopy

SOFT = 0.3  # THz; imaginary frequencies smaller than this are noise
SAME = 0.05  # THz; modes closer than this are degenerate
FIRST_HEXAGONAL, FIRST_CUBIC = 143, 195  # space groups
MOVES = 0.2  # least fraction of a mode's squared displacement for an element to be named
_CUBIC: dict[str, dict[tuple[str, ...], str]] = {
    "P": {("0", "0", "1/2"): "X", ("0", "1/2", "1/2"): "M", ("1/2", "1/2", "1/2"): "R"},
    "F": {("0", "0", "1"): "X", ("1/2", "1/2", "1/2"): "L", ("0", "1/2", "1"): "W"},
    "I": {("0", "0", "1"): "H", ("0", "1/2", "1/2"): "N", ("1/2", "1/2", "1/2"): "P"},
}
"""Points of the cubic zones by the sorted absolute components in the conventional reciprocal cell."""
_HEXAGONAL: dict[tuple[tuple[str, ...], str], str] = {
    (("0", "0"), "1/2"): "A",
    (("0", "1/2"), "0"): "M",
    (("0", "1/2"), "1/2"): "L",
    (("1/3", "1/3"), "0"): "K",
    (("1/3", "1/3"), "1/2"): "H",
}
"""Points of the hexagonal zone by the sorted components in the plane, none negative, and that along the axis."""


@dataclass(frozen=True)
class SoftMode:
    """An unstable mode.

    Attributes:
        frequency: THz, negative for imaginary.
        wave_vector: components in the conventional reciprocal cell.
        point: name and components of the wave vector, such as "X (0, 0, 1)".
        degeneracy: number of degenerate modes at this wave vector.
        irrep: irreducible representation; empty where unknown.
        motion: the elements that move and their direction, such as "Ti along z".
        primitive_q: (3,) the wave vector in the reciprocal lattice of phonopy's primitive cell.
        eigenvectors: (3n, degeneracy) of the dynamical matrix of its n atoms, orthonormal.
    """

    frequency: float
    wave_vector: tuple[float, float, float]
    point: str
    degeneracy: int
    irrep: str
    motion: str
    primitive_q: NDArray[np.float64] = field(compare=False, repr=False)
    eigenvectors: NDArray[np.complex128] = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """One line with frequency, wave vector, representation, motion and degeneracy."""
        kind = f", {self.irrep}" if self.irrep else ""
        times = f", {self.degeneracy} of them" if self.degeneracy > 1 else ""
        return f"{-self.frequency:.1f}i THz at {self.point}{kind}: {self.motion}{times}"


class _Symmetry(NamedTuple):
    """What makes wave vectors equivalent.

    Attributes:
        space_group: number in the International Tables.
        rotations: (g, 3, 3) of the conventional cell, acting on columns of fractional coordinates.
        primitive: (3, 3) primitive lattice vectors in the conventional basis, rows.
    """

    space_group: int
    rotations: NDArray[np.int64]
    primitive: NDArray[np.float64]

    @classmethod
    def of(cls, cell: Crystal, phonons: Phonopy) -> _Symmetry:
        dataset = moyo_dataset(cell, symprec=EXACT_SYMPREC)
        primitive = np.array(phonons.primitive.cell) @ np.linalg.inv(cell.lattice)
        if dataset is None:
            return cls(1, np.eye(3, dtype=np.int64)[None], primitive)
        return cls(int(dataset.number), np.array(dataset.operations.rotations, dtype=np.int64), primitive)

    def images(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vectors (2 g, 3) that a wave vector becomes under the rotations and time reversal."""
        turned = q @ self.rotations
        return np.concatenate([turned, -turned])

    def equivalent(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
        """Return whether the vectors are images of one another, modulo the reciprocal lattice."""
        apart = (self.images(first) - second) @ self.primitive.T
        return bool((np.abs(apart - np.round(apart)).max(axis=1) < 1e-4).any())


def soft_modes(phonons: Phonopy, cell: Crystal, repeats: tuple[int, int, int]) -> tuple[tuple[SoftMode, ...], float]:
    """Return the soft modes, the softest first, and the lowest frequency in THz, without the acoustic modes at Γ."""
    modes: list[SoftMode] = []
    lowest = np.inf
    symmetry = _Symmetry.of(cell, phonons)
    for conventional_q, q in _wave_vectors(phonons, cell, repeats):
        frequencies, vectors = phonons.get_frequencies_with_eigenvectors(q)
        at_rest = not np.any(np.abs(q - np.round(q)) > 1e-6)
        kept = _without_acoustic(frequencies, vectors, phonons) if at_rest else np.arange(len(frequencies))
        lowest = min(lowest, float(frequencies[kept].min(initial=np.inf)))
        soft = [int(i) for i in kept if frequencies[i] < -SOFT]
        while soft:
            alike = [i for i in soft if frequencies[i] - frequencies[soft[0]] < SAME]
            soft = soft[len(alike) :]
            modes.append(
                SoftMode(
                    frequency=float(frequencies[alike].mean()),
                    wave_vector=(float(conventional_q[0]), float(conventional_q[1]), float(conventional_q[2])),
                    point=_point(conventional_q, symmetry),
                    degeneracy=len(alike),
                    irrep=_irrep(phonons, q, alike[0]) if at_rest else "",
                    motion=_motion(phonons, vectors[:, alike]),
                    primitive_q=q,
                    eigenvectors=vectors[:, alike],
                )
            )
    return _distinct(modes, symmetry), 0.0 if not np.isfinite(lowest) else lowest


def _wave_vectors(
    phonons: Phonopy, cell: Crystal, repeats: tuple[int, int, int]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return wave vectors that fit the supercell, one of each pair q, -q, in conventional and primitive components."""
    primitive = np.array(phonons.primitive.cell) @ np.linalg.inv(cell.lattice)
    zones = [np.arange(-n, n + 1) / n for n in repeats]
    grid = np.stack(np.meshgrid(*zones, indexing="ij"), -1).reshape(-1, 3)
    sizes = np.square(grid @ np.linalg.inv(cell.lattice).T).sum(1).round(8)
    grid = grid[
        np.lexsort((-grid[:, 2], -grid[:, 1], -grid[:, 0], (grid < 0).sum(1), sizes))
    ]  # short and positive first
    found: dict[tuple[float, ...], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for q in grid:
        own = primitive @ q
        key, back = (tuple((sign * own - np.floor(sign * own + 1e-6)).round(4) + 0.0) for sign in (1, -1))
        if key not in found and back not in found:
            found[key] = q, own
    return list(found.values())


def _without_acoustic(
    frequencies: NDArray[np.float64], vectors: NDArray[np.complex128], phonons: Phonopy
) -> NDArray[np.int64]:
    """Return all modes except the three that are closest to rigid translations of the crystal."""
    roots = np.sqrt(np.array(phonons.primitive.masses))
    rigid = np.kron(roots[:, None], np.eye(3)) / np.linalg.norm(roots)
    overlap = np.square(np.abs(rigid.T @ vectors)).sum(0)
    return np.sort(np.argsort(overlap, kind="stable")[: len(frequencies) - 3])


def _irrep(phonons: Phonopy, q: NDArray[np.float64], mode: int) -> str:
    """Return phonopy's label of a mode; empty where it has none."""
    try:
        irreps = phonons.run_irreps(q, degeneracy_tolerance=SAME / 2)
        labels = getattr(irreps, "_ir_labels", None) or []
        for label, places in zip(labels, irreps.band_indices, strict=False):
            if mode in places:
                return str(label or "")
    except Exception:  # phonopy lacks tables for several groups, and raises various errors then
        return ""
    return ""


def _motion(phonons: Phonopy, vectors: NDArray[np.complex128]) -> str:
    """Return the elements that move most, and the axis or plane of the motion where there is one."""
    numbers = np.array(phonons.primitive.numbers)
    masses = np.array(phonons.primitive.masses)
    moved = np.square(np.abs(vectors)).sum(1).reshape(-1, 3) / masses[:, None]
    shares = {int(z): float(moved[numbers == z].sum() / moved.sum()) for z in set(numbers.tolist())}
    named = [SYMBOLS[z] for z in sorted(shares, key=lambda z: -shares[z]) if shares[z] >= MOVES]
    along = moved.sum(0) / moved.sum()
    axis = "" if along.max() < 0.9 else f" along {'xyz'[int(along.argmax())]}"
    plane = "" if along.min() > 0.05 or axis else f" normal to {'xyz'[int(along.argmin())]}"
    return " and ".join(named) + axis + plane


def _point(q: NDArray[np.float64], symmetry: _Symmetry) -> str:
    """Return the components of a wave vector, preceded by its name where the crystal is cubic or hexagonal; Γ alone."""
    if np.abs(q).max() < 1e-6:
        return "Γ"
    number, name = symmetry.space_group, ""
    lattice = space_group_symbol(number)[0]
    if number >= FIRST_CUBIC:
        name = _CUBIC[lattice].get(tuple(sorted((_fraction(abs(value)) for value in q), key=Fraction)), "")
    elif number >= FIRST_HEXAGONAL and lattice == "P":  # (1/3, -1/3, 0) is not K but on the way to M
        forward = [image for image in symmetry.images(q) if (image > -1e-6).all()]
        named = ((tuple(sorted((_fraction(a), _fraction(b)), key=Fraction)), _fraction(c)) for a, b, c in forward)
        name = next((_HEXAGONAL[parts] for parts in named if parts in _HEXAGONAL), "")
    components = "(" + ", ".join(_fraction(value) for value in q) + ")"
    return f"{name} {components}".strip()


def _fraction(value: float) -> str:
    return str(Fraction(float(value)).limit_denominator(24))


def _distinct(modes: list[SoftMode], symmetry: _Symmetry) -> tuple[SoftMode, ...]:
    """Return one of each set of modes whose wave vectors are equivalent, the softest first."""

    def same(first: SoftMode, second: SoftMode) -> bool:
        near = abs(first.frequency - second.frequency) < SAME and first.degeneracy == second.degeneracy
        return near and symmetry.equivalent(np.array(first.wave_vector), np.array(second.wave_vector))

    return tuple(unique(sorted(modes, key=lambda mode: mode.frequency), same))
