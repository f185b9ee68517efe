"""Scans of a range and counts in equal steps give the angles and counts as written; incomplete ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, read_pattern

ANGLES = np.arange(10, 80.001, 0.05)
HEIGHTS = 1000 * np.exp(-np.square((ANGLES - 40) / 0.2)) + 300 * np.exp(-np.square((ANGLES - 55) / 0.2))
COUNTS = np.round(120 + HEIGHTS + np.arange(len(ANGLES)) % 7)


def rows(n: int, form: str = "{:8.0f}", *, of: np.ndarray = COUNTS) -> str:
    words = [form.format(value) for value in of]
    return "\n".join("".join(words[at : at + n]) for at in range(0, len(words), n)) + "\n"


CPI = "SIETRONICS XRD SCAN\n10.00\n80.00\n0.050\nCu\n1.54056\n1-1-1900\n0.600\nHH117\nSCANDATA\n" + rows(1)
MDI = "02/12/92 06:28:28 DIF NaCl\n   10.00  0.050  1.0 CU 1.54060 80.00 1401\n" + rows(8)
ASC = (
    "*TYPE = Raw\n*TARGET = 29\n*WAVE_LENGTH1 = 1.54059\n*SCAN_AXIS = 2theta/theta\n*START = 10.0\n*STOP = 80.0\n"
    "*STEP = 0.05\n*COUNT = 1401\n" + rows(4, "{:.0f}, ") + "*END\n*EOF\n"
)
FREE = "  10.000   0.050   80.000  NaCl 300 K\n" + rows(10)
PSI = "DMC, NaCl\nlambda= 1.5406, T= 296.6\n 10.000  0.050  80.000  5000. , sample=x\n" + rows(10)
PSI += rows(10, "{:8.1f}", of=np.sqrt(COUNTS)) + " filelist='dmc/2003/dmc.hdf'\n"


def read(tmp_path: Path, text: str, radiation: str = "CuKa") -> PowderPattern:
    path = tmp_path / "data.dat"
    path.write_text(text)
    return read_pattern(path, read_radiation(radiation))


@pytest.mark.parametrize(
    "text",
    [
        CPI,
        MDI,
        ASC,
        FREE,
        PSI,
        "a title\n" + FREE,
        "NaCl\n10.0 80.0 0.05\n" + rows(8),
        "NaCl\n10.0 0.05 80.0\n" + rows(1),
        "10.0 0.05 80.0\n" + rows(2),
        "10.0 0.05 80.0 1.54056\n" + rows(3, " {:.3f}"),
    ],
)
def test_angles_run_over_the_stated_range(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, text)
    assert_allclose(found.two_theta, ANGLES, atol=1e-6)
    assert_allclose(found.counts, COUNTS)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CPI.rsplit("\n", 2)[0],
            "1400 counts in steps of 0.05 degrees do not run from 10 to 80; the file is incomplete",
        ),
        (CPI.partition("SCANDATA")[0], "without its range or without SCANDATA"),
        (CPI.replace("120", "12O", 1), "in place of numbers"),
        (CPI.replace("Cu\n1.54056", "Co\n1.78897"), "states a wavelength of 1.78897"),
        (MDI.rsplit("\n", 2)[0], "states 1401 points but has 1400"),
        (MDI.replace("CU 1.54060", "CO 1.78897"), "states a wavelength of 1.78897"),
        (ASC.replace("1401", "1400"), "states 1400 points but has 1401"),
        (ASC.replace("2theta/theta", "omega"), "a Rigaku scan over omega"),
        (ASC + ASC, "a Rigaku file with several scans"),
        (ASC.replace("*STEP = 0.05\n", ""), "without STEP"),
        (FREE.rsplit("\n", 2)[0], "counts in steps of 0.05 degrees do not run from 10 to 80"),
        ("neutrons, lambda 1.494\n" + FREE, "states a wavelength of 1.494"),
    ],
)
def test_incomplete_scans_and_other_radiation_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_columns_below_a_line_of_three_numbers_are_not_counts_in_equal_steps(tmp_path: Path) -> None:
    table = "".join(f"{x:.2f} {y:.0f} {y**0.5:.2f}\n" for x, y in zip(ANGLES, COUNTS, strict=True))
    for head in ("", "10.0 0.05 80.0\n"):
        found = read(tmp_path, head + table)
        assert_allclose(found.two_theta, ANGLES, atol=1e-6)
        assert_allclose(found.counts, COUNTS)
