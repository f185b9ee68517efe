"""Commands that are killed and started again, over and over, end as if nobody had disturbed them."""

from __future__ import annotations

import pytest
from kills import NAMES, harass

QUICKEST = ("ingest", "fetch")
COMMANDS = [pytest.param(name, marks=() if name in QUICKEST else pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str) -> None:
    outcome = harass(name, kills=2, seed=1)
    assert (outcome.tried, outcome.survived, outcome.complaints) == (2, 2, [])


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_just_before_and_just_after_a_file_gets_its_name(name: str) -> None:
    outcome = harass(name, kills=6, seed=None)
    assert (outcome.tried, outcome.survived, outcome.complaints) == (6, 6, [])
