"""Symmetry operations written as triplets such as -x+1/2,y,-z: exact fractions, products, and the test for a group.

Translations may have any denominator, as of a supercell five times as long or of an arbitrary origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_UNIT = 50_000  # common denominator of translations
MOST_ROTATIONS = 48
_TERM = re.compile(r"([+-]?)((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:/[0-9]+)?)?\*?([xyz]?)")
_LETTERS = {"x": 0, "y": 1, "z": 2}


class Triplet(NamedTuple):
    """An operation x -> rotation x + translation; translations are fractions from 0 to below 1."""

    rotation: tuple[tuple[Fraction, ...], ...]
    translation: tuple[Fraction, ...]

    def __mul__(self, other: Triplet) -> Triplet:  # type: ignore[override]
        """Return the operation that applies the other one first."""
        columns = list(zip(*other.rotation, strict=True))
        rotation = tuple(tuple(_dot(row, column) for column in columns) for row in self.rotation)
        moved = (_dot(row, other.translation) + t for row, t in zip(self.rotation, self.translation, strict=True))
        return Triplet(rotation, tuple(t % 1 for t in moved))


def _dot(first: Sequence[Fraction], second: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(first, second, strict=True)), Fraction(0))


@lru_cache(maxsize=4096)
def parse_triplet(text: str) -> Triplet:
    """Return the operation of three components with commas, without spaces, in lower case.

    Raises:
        ValueError: a component is not a sum of x, y, z and numbers.
    """
    parts = text.split(",")
    if len(parts) != 3:
        many = "components" if len(parts) > 1 else "component"
        raise ValueError(f"{len(parts)} {many} in {text[:40]!r}, where three are needed")
    rows = [_component(part) for part in parts]
    return Triplet(tuple(row[:3] for row in rows), tuple(row[3] % 1 for row in rows))


def _component(text: str) -> tuple[Fraction, ...]:
    """Return the factors of x, y and z and the number of a component."""
    found = [Fraction(0)] * 4
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or not (match[2] or match[3]) or (at and not match[1]):
            raise ValueError(f"{text[:20]!r} is not a sum of x, y, z and numbers")
        size = _fraction(match[2]) if match[2] else Fraction(1)
        found[_LETTERS.get(match[3], 3)] += -size if match[1] == "-" else size
        at = match.end()
    if not text:
        raise ValueError("a component is empty")
    return tuple(found)


def _fraction(text: str) -> Fraction:
    """Return a number exactly; decimals that are a rounded third, sixth, eighth, twelfth or 24th are that."""
    numerator, _, denominator = text.partition("/")
    if denominator:
        if not int(denominator):
            raise ValueError(f"{text!r} is not a number")
        return Fraction(numerator) / int(denominator)
    value, digits = Fraction(text), len(text.partition(".")[2])
    for denominators, error in (((3, 6), 1.0), ((8, 12, 24), 0.51)):
        for whole in denominators:
            near = Fraction(round(value * whole), whole)
            if digits > 1 and abs(value - near) <= error * 10.0**-digits:
                return near
    return value


def arrays(operations: Sequence[Triplet]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rotations (n, 3, 3) and translations (n, 3)."""
    rotations = np.array([op.rotation for op in operations], dtype=float).reshape(-1, 3, 3)
    return rotations, np.array([op.translation for op in operations], dtype=float).reshape(-1, 3)


def is_group(operations: Sequence[Triplet]) -> bool:
    """Return whether a list is closed under products, up to lattice translations."""
    unit = lcm(*(t.denominator for op in operations for t in op.translation))
    rotations = arrays(operations)[0]
    if unit > LARGEST_UNIT or (rotations != np.round(rotations)).any():
        return False
    turns, kind = np.unique(rotations.reshape(-1, 9).astype(np.int64), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    if len(turns) > MOST_ROTATIONS or not np.allclose(np.abs(np.linalg.det(turns.reshape(-1, 3, 3))), 1):
        return False
    places = {row.tobytes(): place for place, row in enumerate(turns)}
    products = np.einsum("aij,bjk->abik", turns.reshape(-1, 3, 3), turns.reshape(-1, 3, 3)).reshape(-1, 9)
    table = np.array([places.get(row.tobytes(), -1) for row in products]).reshape(len(turns), len(turns))
    if (table < 0).any():
        return False
    shifts = np.array([[int(t * unit) for t in op.translation] for op in operations])
    base = np.array([unit**2, unit, 1])
    known = np.unique(kind * unit**3 + shifts @ base)
    for turn, shift, row in zip(turns.reshape(-1, 3, 3)[kind], shifts, table[kind], strict=True):
        moved = (shifts @ turn.T + shift) % unit
        if not np.isin(row[kind] * unit**3 + moved @ base, known).all():
            return False
    return True
