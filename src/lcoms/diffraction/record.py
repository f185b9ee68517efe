"""A fit as plain numbers for JSON: lengths in angstrom, angles in degrees."""

from __future__ import annotations

from typing import Any

from lcoms.diffraction.fit import PatternFit
from lcoms.diffraction.posterior import explained_probability
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import EXACT_SYMPREC, conventional, space_group_number

TICKS_SHOWN = 0.1  # of 100; fainter lines are left out


def fit_record(fit: PatternFit) -> dict[str, Any]:
    """Return all results except the profiles; the cell is the conventional one."""
    lengths, angles = parameters_from_lattice(conventional(fit.crystal, symprec=EXACT_SYMPREC).lattice)
    return {
        "formula": fit.crystal.composition.reduced_formula,
        "space_group": space_group_number(fit.crystal, symprec=EXACT_SYMPREC),
        "explained_probability": round(explained_probability(fit), 6),
        "rwp": round(fit.rwp, 5),
        "rwp_without_background": round(fit.rwp_net, 5),
        "cosine": round(fit.cosine, 5),
        "zero_shift": round(fit.zero_shift, 5),
        "width": round(fit.width, 5),
        "fitted_up_to": round(float(fit.two_theta[-1]), 3),
        "volume_change": round(fit.scale_change, 5),
        "shape_change": round(fit.strain, 5),
        "absent": round(fit.absent, 4),
        "thermal_b": round(fit.thermal, 4),
        "texture": round(fit.texture, 4),
        "texture_axis": None if fit.texture_axis is None else list(fit.texture_axis),
        "cell": [*lengths.round(5).tolist(), *angles.round(4).tolist()],
        "unexplained": [{"two_theta": round(p.two_theta, 3), "height": round(p.height, 3)} for p in fit.unexplained],
        "lines": [
            {"two_theta": round(t.two_theta, 4), "hkl": list(t.planes), "intensity": round(t.intensity, 2)}
            for t in fit.ticks
            if t.intensity >= TICKS_SHOWN
        ],
    }
