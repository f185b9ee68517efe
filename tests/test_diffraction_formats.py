"""GSAS banks, UXD and UDF files give the angles and counts that were written; what is not over two theta is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tiny import rock_salt

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, read_pattern
from lcoms.diffraction.simulate import Measurement, measured_pattern

COPPER = read_radiation("CuKa")
UDF = (
    "SampleIdent,salt,/\nTitle1,one\nAnode,Cu,/\nLabdaAlpha1, 1.54060,/\nLabdaAlpha2, 1.54439,/\n"
    "RatioAlpha21, 0.50000,/\nDataAngleRange,  20.0000,  60.0000,/\nScanStepSize,   0.050,/\nScanType,STEP,/\nRawScan\n"
)
UXD = "; (Data)\n_SAMPLE='salt'\n_WL1=1.540600\n_WL2=1.544390\n_DRIVE='COUPLED'\n_START=20.0\n_STEPSIZE=0.05\n"


@pytest.fixture(scope="module")
def pattern() -> PowderPattern:
    how = Measurement(first=20.0, last=60.0, step=0.05)
    made = measured_pattern(rock_salt(), COPPER, how, np.random.default_rng(0))
    return PowderPattern(made.two_theta, np.round(made.counts), COPPER)


def in_lines(fields: list[str], n: int) -> str:
    return "\n".join("".join(fields[at : at + n]) for at in range(0, len(fields), n)) + "\n"


def bank(pattern: PowderPattern, kind: str, *, start: float = 2000.0, binning: str = "CONST") -> str:
    n, y = len(pattern.counts), pattern.counts
    if kind == "STD":
        lines = in_lines([f"{'':2}{value:6.0f}" for value in y], 10)
    elif kind == "ESD":
        lines = in_lines([f"{value:8.1f}{value**0.5:8.2f}" for value in y], 5)
    else:
        x = start + 5.0 * np.arange(n)
        lines = "".join(f"{a:15.6g} {b:15.6g} {b**0.5:15.6g}\n" for a, b in zip(x, y, strict=True))
    return f"Rock salt\nBANK 1 {n} {lines.count(chr(10))} {binning} {start:.3f} 5.0 0 0 {kind}\n{lines}"


def uxd(pattern: PowderPattern, block: str) -> str:
    if block.startswith("_2THETA"):
        rows = [f"{x:.4f} {y:.0f}\n" for x, y in zip(pattern.two_theta, pattern.counts, strict=True)]
        return UXD + block + "\n" + "".join(rows)
    return UXD + block + "\n" + in_lines([f"{y:9.0f}" for y in pattern.counts], 8)


def udf(pattern: PowderPattern) -> str:
    return UDF + in_lines([f"{y:9.0f}," for y in pattern.counts], 8).rstrip(",\n") + "/\n"


def cif(pattern: PowderPattern, counts: str, name: str = "a") -> str:
    """Return a powder CIF whose loop has counts, with uncertainties, and calculated values, but no angles."""
    kind = "proc" if counts.startswith("proc") else "meas"
    start, end = pattern.two_theta[[0, -1]]
    head = f"data_{name}\n_diffrn_radiation_wavelength 1.5406\n_pd_{kind}_2theta_range_min {start:.2f}\n"
    head += f"_pd_{kind}_2theta_range_max {end:.2f}\n_pd_{kind}_2theta_range_inc 0.05\n"
    rows = "".join(f"{y!r}(2) {y / 2!r}\n" for y in pattern.counts.tolist())
    return f"{head}loop_\n_pd_{counts}\n_pd_calc_intensity_{'net' if 'calc' in counts else 'total'}\n{rows}"


FORMATS: dict[str, Callable[[PowderPattern], str]] = {
    "STD": lambda p: bank(p, "STD"),
    "ESD": lambda p: bank(p, "ESD"),
    "FXYE": lambda p: bank(p, "FXYE"),
    "UXD pairs": lambda p: uxd(p, "_2THETACOUNTS"),
    "UXD rates": lambda p: uxd(p, "_2THETACPS"),
    "UXD counts": lambda p: uxd(p, "_COUNTS"),
    "UDF": udf,
    "CIF range": lambda p: cif(p, "meas_counts_total"),
    "CIF range, processed": lambda p: cif(p, "proc_intensity_net"),
}


def read(tmp_path: Path, text: str, radiation: str = "CuKa") -> PowderPattern:
    path = tmp_path / "data.raw"
    path.write_text(text)
    return read_pattern(path, read_radiation(radiation))


@pytest.mark.parametrize("name", FORMATS)
def test_angles_are_in_degrees_and_counts_as_written(name: str, pattern: PowderPattern, tmp_path: Path) -> None:
    found = read(tmp_path, FORMATS[name](pattern))
    assert_allclose(found.two_theta, pattern.two_theta, atol=1e-4)
    assert_allclose(found.counts, pattern.counts, rtol=1e-5)


def test_a_compressed_pattern_is_read(pattern: PowderPattern, tmp_path: Path) -> None:
    path = tmp_path / "data.xy.gz"
    rows = (f"{x} {y}\n" for x, y in zip(pattern.two_theta, pattern.counts, strict=True))
    path.write_bytes(gzip.compress("".join(rows).encode()))
    assert_allclose(read_pattern(path, COPPER).counts, pattern.counts)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError, match=r"data\.xy\.gz: cannot be read \(damaged gzip file\)\.$"):
        read_pattern(path, COPPER)


def flight(pattern: PowderPattern) -> str:
    n = len(pattern.counts)
    rows = (f"{1000 * 1.003**i:.3f} {y} 1\n" for i, y in enumerate(pattern.counts))
    return f"Flight\nBANK 1 {n} {n} CONST 1000 3 0 0 FXYE\n{''.join(rows)}"


REFUSED: dict[str, tuple[Callable[[PowderPattern], str], str]] = {
    "two banks": (lambda p: bank(p, "STD") + bank(p, "STD").partition("\n")[2], "with 2 banks"),
    "times of flight": (lambda p: bank(p, "FXYE", binning="SLOG"), "SLOG bins is not over two theta"),
    "times in constant bins": (lambda p: bank(p, "FXYE", start=15000.0), "time-of-flight patterns cannot be fitted"),
    "times in proportional bins": (flight, "time-of-flight patterns cannot be fitted"),
    "a title of a flight": (lambda p: "TOF " + bank(p, "FXYE"), "is not over two theta"),
    "a missing point": (lambda p: bank(p, "FXYE").rsplit("\n", 2)[0], "states 801 points but has 800"),
    "another type": (lambda p: bank(p, "STD").replace(" STD", " ALT"), "type ALT"),
    "tabs": (lambda p: bank(p, "STD").replace("\n  ", "\n\t"), "tabs"),
    "seven digits": (
        lambda p: bank(PowderPattern(p.two_theta, p.counts * 100 + 1e5, COPPER), "STD").replace("  1", "121", 1),
        "more than six digits",
    ),
    "two scans": (lambda p: 2 * uxd(p, "_COUNTS"), "with 2 scans"),
    "a rocking curve": (lambda p: uxd(p, "_COUNTS").replace("COUPLED", "THETA"), "over THETA, not over two theta"),
    "no step": (lambda p: uxd(p, "_COUNTS").replace("_STEPSIZE=0.05\n", ""), "without _START and _STEPSIZE"),
    "half a pair": (lambda p: uxd(p, "_2THETACOUNTS") + "61.0\n", "ends with an angle without counts"),
    "reflections": (lambda p: uxd(p, "_2THETA-I"), "with _2THETA-I"),
    "another wavelength": (lambda p: uxd(p, "_COUNTS").replace("1.54", "1.79"), "states a wavelength of 1.79"),
    "too few counts": (lambda p: udf(p).replace("60.0000", "61.0000"), "801 counts in steps of 0.05"),
    "no range": (lambda p: udf(p).replace("DataAngleRange", "Range"), "without DataAngleRange"),
    "a range too short": (
        lambda p: cif(p, "meas_counts_total").replace("max 60", "max 59"),
        "801 counts in steps of 0.05",
    ),
    "a range without step": (lambda p: cif(p, "meas_counts_total").replace("inc 0.05", "inc ?"), "2theta_range_inc"),
    "two patterns": (lambda p: cif(p, "meas_counts_total") + cif(p, "meas_counts_total", "b"), "2 columns of measured"),
    "calculated counts": (lambda p: cif(p, "calc_intensity_total"), "0 columns of measured counts"),
    "a damaged CIF": (lambda p: cif(p, "meas_counts_total") + "loop_\n_a\n_b\n1\n", "a damaged powder CIF"),
    "another wavelength in CIF": (
        lambda p: cif(p, "meas_counts_total").replace("1.5406", "0.7093"),
        "states a wavelength of 0.7093",
    ),
    "counts alone": (
        lambda p: cif(p, "meas_counts_total").replace("2theta_range", "range"),
        "named as an axis",
    ),
    "words": (lambda p: udf(p).replace("RawScan\n", "RawScan\nmany, "), "in place of numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_in_a_sentence(name: str, pattern: PowderPattern, tmp_path: Path) -> None:
    made, said = REFUSED[name]
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path, made(pattern))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(("text", "name"), [(UXD + "_COUNTS\n5_6\n", "a.uxd"), (UDF + "5_6,/\n", "a.udf")])
def test_numbers_with_underscores_are_refused(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match="'5_6' in place of numbers"):
        read_pattern(tmp_path / name, COPPER)
