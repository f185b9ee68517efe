"""Headers of powder patterns: axes, units, wavelengths and columns are used as stated, or the file is rejected."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, parse_pattern

COPPER = read_radiation("CuKa")
ANGLES = np.arange(10, 80, 0.05)
COUNTS = 20 + 1000 * np.exp(-np.square((ANGLES - 40) / 0.2)) + 300 * np.exp(-np.square((ANGLES - 55) / 0.2))
INVERSE = 2 * np.sin(np.radians(ANGLES / 2)) / COPPER.mean


def table(*columns: np.ndarray, sep: str = " ") -> str:
    return "\n".join(sep.join(f"{value:.6f}" for value in row) for row in zip(*columns, strict=True)) + "\n"


def assert_as_measured(pattern: PowderPattern) -> None:
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-3)
    np.testing.assert_allclose(pattern.counts, COUNTS, atol=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "counts,2theta\n" + table(COUNTS, ANGLES, sep=","),
        "# I(obs)  2Theta\n" + table(COUNTS, ANGLES),
        "q(nm-1) I\n" + table(20 * np.pi * INVERSE, COUNTS),
        "Q [1/nm],I\n" + table(20 * np.pi * INVERSE, COUNTS, sep=","),
        "d [nm]\tI\n" + table(0.1 / INVERSE, COUNTS, sep="\t"),
        '"2theta","counts"\n' + table(ANGLES, COUNTS, sep='","').replace("\n", '"\n').replace("\n1", '\n"1'),
        "data_x\nloop_\n_pd_meas_2theta_scan\n_pd_calc_intensity_total\n_pd_meas_counts_total\n"
        + table(ANGLES, COUNTS / 2, COUNTS),
        "data_x\nloop_\n_pd_proc_point_id\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n"
        + table(np.arange(len(ANGLES)), ANGLES, COUNTS),
        "loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n" + table(ANGLES, COUNTS).replace("\n", "(3)\n"),
        "*RAS_INT_START\n" + table(ANGLES, COUNTS / (1 + (ANGLES > 50)), 1.0 + (ANGLES > 50)) + "*RAS_INT_END\n",
        "K-Alpha1 wavelength,1.5405980\nK-Alpha2 wavelength,1.544426\nK-Beta wavelength,1.392250\n"
        "Angle,Intensity\n" + table(ANGLES, COUNTS, sep=","),
        "# wavelength 0.15406 nm\n" + table(ANGLES, COUNTS),
        "#S 1 ascan tth 10 80 1400 1\n#L TwoTheta  Epoch  Monitor  Detector\n"
        + table(ANGLES, np.arange(len(ANGLES)), 0 * ANGLES + 1000, COUNTS),
        "# theta scan\n" + table(ANGLES, COUNTS),
        "Bragg angle 2theta,Intensity\n" + table(ANGLES, COUNTS, sep=","),
        "# 2th_rad I\n" + table(np.radians(ANGLES), COUNTS),
        "2theta,intensity\nrad,counts\n" + table(np.radians(ANGLES), COUNTS, sep=","),
        "Q (Inverse Nanometres)\nIntensity\n" + table(20 * np.pi * INVERSE, COUNTS),
        "q (bohr^-1),I\n" + table(2 * np.pi * 0.529177 * INVERSE, COUNTS, sep=","),
        "d in nm,I\n" + table(0.1 / INVERSE, COUNTS, sep=","),
        "d (pm),I\n" + table(100 / INVERSE, COUNTS, sep=","),
        "# wavelength [nm]: 0.15406\nd,I\n" + table(1 / INVERSE, COUNTS, sep=","),
        "# lambda/nm = 0.15406\nQ,I\n" + table(2 * np.pi * INVERSE, COUNTS, sep=","),
        "# Wavelength: 1.5406e-10 m\n" + table(ANGLES, COUNTS),
        "# Threshold energy: 4024 eV\n" + table(ANGLES, COUNTS),
        '"x","y_obs","weight","y_calc","y_bkg","Q"\n'
        + table(ANGLES, COUNTS, COUNTS, COUNTS / 2, COUNTS / 3, 2 * np.pi * INVERSE, sep=","),
        "data_x\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n_pd_calc_intensity_total\n"
        + table(ANGLES, COUNTS).replace("\n", " .\n"),
        table(ANGLES, COUNTS).replace(" ", "D+00 ").replace("\n", "D+00\n"),
        "\n".join(f'"{x:.3f}";"{y:.4f}"'.replace(".", ",") for x, y in zip(ANGLES, COUNTS, strict=True)),
        "# theta-2theta scan, lambda/2 below 0.05\nTime of day 12\n" + table(ANGLES, COUNTS),
    ],
)
def test_columns_and_units_are_those_of_the_header(text: str) -> None:
    assert_as_measured(parse_pattern(text, COPPER))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theta I\n" + table(ANGLES / 2, COUNTS), "named 'theta'.*double the angles"),
        ("Theta [deg]\tIntensity\n" + table(ANGLES / 2, COUNTS, sep="\t"), "double the angles"),
        ("omega counts\n" + table(ANGLES, COUNTS), "named 'omega'"),
        ("energy(keV),counts\n" + table(ANGLES, COUNTS, sep=","), "two theta, d and Q can be read"),
        ("phi,counts\n" + table(ANGLES, COUNTS, sep=","), "named 'phi'"),
        ("# chi_deg I\n" + table(ANGLES, COUNTS), "named 'chi deg'"),
        ("r_mm I\n" + table(ANGLES, COUNTS), "named 'r mm'"),
        ("r G(r)\n" + table(ANGLES, COUNTS), "named 'r'"),
        ("Temperature (C),Heat flow (mW)\n" + table(ANGLES, COUNTS, sep=","), "named 'temperature"),
        ("Raman shift (cm-1),Intensity\n" + table(ANGLES, COUNTS, sep=","), "named 'raman"),
        ("t(us) I\n" + table(ANGLES, COUNTS), "named 't"),
        ("Bragg angle,I\n" + table(ANGLES / 2, COUNTS, sep=","), "double the angles"),
        ("Angle (theta),I\n" + table(ANGLES / 2, COUNTS, sep=","), "double the angles"),
        ("d* (1/A),I\n" + table(INVERSE, COUNTS, sep=","), "two theta, d and Q can be read"),
        ("2theta (mrad),I\n" + table(ANGLES, COUNTS, sep=","), "is in mrad"),
        (
            "loop_\n_pd_meas_time_of_flight\n_pd_meas_intensity_total\n" + table(ANGLES, COUNTS),
            "named 'pd meas time of flight'",
        ),
        ('*MEAS_SCAN_AXIS_X "Omega"\n' + table(ANGLES, COUNTS), "a scan over Omega"),
        ("# The X-axis unit is: Time-of-flight\n" + table(ANGLES, COUNTS), "a scan over Time-of-flight"),
        ("#S 1 ascan omega 10 80 1400 1\n" + table(ANGLES, COUNTS), "a scan over omega"),
        ("#L Omega  Detector\n" + table(ANGLES, COUNTS), "named 'omega'"),
        ("# synchrotron data\n" + table(ANGLES, COUNTS), "says synchrotron, but CuKa"),
        ("# electron diffraction\n" + table(ANGLES, COUNTS), "says electron diffraction"),
        ("Scan axis,Phi\nAngle,Intensity\n" + table(ANGLES, COUNTS, sep=","), "a scan over Phi"),
        ("2theta,lnI\n" + table(ANGLES, np.log(COUNTS), sep=","), "on a linear scale"),
        ("2theta,I^0.5\n" + table(ANGLES, np.sqrt(COUNTS), sep=","), "on a linear scale"),
        ("2theta,counts,monitor\n" + table(ANGLES, COUNTS, 1.0 + (ANGLES > 50), sep=","), "named 'monitor' varies"),
        ("2theta,d\n" + table(ANGLES, 1 / INVERSE, sep=","), "no column is named as counts"),
        ("# photon energy: 30000 eV\n" + table(ANGLES, COUNTS), "wavelength of 0.4132807"),
        ("# Energy [keV]: 30.0\n" + table(ANGLES, COUNTS), "wavelength of 0.4132807"),
        ("# Wellenl\u00e4nge: 0,4133\n" + table(ANGLES, COUNTS), "wavelength of 0.4133"),
        ("# Wavelength: 4.133e-11 m\n" + table(ANGLES, COUNTS), "wavelength of 0.4133"),
        ("Anode material,Mo\n" + table(ANGLES, COUNTS), "names Mo radiation"),
        ("# X-ray source: Cobalt\n" + table(ANGLES, COUNTS), "names Co radiation"),
        ("1/d I\n" + table(INVERSE, COUNTS), "named '1/d'"),
        ("sin(theta)/lambda I\n" + table(INVERSE / 2, COUNTS), "two theta, d and Q can be read"),
        ("2theta log(I)\n" + table(ANGLES, np.log10(COUNTS)), "on a linear scale"),
        ("2theta,sqrt(counts)\n" + table(ANGLES, np.sqrt(COUNTS), sep=","), "on a linear scale"),
        ("# wavelength = 0.4959\n" + table(ANGLES, COUNTS), "wavelength of 0.4959 angstrom, but CuKa"),
        ('*HW_XG_WAVE_LENGTH_ALPHA1 "1.788965"\n' + table(ANGLES, COUNTS), "give --wavelength 1.788965"),
        ("_WL1=0.7093\n" + table(ANGLES, COUNTS), "wavelength of 0.7093"),
        ("K-Alpha1 [\u00c5]: 1.78901\n" + table(ANGLES, COUNTS), "wavelength of 1.78901"),
        (
            "\n".join(f"{x:.2f},{y:.0f}".replace(".", ",") for x, y in zip(ANGLES, COUNTS, strict=True)),
            "decimal points",
        ),
    ],
)
def test_other_axes_scales_and_wavelengths_are_refused(text: str, said: str) -> None:
    with pytest.raises(FileFormatError, match=said):
        parse_pattern(text, COPPER)


def test_a_wrong_name_of_the_axis_is_overridden() -> None:
    assert_as_measured(parse_pattern("theta I\n" + table(ANGLES, COUNTS), COPPER, axis="two-theta"))


def test_a_choice_among_columns_and_negative_counts_are_said() -> None:
    text = "2theta sampleA sampleB\n" + table(ANGLES, COUNTS, COUNTS[::-1])
    assert parse_pattern(text, COPPER).notes == ("counts are read from column 2, samplea",)
    text = table(ANGLES, COUNTS, COUNTS[::-1])
    assert "is not used" in parse_pattern(text, COPPER).notes[0]
    text = "2theta Icalc\n" + table(ANGLES, COUNTS)
    assert parse_pattern(text, COPPER).notes == ("counts are read from column 2, icalc",)
    text = "NaCl\n1.54056 1.54439\n" + table(ANGLES, COUNTS)
    assert "1.54056, is far from the pattern" in parse_pattern(text, COPPER).notes[0]
    text = table(ANGLES, np.where(np.arange(len(ANGLES)) % 100, COUNTS, -1))
    assert parse_pattern(text, COPPER).notes == ("14 counts are negative and are used as they are",)


@pytest.mark.parametrize("after", ["loop_\n_refln_h\n_refln_k\n1 1\n2 0\n", "data_y\n" + table(ANGLES, COUNTS)])
def test_numbers_of_another_loop_are_not_points_of_the_pattern(after: str) -> None:
    text = "data_x\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n" + table(ANGLES, COUNTS)
    assert_as_measured(parse_pattern(text + "loop_\n_atom_site_label\nNa1\n", COPPER))
    with pytest.raises(FileFormatError, match="second table of numbers; keep the loop of the pattern"):
        parse_pattern(text + after, COPPER)
