"""Patterns are read with any columns, order and separators; anything else is rejected in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt

from lcoms.core.errors import ConfigError, FileFormatError
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern, parse_pattern, read_pattern
from lcoms.diffraction.simulate import Measurement, measured_pattern

COPPER = read_radiation("CuKa")


@pytest.fixture(scope="module")
def pattern() -> PowderPattern:
    how = Measurement(first=20.0, last=60.0, step=0.05)
    return measured_pattern(rock_salt(), COPPER, how, np.random.default_rng(0))


def text_of(pattern: PowderPattern, form: str = "{:.3f} {:.1f}", *, header: str = "", axis: str = "two-theta") -> str:
    x = pattern.two_theta
    inverse = 2 * np.sin(np.radians(x / 2)) / COPPER.mean
    x = {"two-theta": x, "d": 1 / inverse, "q": 2 * np.pi * inverse}[axis]
    return header + "\n".join(form.format(*pair) for pair in zip(x, pattern.counts, strict=True)) + "\n"


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("{:.3f} {:.1f}", ""),
        ("{:.3f},{:.1f}", "2theta,counts\n"),
        ("{:.3f}, {:.1f}", "# from the laboratory\n# 2 theta, counts\n"),
        ("{:.3f}\t{:.1f}", "Angle\tPSD\n"),
        ("{:.3f};{:.1f}", ""),
        ("  {:.3f}   {:.1f}  3.0", "! an xye file\n"),
        ("{:.3f} {:.1f}", "20.0 0.05 60.0\n"),
        ("{:.3f} {:.1f}", "'a title'\n\n"),
    ],
)
def test_columns_separators_and_headers(pattern: PowderPattern, form: str, header: str) -> None:
    read = parse_pattern(text_of(pattern, form, header=header), COPPER)
    np.testing.assert_allclose(read.two_theta, pattern.two_theta, atol=1e-3)
    np.testing.assert_allclose(read.counts, pattern.counts)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_line_endings(pattern: PowderPattern, tmp_path: Path, encoding: str, ending: str) -> None:
    path = tmp_path / "data.xy"
    path.write_bytes((text_of(pattern) + "\x1a").replace("\n", ending).encode(encoding))
    np.testing.assert_allclose(read_pattern(path, COPPER).counts, pattern.counts)


def test_decimal_commas(pattern: PowderPattern) -> None:
    text = text_of(pattern, "{:.3f};{:.1f}").replace(".", ",")
    np.testing.assert_allclose(parse_pattern(text, COPPER).two_theta, pattern.two_theta, atol=1e-3)


def test_order_does_not_matter(pattern: PowderPattern) -> None:
    lines = text_of(pattern).splitlines()
    read = parse_pattern("\n".join(reversed(lines)), COPPER)
    np.testing.assert_allclose(read.counts, pattern.counts)


@pytest.mark.parametrize("axis", ["d", "q"])
@pytest.mark.parametrize("by_header", [True, False])
def test_spacings_become_angles(pattern: PowderPattern, axis: str, by_header: bool) -> None:
    header = {"d": "d (angstrom), counts\n", "q": "# Q (1/A)  I\n"}[axis] if by_header else ""
    read = parse_pattern(
        text_of(pattern, "{:.8f} {:.1f}", header=header, axis=axis), COPPER, axis=None if by_header else axis
    )
    np.testing.assert_allclose(read.two_theta, pattern.two_theta, atol=1e-4)
    np.testing.assert_allclose(read.counts, pattern.counts)


def test_spacings_without_a_header_are_not_taken_for_angles(pattern: PowderPattern) -> None:
    with pytest.raises(FileFormatError, match="--axis d or --axis q"):
        parse_pattern(text_of(pattern, axis="d"), COPPER)


def test_angles_are_not_taken_for_spacings(pattern: PowderPattern) -> None:
    """As spacings they would all lie in the first degrees, where no crystal has lines."""
    with pytest.raises(FileFormatError, match="use --axis two-theta"):
        parse_pattern(text_of(pattern), COPPER, axis="d")


def test_a_narrow_range_is_fitted_only_on_request(pattern: PowderPattern) -> None:
    lines = [line for line in text_of(pattern).splitlines() if float(line.split()[0]) < 30]
    with pytest.raises(FileFormatError, match="the range is too narrow"):
        parse_pattern("\n".join(lines), COPPER)
    assert parse_pattern("\n".join(lines), COPPER, axis="two-theta").two_theta[-1] < 30


def test_points_of_one_angle_are_averaged_and_it_is_said(pattern: PowderPattern) -> None:
    text = text_of(pattern)
    read = parse_pattern(text + text.splitlines()[0] + "\n", COPPER)
    assert len(read.two_theta) == len(pattern.two_theta)
    assert read.notes == ("1 points of the same angle are averaged",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no line has two numbers"),
        ("nothing\nof use\n", "no line has two numbers"),
        ("20 1\n21 2\nend\n22 3\n", "line 3 is not two numbers"),
        ("20 1 1 1\n21 2 1 1\n", "4 columns"),
        ("20 1\n21 2\n22 3 4\n", "2 or 3 columns"),
        ("\n".join(f"{20 + i} 5" for i in range(20)), "only 20 points"),
        ("\n".join(f"{20 + i / 10} 5" for i in range(200)), "all counts are the same"),
        ("\n".join(f"{20 + i / 10} {-i % 7 - 9}" for i in range(200)), "no counts are positive"),
        ("2theta\n" + "\n".join(f"{20 + i / 1000} {i % 7}" for i in range(200)), "0.2 degrees only"),
        ("\n".join(f"{i} 5" for i in range(200)), "must lie between 0 and 180"),
        ("\n".join(f"{20 + i / 10} nan" for i in range(200)), "not finite"),
        ("<?xml version='1.0'?><other/>", "not a table"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "data.xy"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=sentence) as caught:
        read_pattern(path, COPPER)
    assert str(caught.value).startswith(str(path))


def test_noise_alone_is_no_pattern() -> None:
    counts = np.random.default_rng(0).poisson(100, 2000)
    text = "\n".join(f"{20 + i / 50} {n}" for i, n in enumerate(counts))
    with pytest.raises(FileFormatError, match="no reflection rises above the noise"):
        parse_pattern(text, COPPER)


def test_binary_missing_files_and_unknown_axes(tmp_path: Path) -> None:
    path = tmp_path / "scan.raw"
    path.write_bytes(b"RAW1.01\x00\x00\x01")
    with pytest.raises(FileFormatError, match="a binary file; export the pattern as text"):
        read_pattern(path, COPPER)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_pattern(tmp_path / "none.xy", COPPER)
    with pytest.raises(ConfigError, match="is not an axis of a powder pattern"):
        read_pattern(path, COPPER, axis="energy")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ("2theta,d,counts", "adc"),
        ("index,2theta,counts", "nac"),
        ("d,2theta,intensity", "dac"),
        ("# 2theta (deg)\tIobs\tIcalc\tdifference", "acnd"),
        ("point  angle  sigma  counts", "nanc"),
    ],
)
def test_columns_are_taken_by_their_names(names: str, order: str) -> None:
    two_theta = np.linspace(10, 80, 300)
    counts = 20 + 1000 * np.exp(-0.5 * np.square((two_theta - 40) / 0.5)) + two_theta % 3
    columns = {"a": two_theta, "c": counts, "n": np.arange(300), "d": 0.77 / np.sin(np.radians(two_theta / 2))}
    text = names + "\n" + "\n".join(",".join(f"{columns[one][at]:.4f}" for one in order) for at in range(300))
    found = parse_pattern(text, read_radiation("CuKa1"))
    if order == "dac":  # the first axis that is named
        assert found.two_theta[[0, -1]] == pytest.approx([10, 80], abs=0.05)
    else:
        assert found.two_theta == pytest.approx(two_theta, abs=1e-3)
    assert found.counts == pytest.approx(counts, abs=1e-3)


def test_a_second_column_that_cannot_be_counts_is_not_taken_for_them() -> None:
    rows = [f"{x:.3f} {0.77 / np.sin(np.radians(x / 2)):.4f} {100 + x % 7:.1f}" for x in np.linspace(10, 80, 300)]
    with pytest.raises(FileFormatError, match="is monotonic"):
        parse_pattern("\n".join(rows), read_radiation("CuKa1"))
