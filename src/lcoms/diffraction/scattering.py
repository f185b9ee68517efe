"""Scattering factors of atoms for X-rays and neutrons, from gemmi's tables.

X-rays: f(s) = sum a exp(-b s^2) + c + f' + i f'', s = sin(theta) / lambda (International Tables 1992, table 6.1.1.4;
dispersion after Cromer and Liberman 1981). Neutrons: bound coherent scattering lengths in fm (Neutron News 3, 1992);
gemmi has their real parts, and `ABSORBERS` the imaginary ones of elements that absorb neutrons strongly.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.diffraction.radiation import KEV_ANGSTROM, Radiation
from lcoms.structure.elements import SYMBOLS

ABSORBERS = {"B": -0.213, "Cd": -0.70, "In": -0.0539, "Sm": -1.65, "Eu": -1.26, "Gd": -13.82, "Dy": -0.276}  # fm


def scattering_factors(
    atomic_numbers: tuple[int, ...], radiation: Radiation, s: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Return factors (n_elements, n) at s = sin(theta) / lambda (n,) in 1/angstrom.

    Raises:
        ConfigError: an element is not in the tables.
    """
    neutrons, heavy = radiation.kind == "neutron", radiation.deuterated
    rows = [_neutron(z, heavy) if neutrons else _xray(z, radiation.wavelength) for z in atomic_numbers]
    heights = np.array([row[0] for row in rows])
    widths = np.array([row[1] for row in rows])
    constants = np.array([row[2] for row in rows])
    decays = np.exp(-widths[:, :, None] * np.square(s)[None, None, :])
    return np.asarray((heights[:, :, None] * decays).sum(1) + constants[:, None], dtype=np.complex128)


Factor = tuple[tuple[float, ...], tuple[float, ...], complex]


@cache
def _xray(atomic_number: int, wavelength: float) -> Factor:
    import gemmi

    table = gemmi.Element(atomic_number).it92
    if table is None:
        raise ConfigError(f"{SYMBOLS[atomic_number]}: no X-ray scattering factor is known.")
    coefficients = table.get_coefs()
    real, imaginary = gemmi.cromer_liberman(z=atomic_number, energy=1000 * KEV_ANGSTROM / wavelength)
    constant = complex(coefficients[8] + real, imaginary)
    return tuple(coefficients[:4]), tuple(coefficients[4:8]), constant


@cache
def _neutron(atomic_number: int, deuterated: bool) -> Factor:
    import gemmi

    element = gemmi.Element("D") if deuterated and atomic_number == 1 else gemmi.Element(atomic_number)
    length = element.neutron92.get_coefs()[0]
    if length == 0:
        raise ConfigError(f"{SYMBOLS[atomic_number]}: no neutron scattering length is known.")
    return (0.0,) * 4, (0.0,) * 4, complex(length, ABSORBERS.get(SYMBOLS[atomic_number], 0.0))
