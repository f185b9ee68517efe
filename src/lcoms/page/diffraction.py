"""The powder pattern that a crystal would give, by pymatgen."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_pymatgen

RADIATION = "CuKa"
WAVELENGTH = 1.54184  # angstrom; what pymatgen takes for CuKa
ANGLES = (5.0, 90.0)  # degrees of two theta
WEAKEST = 0.2  # of 100; weaker lines are left out


class Line(NamedTuple):
    """A line of the pattern.

    Attributes:
        two_theta: degrees.
        intensity: the strongest line has 100.
        spacing: angstrom, of the lattice planes.
        planes: Miller indices of one set of planes of each kind, such as "(1 1 1)".
    """

    two_theta: float
    intensity: float
    spacing: float
    planes: str


def powder_pattern(crystal: Crystal) -> list[Line]:
    """Lines by angle, without thermal motion; indices refer to the cell as it is given."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pattern = XRDCalculator(wavelength=RADIATION).get_pattern(to_pymatgen(crystal), two_theta_range=ANGLES)
    lines = zip(pattern.x, pattern.y, pattern.d_hkls, pattern.hkls, strict=True)
    return [
        Line(float(x), float(y), float(d), ", ".join("(" + " ".join(map(str, kind["hkl"])) + ")" for kind in kinds))
        for x, y, d, kinds in lines
        if y >= WEAKEST
    ]
