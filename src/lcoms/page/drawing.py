"""Data that the scripts of the page draw for a candidate, ready for JSON: cells, curves, powder pattern and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from lcoms.diffraction.fit import PatternFit
from lcoms.diffraction.record import TICKS_SHOWN
from lcoms.diffraction.simulate import Line
from lcoms.page.bonds import Bond, find_bonds, polyhedron_centres
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS, covalent_radius
from lcoms.structure.io import to_poscar
from lcoms.structure.symmetry import primitive_standard

COUNTS = 5  # significant digits of a measured pattern


def drawing(
    name: str, candidate: Candidate, cell: Crystal, bonds: Sequence[Bond], lines: Sequence[Line], *, cif: str
) -> dict[str, Any]:
    """Return all data drawn for a candidate.

    Args:
        name: of its files.
        cell: conventional cell.
        bonds: of that cell.
        lines: of the computed pattern.
        cif: text of the file offered for download.
    """
    primitive = primitive_standard(cell).crystal
    smaller = primitive.n_atoms < cell.n_atoms
    return {
        "name": name,
        "cif": cif,
        "cells": {
            "conventional": _drawn_cell(cell, bonds),
            "primitive": _drawn_cell(primitive, find_bonds(primitive)) if smaller else None,
        },
        "descent": _finite(candidate.decoded.descent_energies),
        "relaxation": _finite(candidate.relaxed.energies if candidate.relaxed else ()),
        "pressed": bool(candidate.relaxed and candidate.relaxed.pressure),  # energies of the relaxation are enthalpies
        "pattern": [[round(x.two_theta, 3), round(x.intensity, 2), x.planes, round(x.spacing, 4)] for x in lines],
        "measured": None if candidate.pattern is None else _measured(candidate.pattern.fit),
    }


def _drawn_cell(cell: Crystal, bonds: Sequence[Bond]) -> dict[str, Any]:
    """Return lattice, atoms and bonds; a bond is given by two atoms and the lattice shift of the second."""
    return {
        "lattice": cell.lattice.round(5).tolist(),
        "symbols": [SYMBOLS[z] for z in cell.atomic_numbers],
        "radii": {SYMBOLS[z]: covalent_radius(z) for z in cell.composition.atomic_numbers},
        "frac": cell.frac_coords.round(5).tolist(),
        "bonds": [[bond.first, bond.second, *bond.image] for bond in bonds],
        "centres": polyhedron_centres(cell, bonds),
        "poscar": to_poscar(cell),
    }


def _measured(fit: PatternFit) -> dict[str, Any]:
    """Return the user's pattern, the fitted profile, and the lines below it."""
    return {
        "two_theta": [round(float(x), 4) for x in fit.two_theta],
        "observed": _short(fit.observed),
        "fit": _short(fit.profile),
        "lines": [
            [round(t.two_theta, 3), round(t.intensity, 2), f"({' '.join(map(str, t.planes))})"]
            for t in fit.ticks
            if t.intensity >= TICKS_SHOWN
        ],
    }


def _short(counts: Iterable[float]) -> list[float]:
    return [float(f"{count:.{COUNTS}g}") for count in counts]


def _finite(energies: tuple[float, ...]) -> list[float | None]:
    return [round(energy, 5) if isfinite(energy) else None for energy in energies]
