"""Invalid options are rejected by name, in the same words for all configurations."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace

import pytest

from lcoms.core.bounds import require
from lcoms.core.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "rule", "message"),
    [
        (0, "at_least_one", "toy option x must be at least 1, not 0"),
        (0.0, "positive", r"toy option x must be positive, not 0\.0"),
        (nan, "positive", "toy option x must be positive, not nan"),
        (-1, "not_negative", "toy option x must be zero or positive, not -1"),
        (nan, "not_negative", "must be zero or positive"),
    ],
)
def test_what_makes_no_sense_is_named(value: float, rule: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require(SimpleNamespace(x=value), "toy", **{rule: ["x"]})  # type: ignore[arg-type]


def test_choices_are_listed() -> None:
    with pytest.raises(ConfigError, match="toy option x must be on or off, not 'maybe'"):
        require(SimpleNamespace(x="maybe"), "toy", one_of={"x": ("on", "off")})


def test_options_that_are_not_given_pass() -> None:
    require(SimpleNamespace(x=None), at_least_one=["x"], positive=["x"], not_negative=["x"])


def test_names_that_say_enough_stand_alone() -> None:
    with pytest.raises(ConfigError, match=r"^x must be positive, not 0"):
        require(SimpleNamespace(x=0), positive=["x"])


def test_what_lies_at_the_bound_is_taken() -> None:
    config = SimpleNamespace(a=1, b=1e-9, c=0, d="on")
    require(config, "toy", at_least_one=["a"], positive=["b"], not_negative=["c"], one_of={"d": ("on",)})
