"""Proposals of searchers and their outcomes, and conversion to JSON, which preserves every number to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lcoms.structure.crystal import Crystal, crystal_from_dict, crystal_to_dict


class Answer(NamedTuple):
    """An energy in eV/atom, NaN where there is none, and its crystal: the given one, relaxed or not."""

    energy_per_atom: float
    crystal: Crystal


EnergyFunction = Callable[[Sequence[Crystal]], Sequence[float | Answer]]
"""Maps crystals to energies in eV/atom (NaN: failed) or to answers, one for each crystal."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One proposal.

    Attributes:
        number: index of the searcher's proposal, from 0.
        crystal: None where the proposal is infeasible.
        reason: why the proposal is infeasible, in a few words.
        genes: JSON-compatible data that the searcher needs when it is told the outcome.
    """

    number: int
    crystal: Crystal | None
    reason: str = ""
    genes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """The outcome of a trial.

    Attributes:
        energy_per_atom: eV/atom; NaN for infeasible proposals and for crystals whose energy failed.
        crystal: crystal returned by the energy function; None for infeasible proposals.
        seconds: time from the beginning of the search, without interruptions; NaN where it was not measured.
    """

    trial: Trial
    energy_per_atom: float = math.nan
    crystal: Crystal | None = None
    seconds: float = math.nan

    @property
    def evaluated(self) -> bool:
        """Whether an energy was requested, including failed ones."""
        return self.trial.crystal is not None

    @property
    def ok(self) -> bool:
        """Whether there is an energy."""
        return math.isfinite(self.energy_per_atom)


def outcome_to_dict(outcome: TrialOutcome) -> dict[str, Any]:
    """Return a JSON-compatible dict; a crystal that came back unchanged is stored once."""
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
    """Return the outcome of a dict from `outcome_to_dict`.

    Raises:
        KeyError, TypeError, ValueError, CrystalError: the content is damaged.
    """
    proposed = None if content["proposed"] is None else crystal_from_dict(content["proposed"])
    found = proposed if content["found"] is None else crystal_from_dict(content["found"])
    trial = Trial(int(content["number"]), proposed, str(content["reason"]), dict(content["genes"]))
    return TrialOutcome(trial, _number(content["energy"]), found, _number(content["seconds"]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
