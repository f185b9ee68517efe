"""Commands that are killed at random moments and started again end as if nobody had disturbed them."""

from __future__ import annotations

import pytest
from kills import NAMES, harass

QUICKEST = ("ingest", "fetch")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICKEST else pytest.mark.slow) for n in NAMES])
def test_killed_and_started_again(name: str) -> None:
    outcome = harass(name, kills=2, seed=1)
    assert (outcome.tried, outcome.survived, outcome.complaints) == (2, 2, [])
