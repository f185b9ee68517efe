"""Numbers are those in plain digits."""

from __future__ import annotations

import pytest

from lcoms.core.errors import ConfigError
from lcoms.core.numerals import percent, real, rounded
from lcoms.prediction.known_cell import check_cell, read_cell


@pytest.mark.parametrize(("text", "value"), [("5.6", 5.6), (" -1e-3 ", -1e-3), ("+2", 2.0)])
def test_plain_numbers(text: str, value: float) -> None:
    assert real(text) == value


@pytest.mark.parametrize("text", ["5_6", "1_000.5", "\u0665", "\uff15", "5,6", ""])
def test_what_is_no_plain_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number|could not convert"):
        real(text)


def test_a_cell_is_not_read_across_an_underscore() -> None:
    with pytest.raises(ConfigError, match="is not a cell"):
        read_cell("5_6 5 5 90 90 90")


def test_angles_before_lengths_are_rejected() -> None:
    with pytest.raises(ConfigError, match="the lengths come first, then the angles"):
        check_cell((90.0, 90.0, 90.0, 5.64, 5.64, 5.64), 0.05)
    check_cell((60.0, 60.0, 5.0, 90.0, 90.0, 120.0), 0.05)
    check_cell((10.5, 10.5, 10.5, 24.2, 24.2, 24.2), 0.05)


def test_a_probability_below_one_is_never_said_to_be_certain() -> None:
    assert [percent(p) for p in (0.0, 0.834, 0.994, 0.9978, 1.0)] == ["0%", "83%", "99%", ">99%", "100%"]
    assert [rounded(p, "{:.2f}", ">0.99") for p in (0.994, 0.9978, 1.0)] == ["0.99", ">0.99", "1.00"]
