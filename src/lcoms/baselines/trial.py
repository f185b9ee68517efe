"""What a searcher proposes, what comes of it, and both as JSON that gives every number back to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lcoms.structure.crystal import Crystal, crystal_from_dict, crystal_to_dict


class Answer(NamedTuple):
    """An energy in eV/atom, NaN where there is none, and the crystal it is of: the one asked about, relaxed or not."""

    energy_per_atom: float
    crystal: Crystal


EnergyFunction = Callable[[Sequence[Crystal]], Sequence[float | Answer]]
"""Crystals to energies in eV/atom (NaN: failed) or to answers, one each."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One proposal.

    Attributes:
        number: counts the searcher's proposals from 0.
        crystal: None where the proposal is infeasible.
        reason: a few words why it is.
        genes: what the searcher needs to know about it when it is told; ready for JSON.
    """

    number: int
    crystal: Crystal | None
    reason: str = ""
    genes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """What came of a trial.

    Attributes:
        energy_per_atom: eV/atom; NaN for infeasible proposals and for crystals whose energy failed.
        crystal: as it came back from the energy function; None for infeasible proposals.
        seconds: from the beginning of the search, interruptions not counted; NaN where nobody looked at a clock.
    """

    trial: Trial
    energy_per_atom: float = math.nan
    crystal: Crystal | None = None
    seconds: float = math.nan

    @property
    def evaluated(self) -> bool:
        """Whether an energy was asked for, failed ones included."""
        return self.trial.crystal is not None

    @property
    def ok(self) -> bool:
        """Whether there is an energy."""
        return math.isfinite(self.energy_per_atom)


def outcome_to_dict(outcome: TrialOutcome) -> dict[str, Any]:
    """Ready for JSON; a crystal that came back unchanged is written once."""
    trial = outcome.trial
    changed = outcome.crystal is not None and outcome.crystal is not trial.crystal
    return {
        "number": trial.number,
        "reason": trial.reason,
        "genes": dict(trial.genes),
        "proposed": None if trial.crystal is None else crystal_to_dict(trial.crystal),
        "energy": outcome.energy_per_atom if outcome.ok else None,
        "found": crystal_to_dict(outcome.crystal) if changed and outcome.crystal is not None else None,
        "seconds": outcome.seconds if math.isfinite(outcome.seconds) else None,
    }


def outcome_from_dict(content: Mapping[str, Any]) -> TrialOutcome:
    """The inverse of `outcome_to_dict`.

    Raises:
        KeyError, TypeError, ValueError, CrystalError: the content is damaged.
    """
    proposed = None if content["proposed"] is None else crystal_from_dict(content["proposed"])
    found = proposed if content["found"] is None else crystal_from_dict(content["found"])
    trial = Trial(int(content["number"]), proposed, str(content["reason"]), dict(content["genes"]))
    return TrialOutcome(trial, _number(content["energy"]), found, _number(content["seconds"]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
