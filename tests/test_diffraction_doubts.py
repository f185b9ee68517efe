"""Tables that would be read as another pattern: several scans, swapped columns, thousands, another radiation."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.core.errors import FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, parse_pattern

COPPER = read_radiation("CuKa")
ANGLES = np.arange(10, 80, 0.05)


def counts(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    heights = sum(1000 * np.exp(-np.square((ANGLES - at) / 0.2)) for at in random.uniform(15, 75, 8))
    return np.round(20 + heights + random.normal(0, 2, len(ANGLES)))


COUNTS = counts(0)


def table(*columns: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.6f}" for value in row) for row in zip(*columns, strict=True)) + "\n"


PLAIN = table(ANGLES, COUNTS)


def assert_as_measured(pattern: PowderPattern) -> None:
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-3)
    np.testing.assert_allclose(pattern.counts, COUNTS, atol=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.017])
@pytest.mark.parametrize("between", ["", "# the second sample\n"])
def test_two_patterns_in_one_file_are_rejected(shift: float, between: str) -> None:
    with pytest.raises(FileFormatError, match=r"several patterns: after 79\.95 the first column goes back to 10"):
        parse_pattern(PLAIN + between + table(ANGLES + shift, counts(1)), COPPER)


def test_pieces_of_one_pattern_and_repeated_scans_are_read() -> None:
    half = len(ANGLES) // 2
    pieces = table(ANGLES[:half], COUNTS[:half]) + table(ANGLES[half - 10 :], COUNTS[half - 10 :])
    assert_as_measured(parse_pattern(pieces, COPPER))
    repeated = parse_pattern(PLAIN + PLAIN, COPPER)
    assert_as_measured(repeated)
    assert repeated.notes == (f"{len(ANGLES)} points of the same angle are averaged",)


def test_the_order_of_points_does_not_matter() -> None:
    lines = np.random.default_rng(0).permutation(PLAIN.splitlines())
    assert_as_measured(parse_pattern("\n".join(lines), COPPER))


@pytest.mark.parametrize(
    ("form", "separator"),
    [("{:.2f}\t{:,.0f}", ","), ("{:.2f} {:,.0f}", ","), ("{:.2f};{:,.0f}", ","), ("{:.2f}\t{:,.0f}", " ")],
)
def test_separators_of_thousands_are_not_columns(form: str, separator: str) -> None:
    rows = (form.format(x, 100 * y).replace(",", separator) for x, y in zip(ANGLES, COUNTS, strict=True))
    with pytest.raises(FileFormatError, match="separators of thousands"):
        parse_pattern("\n".join(rows), COPPER)


@pytest.mark.parametrize(
    "form", ['{:.2f},"{:,.0f}"', '"{:.2f}","{:,.0f}"', '{:.2f};"{:,.0f}"', "{:.2f}\t{:,.1f}", "{:.2f} {:,.2f}"]
)
def test_separators_of_thousands_in_quotes_or_before_decimals_are_not_columns(form: str) -> None:
    rows = (form.format(x, 100 * y) for x, y in zip(ANGLES, COUNTS, strict=True))
    with pytest.raises(FileFormatError, match="separators of thousands"):
        parse_pattern("2theta counts\n" + "\n".join(rows), COPPER)


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u202f"])
def test_spaces_that_do_not_break_are_separators_of_thousands(space: str) -> None:
    rows = (f"{x:.2f} {100 * y:,.0f}".replace(",", space) for x, y in zip(ANGLES, COUNTS, strict=True))
    with pytest.raises(FileFormatError, match="separators of thousands"):
        parse_pattern("\n".join(rows), COPPER)


def test_quoted_columns_without_separators_of_thousands_are_read() -> None:
    rows = (f'"{x:.2f}","{y:.0f}"' for x, y in zip(ANGLES, COUNTS, strict=True))
    assert_as_measured(parse_pattern("\n".join(rows), COPPER))


def test_errors_before_counts_are_not_taken_for_them() -> None:
    errors = np.sqrt(COUNTS)
    assert_as_measured(parse_pattern(table(ANGLES, COUNTS, errors), COPPER))
    assert_as_measured(parse_pattern("2theta error counts\n" + table(ANGLES, errors, COUNTS), COPPER))
    with pytest.raises(FileFormatError, match="the square root of the third"):
        parse_pattern(table(ANGLES, errors, COUNTS), COPPER)


def test_zeros_beyond_the_measured_range_are_left_out_and_it_is_said() -> None:
    read = parse_pattern(table(ANGLES, np.where(ANGLES < 60, COUNTS, 0)), COPPER)
    assert read.two_theta[-1] < 60
    assert read.notes == ("400 points of zero counts before or after the pattern are left out",)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("# Anode: Co", "names Co radiation, but CuKa"),
        ("Tube anode material Mo, 40 kV", "names Mo radiation"),
        ('*HW_XG_TARGET_NAME "Co"', "give --wavelength CoKa"),
        ("_diffrn_radiation_type 'Co K\\a'", "names Co radiation"),
        ("# energy = 30.0 keV", "states a wavelength of 0.4132807 angstrom"),
        ("# wavelength: 0.5", "states a wavelength of 0.5 angstrom"),
        ("# wavelength 41.33 pm", "states a wavelength of 0.4133 angstrom"),
        ("# wavelength 0.178897 nm", "give --wavelength 1.78897"),
        ("# wavelength 1,7890", "states a wavelength of 1.789 angstrom"),
        ("# neutron diffraction", "says neutrons, but CuKa .X-rays."),
    ],
)
def test_another_radiation_in_the_header_is_rejected(header: str, said: str) -> None:
    with pytest.raises(FileFormatError, match=said):
        parse_pattern(f"{header}\n{PLAIN}", COPPER)


@pytest.mark.parametrize(
    "header",
    ["# Cu tube, Ni filter", "# Cu K\u03b1, 40 kV", "# 8 keV", "# 8.05 keV", "# wavelength 1.54",
     "# lambda (nm) 0.1542", "# sample Fe3O4, X-ray diffraction", "# wavelength 154.18 pm"],
)  # fmt: skip
def test_the_same_radiation_in_the_header_is_right(header: str) -> None:
    assert_as_measured(parse_pattern(f"{header}\n{PLAIN}", COPPER))


@pytest.mark.parametrize(
    ("name", "scale"), [("q_nm-1", 10), ("q_A^-1", 1), ("scattering vector (1/A)", 1), ("momentum transfer, 1/A", 1)]
)
def test_names_of_q(name: str, scale: float) -> None:
    q = 4 * np.pi * np.sin(np.radians(ANGLES / 2)) / COPPER.mean * scale
    header = f"# {name}\n"
    assert_as_measured(parse_pattern(header + table(q, COUNTS), COPPER))
