"""Lines stand where Bragg's law puts them, and only where the lattice lets them be."""

from __future__ import annotations

from math import asin, degrees

import pytest
from tiny import caesium_chloride, rock_salt

from lcoms.page.diffraction import WAVELENGTH, powder_pattern
from lcoms.structure.symmetry import conventional


def test_rock_salt_has_the_lines_of_a_face_centred_lattice() -> None:
    lines = powder_pattern(conventional(rock_salt()))
    assert [line.planes for line in lines[:3]] == ["(1 1 1)", "(2 0 0)", "(2 2 0)"]
    for line in lines:
        # pymatgen names one set of planes of each kind; all of a line have the same spacing.
        indices = tuple(map(int, line.planes.split(")")[0].strip("(").split()))
        assert line.spacing == pytest.approx(5.64 / sum(i * i for i in indices) ** 0.5)
        assert line.two_theta == pytest.approx(2 * degrees(asin(WAVELENGTH / 2 / line.spacing)))
        assert len({i % 2 for i in indices}) == 1
    assert max(line.intensity for line in lines) == 100
    assert max(lines, key=lambda line: line.intensity).planes == "(2 0 0)"


def test_a_primitive_cubic_lattice_lets_all_lines_be() -> None:
    assert powder_pattern(caesium_chloride())[0].planes == "(1 0 0)"
