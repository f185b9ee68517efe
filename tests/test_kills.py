"""Commands that are repeatedly killed and restarted give the results of an undisturbed run."""

from __future__ import annotations

import pytest
from kill_jobs import NAMES
from kills import FORGETS, Outcome, harass

QUICKEST = ("ingest", "fetch")
COMMANDS = [pytest.param(name, marks=() if name in QUICKEST else pytest.mark.slow) for name in NAMES]
RESUMING = [pytest.param(name, marks=() if name == "ingest" else pytest.mark.slow) for name in NAMES]


def undisturbed(outcome: Outcome) -> tuple[int, int, int, list[str]]:
    return outcome.tried, outcome.survived, outcome.orphans, outcome.complaints


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str) -> None:
    assert undisturbed(harass(name, kills=2, seed=1)) == (2, 2, 0, [])


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_just_before_and_just_after_a_file_gets_its_name(name: str) -> None:
    assert undisturbed(harass(name, kills=4, seed=None)) == (4, 4, 0, [])


@pytest.mark.parametrize("name", RESUMING)
def test_a_command_that_never_resumes_does_not_pass(name: str) -> None:
    outcome = harass(name, kills=4, seed=None, patch=FORGETS)
    assert outcome.again
    assert outcome.survived < outcome.tried
