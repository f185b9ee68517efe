"""PANalytical's XRDML files: angles from the first to the last or listed, attenuation, wavelengths, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tiny import rock_salt

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, read_pattern
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.diffraction.xrdml import table_of_xrdml

COPPER = read_radiation("CuKa")
ENDS = "<startPosition>20.0</startPosition><endPosition>60.0</endPosition>"


@pytest.fixture(scope="module")
def pattern() -> PowderPattern:
    how = Measurement(first=20.0, last=60.0, step=0.05)
    return measured_pattern(rock_salt(), COPPER, how, np.random.default_rng(0))


def words(values: np.ndarray) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def file_of(counts: str, *, positions: str = ENDS, axis: str = "2Theta", more: str = "", scans: int = 1) -> str:
    scan = (
        f'<scan scanAxis="Gonio"><dataPoints><positions axis="Omega" unit="deg"/><positions axis="{axis}" unit="deg">'
        f"{positions}</positions><commonCountingTime>20</commonCountingTime>{counts}{more}</dataPoints></scan>"
    )
    lengths = '<kAlpha1 unit="Angstrom">1.5405980</kAlpha1><kAlpha2 unit="Angstrom">1.5444260</kAlpha2>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5">'
        f"<xrdMeasurement><usedWavelength>{lengths}</usedWavelength>{scan * scans}</xrdMeasurement></xrdMeasurements>"
    )


def read(tmp_path: Path, text: str, wavelength: str = "CuKa") -> PowderPattern:
    path = tmp_path / "scan.xrdml"
    path.write_text(text)
    return read_pattern(path, read_radiation(wavelength))


def test_angles_run_from_the_first_to_the_last(tmp_path: Path, pattern: PowderPattern) -> None:
    found = read(tmp_path, file_of(f'<intensities unit="counts">{words(pattern.counts)}</intensities>'))
    assert_allclose(found.two_theta, pattern.two_theta, atol=1e-9)
    assert_allclose(found.counts, pattern.counts, atol=1e-3)


def test_raw_counts_are_multiplied_by_the_attenuation(tmp_path: Path, pattern: PowderPattern) -> None:
    factors = np.where(pattern.two_theta < 40, 2.0, 1.0)
    more = f"<beamAttenuationFactors>{words(factors)}</beamAttenuationFactors>"
    found = read(tmp_path, file_of(f"<counts>{words(pattern.counts)}</counts>", more=more))
    assert_allclose(found.counts, pattern.counts * factors, atol=1e-2)


def test_angles_may_be_listed(tmp_path: Path, pattern: PowderPattern) -> None:
    angles = pattern.two_theta**1.001
    listed = f"<listPositions>{words(angles)}</listPositions>"
    found = read(tmp_path, file_of(f"<counts>{words(pattern.counts)}</counts>", positions=listed))
    assert_allclose(found.two_theta, angles, atol=1e-3)


def test_another_wavelength_than_that_of_the_file_is_rejected(tmp_path: Path, pattern: PowderPattern) -> None:
    text = file_of(f"<counts>{words(pattern.counts)}</counts>")
    with pytest.raises(FileFormatError, match=r"the header states a wavelength of 1\.540598 angstrom, but CoKa"):
        read(tmp_path, text, "CoKa")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (file_of("<counts>1 2</counts>", scans=2), "an XRDML file with 2 scans; export the scan"),
        (file_of("<counts>1 2</counts>", axis="Phi"), "not over two theta"),
        (file_of("<counts>1 2</counts>", positions=""), "not over two theta"),
        (file_of("<counts>1 two</counts>"), "counts are not numbers"),
        (file_of("<counts/>"), "counts has no numbers"),
        (file_of(""), "without counts"),
        (file_of("<counts>1 2</counts>", positions="<listPositions>20</listPositions>"), "1 angles but 2 counts"),
        (file_of("<counts>1 2</counts>", more="<beamAttenuationFactors>1</beamAttenuationFactors>"), "1 attenuation"),
        (file_of("<counts>1 2</counts>")[:-9], "a damaged XML file"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>" + file_of("<counts>1 2</counts>"), "a document type"),
        (file_of("<counts>1 2</counts>").replace('"2Theta" unit="deg"', '"2Theta" unit="rad"'), "two theta is in rad"),
    ],
)
def test_anything_else_is_rejected_in_a_sentence(text: str, what: str) -> None:
    with pytest.raises(FileFormatError, match=what):
        table_of_xrdml(text)


def test_counts_of_different_times_refer_to_one_time(tmp_path: Path, pattern: PowderPattern) -> None:
    times = np.where(pattern.two_theta < 40, 10.0, 40.0)
    counted = f"<intensities>{words(pattern.counts * times)}</intensities>"
    found = read(tmp_path, file_of(counted, more=f'<countingTimes unit="seconds">{words(times)}</countingTimes>'))
    assert_allclose(found.counts, pattern.counts * times.mean(), rtol=1e-6)
    with pytest.raises(FileFormatError, match="as many positive counting times"):
        read(tmp_path, file_of(counted, more="<countingTimes>1 2 3</countingTimes>"))


def test_the_anode_and_the_line_that_is_used_are_compared(tmp_path: Path, pattern: PowderPattern) -> None:
    text = file_of(f"<counts>{words(pattern.counts)}</counts>")
    bare = text.replace("<kAlpha", "<anodeMaterial>Co</anodeMaterial><kAlpha", 1).replace("kAlpha1", "k")
    with pytest.raises(FileFormatError, match="names Co radiation"):
        read(tmp_path, bare.replace("kAlpha2", "k"))
    beta = text.replace("<usedWavelength>", '<usedWavelength intended="K-Beta"><kBeta>1.39225</kBeta>')
    with pytest.raises(FileFormatError, match=r"states a wavelength of 1\.39225"):
        read(tmp_path, beta)


def test_a_detector_that_does_not_move_is_refused(tmp_path: Path, pattern: PowderPattern) -> None:
    text = file_of(f"<counts>{words(pattern.counts)}</counts>").replace(">60.0<", ">20.0<")
    with pytest.raises(FileFormatError, match="whose scan stays at 20 degrees two theta"):
        read(tmp_path, text)
