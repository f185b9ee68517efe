"""Radiation is read by name and by number; anything else is rejected in a sentence."""

from __future__ import annotations

import pytest

from lcoms.core.errors import ConfigError
from lcoms.diffraction.radiation import read_radiation


@pytest.mark.parametrize(
    ("text", "name", "wavelength", "second"),
    [
        ("CuKa", "CuKa", 1.54056, 1.54439),
        ("cu k-alpha", "CuKa", 1.54056, 1.54439),
        ("Cu K alpha 1", "CuKa1", 1.54056, None),
        ("CuKbeta", "CuKb", 1.39222, None),
        ("CuKalpha1+CuKalpha2", "CuKa", 1.54056, 1.54439),
        ("CuKα1", "CuKa1", 1.54056, None),
        ("CuKa1+CuKa2", "CuKa", 1.54056, 1.54439),
        ("CuKa1+2", "CuKa", 1.54056, 1.54439),
        ("1.5418", "CuKa", 1.54056, 1.54439),
        ("1.54", "CuKa", 1.54056, 1.54439),
        ("0.71", "MoKa", 0.7093, 0.71359),
        ("1.540", "synchrotron 1.54", 1.54, None),
        ("1.5406", "CuKa1", 1.5406, None),
        ("CoKa", "CoKa", 1.78896, 1.79285),
        ("AgKa1", "AgKa1", 0.559421, None),
        ("CuKb", "CuKb", 1.39222, None),
        ("0.4586", "synchrotron 0.4586", 0.4586, None),
        ("0.4586 angstrom", "synchrotron 0.4586", 0.4586, None),
        ("30 keV", "synchrotron 0.413281", 0.41328, None),
        ("30000 eV", "synchrotron 0.413281", 0.41328, None),
        ("CuK\u03b1\u2081", "CuKa1", 1.54056, None),
        ("neutron 1.54", "neutron 1.54", 1.54, None),
        ("neutron:2.41", "neutron 2.41", 2.41, None),
        ("neutron 2.41 D", "neutron 2.41 D", 2.41, None),
        ("neutron 2.41A deuterated", "neutron 2.41 D", 2.41, None),
    ],
)
def test_names_and_numbers(text: str, name: str, wavelength: float, second: float | None) -> None:
    radiation = read_radiation(text)
    assert radiation.name == name
    assert radiation.wavelength == pytest.approx(wavelength, abs=1e-5)
    assert radiation.second == second


def test_only_a_synchrotron_is_polarised() -> None:
    assert read_radiation("0.8").polarised
    assert not any(read_radiation(text).polarised for text in ("CuKa", "1.5406", "neutron 0.8"))


@pytest.mark.parametrize(
    "text", ["", "XxKa", "copper", "CuKa3", "CuKa1+CoKa2", "-1", "0", "154", "neutron", "nan", "1.2.3", "neutron 8 keV"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"radiation|wavelength"):
        read_radiation(text)
