"""Lines above, below and among the points of a table: nothing is taken for a point, and no point is lost in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, parse_pattern, read_pattern

COPPER = read_radiation("CuKa")
ANGLES = np.arange(10, 80.001, 0.05)
COUNTS = 20 + 1000 * np.exp(-np.square((ANGLES - 40) / 0.2)) + 300 * np.exp(-np.square((ANGLES - 55) / 0.2))


def table(*columns: np.ndarray, sep: str = " ", form: str = "{:.4f}") -> str:
    return "\n".join(sep.join(form.format(value) for value in row) for row in zip(*columns, strict=True)) + "\n"


PLAIN = table(ANGLES, COUNTS)


def assert_as_measured(pattern: PowderPattern) -> None:
    assert_allclose(pattern.two_theta, ANGLES, atol=1e-4)
    assert_allclose(pattern.counts, COUNTS, atol=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "IGOR\nWAVES/O tth, yobs\nBEGIN\n" + PLAIN + 'END\nX SetScale d 0,1,"", tth\n',
        "##NAMES=Halite\n##X-RAY WAVELENGTH=1.541838\n" + table(ANGLES, COUNTS, sep=", ") + "##END=\n",
        "NaCl CELL: 5.64\n1 1401 1.54056\n2theta Yobs Ycal\n" + table(ANGLES, COUNTS, COUNTS / 2),
        "2theta, I\n" + table(ANGLES, COUNTS, sep=", ").replace(".", ","),
        "1.54056\n" + PLAIN,
    ],
)
def test_lines_around_the_points_do_no_harm(text: str) -> None:
    assert_as_measured(parse_pattern(text, COPPER))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1401 2", "the first line, at 1401, is far from the pattern and is left out"),
        ("10 80", "the first line, 10 80, is the range of the pattern and is left out"),
    ],
)
def test_a_first_line_that_is_no_point_is_left_out_and_it_is_said(line: str, said: str) -> None:
    read = parse_pattern(f"{line}\n{PLAIN}", COPPER)
    assert_as_measured(read)
    assert read.notes == (said,)


@pytest.mark.parametrize("last", ["80.05", '"80.05";"l9"', "80.05 ********", "+80.05 x"])
def test_a_point_that_is_not_understood_is_no_remark(last: str) -> None:
    with pytest.raises(FileFormatError, match="line 1402 is not two numbers"):
        parse_pattern(PLAIN + last + "\n", COPPER)
    quoted = PLAIN.replace("30.0000 20.0000", '"30.0000" "2O.0000"')
    with pytest.raises(FileFormatError, match="line 401 is not two numbers"):
        parse_pattern(quoted, COPPER)


def test_a_wavelength_alone_on_the_first_line_is_compared() -> None:
    with pytest.raises(FileFormatError, match=r"states a wavelength of 0\.79986"):
        parse_pattern("0.79986\n" + PLAIN, COPPER)


@pytest.mark.parametrize("header", ["Anode: Ga", "Anode material,W", 'anode "In"'])
def test_anodes_without_a_name_here_are_noticed(header: str) -> None:
    with pytest.raises(FileFormatError, match="radiation, but CuKa is to be used; give the --wavelength in angstrom"):
        parse_pattern(f"{header}\n{PLAIN}", COPPER)


def test_another_inverse_length_is_not_taken_for_q() -> None:
    with pytest.raises(FileFormatError, match=r"named 's \(1/a\) i'; two theta, d and Q can be read"):
        parse_pattern("s (1/A) I\n" + PLAIN, COPPER)


def test_attenuated_counts_are_not_to_be_divided() -> None:
    text = "2theta,counts,attenuator\n" + table(ANGLES, COUNTS, 1.0 + (ANGLES > 50), sep=",")
    with pytest.raises(FileFormatError, match="'attenuator' varies from point to point; correct the counts for it"):
        parse_pattern(text, COPPER)


def test_points_on_the_other_side_of_the_beam_are_left_out_and_it_is_said() -> None:
    read = parse_pattern(table(ANGLES - 12.02, COUNTS), COPPER)
    assert read.two_theta[0] == pytest.approx(0.03)
    assert read.notes == ("41 points below zero degrees are left out",)
    with pytest.raises(FileFormatError, match="must lie between 0 and 180"):
        parse_pattern(table(ANGLES - 45, COUNTS), COPPER)


@pytest.mark.parametrize("seed", range(5))
def test_a_list_of_reflections_is_no_profile(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles, heights = np.sort(random.uniform(10, 80, 120)), random.exponential(20, 120)
    with pytest.raises(FileFormatError, match="as in a list of reflections"):
        parse_pattern("2theta I\n" + table(angles, heights), COPPER)


def test_uneven_steps_of_a_profile_are_read() -> None:
    random = np.random.default_rng(0)
    angles = np.sort(random.uniform(10, 80, 2000)).round(4)
    counts = np.interp(angles, ANGLES, COUNTS)
    assert len(parse_pattern(table(angles, counts), COPPER).counts) == len(np.unique(angles))
    interleaved = np.sort(np.concatenate([ANGLES, ANGLES + 0.013]))
    counts = 50 + random.normal(0, 5, len(interleaved)) + 200 * np.exp(-np.square((interleaved - 40) / 0.2))
    assert len(parse_pattern(table(interleaved, counts), COPPER).counts) == len(interleaved)


def test_several_counts_per_line_are_refused() -> None:
    with pytest.raises(FileFormatError, match="JCAMP-DX data with several counts per line"):
        parse_pattern_file("##TITLE=x\n##XYDATA=(X++(Y..Y))\n10 1 2 3\n")


def parse_pattern_file(text: str) -> PowderPattern:
    from lcoms.diffraction.reading import _decoded

    return parse_pattern(_decoded(text.encode()), COPPER)


LOOP = "loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n_pd_calc_intensity_total\n"
REFLECTIONS = "loop_\n_refln_index_h\n_refln_index_k\n_refln_F_squared_meas\n1 1 23.0\n2 0 55\n"


@pytest.mark.parametrize(
    "text",
    [
        "data_x\n" + REFLECTIONS + LOOP + table(ANGLES, COUNTS, COUNTS / 2),
        "data_x\n" + LOOP + table(ANGLES, COUNTS, COUNTS / 2) + REFLECTIONS,
        "data_x\n" + LOOP + table(ANGLES, COUNTS, COUNTS / 2, sep="\n"),
        "data_x\n_diffrn_radiation_wavelength 1.5406\ndata_y\n" + LOOP + table(ANGLES, COUNTS, COUNTS / 2),
        "data_x\n" + LOOP.replace("_pd_calc", "_pd_meas_detector_id\n_pd_calc") + PLAIN.replace("\n", " A 1\n"),
        "data_x\nloop_\n_pd_proc_2theta_corrected\n_pd_calc_intensity_net\n" + table(ANGLES, COUNTS / 2) + LOOP
        + table(ANGLES, COUNTS, COUNTS / 2),
        "data_x\nloop_\n_diffrn_radiation_wavelength_id\n_diffrn_radiation_wavelength\n1 1.5406\n2 1.5444\n" + LOOP
        + table(ANGLES, COUNTS, COUNTS / 2),
    ],
)  # fmt: skip
def test_the_measured_loop_of_a_powder_cif_is_found(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    path.write_text(text)
    assert_as_measured(read_pattern(path, COPPER))


def test_several_patterns_and_wavelengths_of_a_powder_cif_are_refused(tmp_path: Path) -> None:
    path, points = tmp_path / "x.cif", table(ANGLES, COUNTS, COUNTS / 2)
    path.write_text(f"data_x\n{LOOP}{points}data_y\n{LOOP}{points}")
    with pytest.raises(FileFormatError, match="a powder CIF with 2 patterns; keep one"):
        read_pattern(path, COPPER)
    path.write_text(f"data_x\n_diffrn_radiation_type 'Co K\\a'\n{REFLECTIONS}{LOOP}{points}")
    with pytest.raises(FileFormatError, match="names Co radiation"):
        read_pattern(path, COPPER)
