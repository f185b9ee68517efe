"""`Searcher`: ask for crystals and tell their energies; `run_search` does so within a budget.

A searcher's next proposal depends only on its settings, its seed and the outcomes it was told. The list of outcomes is
therefore its whole state: a search is resumed by telling them again.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.baselines.search_log import SearchLog, open_log
from lcoms.baselines.trial import Answer, EnergyFunction, Trial, TrialOutcome, outcome_from_dict, outcome_to_dict
from lcoms.core.errors import ConfigError, CrystalError
from lcoms.core.unique import unique
from lcoms.structure.matching import STRICT, matches

SAME_ENERGY = 0.02  # eV/atom within which crystals are compared before both are kept
LOOKED_AT = 10  # crystals compared for each one kept
INFEASIBLE_PER_EVALUATION = 1000  # infeasible proposals allowed for each evaluation of the budget


class Searcher(ABC):
    """A search method: subclasses define what to propose and how to learn from an outcome.

    Attributes:
        name: name of the method.
        settings: all its settings including the seed, JSON-compatible.
        batch_size: preferred number of proposals at once.
    """

    name: str
    batch_size: int = 1

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._outcomes: list[TrialOutcome] = []
        self._n_asked = 0

    @abstractmethod
    def propose(self, number: int) -> Trial | None:
        """Return the trial of a number from the outcomes so far; None to wait until all trials have been told.

        It is called with numbers in order, and again with the same number after an interruption.
        """

    @abstractmethod
    def learn(self, outcome: TrialOutcome) -> None:
        """Process one outcome; outcomes, also those of an earlier run, come in the order of their numbers."""

    @property
    def outcomes(self) -> Sequence[TrialOutcome]:
        """All outcomes told so far, in order."""
        return self._outcomes

    def ask(self, n: int = 1) -> list[Trial]:
        """Return up to n new trials; fewer or none where the method must first be told earlier outcomes."""
        trials: list[Trial] = []
        while len(trials) < n:
            trial = self.propose(self._n_asked)
            if trial is None:
                break
            trials.append(trial)
            self._n_asked += 1
        return trials

    def tell(self, outcomes: Sequence[TrialOutcome]) -> None:
        """Tell the outcomes of trials, in the order in which these were asked for.

        Raises:
            ConfigError: the order is different, or a trial was told before.
        """
        for outcome in outcomes:
            if outcome.trial.number != len(self._outcomes):
                raise ConfigError(
                    f"trial {outcome.trial.number} was told where {len(self._outcomes)} comes next; tell outcomes once "
                    "each, in the order in which the trials were asked for."
                )
            self.learn(outcome)
            self._outcomes.append(outcome)
        self._n_asked = max(self._n_asked, len(self._outcomes))

    def state(self) -> dict[str, Any]:
        """Return the JSON-compatible, exact state for `restore`; it does not include open trials."""
        rows = [outcome_to_dict(outcome) for outcome in self._outcomes]
        return {"searcher": self.name, "settings": self.settings, "outcomes": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a searcher of the same kind and settings.

        Raises:
            ConfigError: the state belongs to another searcher or is damaged, or this searcher has already begun.
        """
        if self._n_asked:
            raise ConfigError("a search that has begun cannot take up another one's state; make a new searcher.")
        try:
            same = (state["searcher"], state["settings"]) == (self.name, self.settings)
            outcomes = [outcome_from_dict(row) for row in state["outcomes"]]
        except (KeyError, TypeError, ValueError, AttributeError, CrystalError) as error:
            raise ConfigError("this is not the state of a search, or it is damaged; begin again.") from error
        if not same:
            raise ConfigError(f"the state is of another search than {self.name} with these settings; begin again.")
        self.tell(outcomes)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Results of a search.

    Attributes:
        best: crystals of lowest energy, the lowest first, without those that match a kept crystal at the strict
            tolerance and have nearly the same energy.
        energies: eV/atom by number of evaluation; NaN where it failed.
        seconds: time of each evaluation's end, from the beginning of the search.
        trials: number of the proposal of each evaluation.
        infeasible: number of infeasible proposals by reason.
    """

    best: tuple[TrialOutcome, ...]
    energies: Float[NDArray[np.float64], " n_evaluations"]
    seconds: Float[NDArray[np.float64], " n_evaluations"]
    trials: Int[NDArray[np.int64], " n_evaluations"]
    infeasible: Mapping[str, int]

    @property
    def n_evaluations(self) -> int:
        return len(self.energies)

    @property
    def n_infeasible(self) -> int:
        return sum(self.infeasible.values())

    @property
    def lowest(self) -> Float[NDArray[np.float64], " n_evaluations"]:
        """Lowest energy in eV/atom up to each evaluation; infinite before there is one."""
        return np.asarray(np.minimum.accumulate(np.where(np.isnan(self.energies), np.inf, self.energies)))


def run_search(
    searcher: Searcher,
    energy: EnergyFunction,
    *,
    budget: int,
    max_infeasible: int | None = None,
    batch_size: int | None = None,
    keep: int = 20,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> SearchResult:
    """Search until the budget of energies is used up, or the searcher has nothing more to propose.

    Args:
        searcher: a new searcher, or one that has been told outcomes, which then count towards the budget.
        energy: energy function of a list of crystals; if it returns relaxed crystals, the searcher is told these.
        budget: number of energy evaluations, including failed ones.
        max_infeasible: number of proposals without a crystal after which the search ends; None: a thousand per
            evaluation of the budget.
        batch_size: proposals requested at once; None: the preferred number of the searcher.
        keep: number of crystals in the result.
        checkpoint: file of JSON lines that stores each batch as soon as it is evaluated. An interrupted search
            continues from it and ends with the same result, apart from the seconds.
        progress: called after each batch with the number of evaluations and the lowest energy in eV/atom.

    Raises:
        ConfigError: a number is out of range, the checkpoint belongs to another search, or the answers of the energy
            function do not fit the crystals.
        DataError: the checkpoint is not the file of a search.
    """
    limit = INFEASIBLE_PER_EVALUATION * budget if max_infeasible is None else max_infeasible
    if min(budget, limit, keep, 1 if batch_size is None else batch_size) < 1:
        raise ConfigError("budget, max_infeasible, batch_size and keep of a search must be at least 1.")
    header = {"searcher": searcher.name, "settings": searcher.settings, "energy": str(getattr(energy, "name", ""))}
    opened: AbstractContextManager[SearchLog | None] = nullcontext(None)
    if checkpoint is not None:
        opened = open_log(Path(checkpoint), header)
    with opened as log:
        _take_up(searcher, log)
        told = searcher.outcomes
        n_evaluated = sum(outcome.evaluated for outcome in told)
        began = time.perf_counter() - max((o.seconds for o in told if math.isfinite(o.seconds)), default=0.0)
        while n_evaluated < budget and len(told) - n_evaluated < limit:
            room = min(budget - n_evaluated, limit - (len(told) - n_evaluated))
            trials = searcher.ask(min(batch_size or searcher.batch_size, room))
            if not trials:
                break
            outcomes = _evaluate(trials, energy, began)
            if log is not None:
                log.append(outcomes)
            searcher.tell(outcomes)
            n_evaluated += sum(outcome.evaluated for outcome in outcomes)
            if progress is not None:
                progress(n_evaluated, min((o.energy_per_atom for o in told if o.ok), default=math.inf))
    return summary(searcher.outcomes, keep=keep)


def summary(outcomes: Sequence[TrialOutcome], *, keep: int) -> SearchResult:
    """Return the result of a search from its outcomes."""
    evaluated = [outcome for outcome in outcomes if outcome.evaluated]
    lowest = islice(sorted((o for o in evaluated if o.ok), key=_energy), LOOKED_AT * keep)
    return SearchResult(
        best=tuple(unique(lowest, _alike, most=keep)),
        energies=np.array([outcome.energy_per_atom for outcome in evaluated], dtype=np.float64),
        seconds=np.array([outcome.seconds for outcome in evaluated], dtype=np.float64),
        trials=np.array([outcome.trial.number for outcome in evaluated], dtype=np.int64),
        infeasible=dict(Counter(outcome.trial.reason for outcome in outcomes if not outcome.evaluated)),
    )


def _take_up(searcher: Searcher, log: SearchLog | None) -> None:
    """Tell the searcher the outcomes in the checkpoint, or write the searcher's outcomes into an empty checkpoint."""
    if log is None:
        return
    found = [outcome for batch in log.read() for outcome in batch]
    if found and searcher.outcomes:
        raise ConfigError("the checkpoint holds outcomes, and so does the searcher; give a new searcher to go on.")
    if searcher.outcomes:
        log.append(searcher.outcomes)
    searcher.tell(found)


def _evaluate(trials: Sequence[Trial], energy: EnergyFunction, began: float) -> list[TrialOutcome]:
    crystals = [trial.crystal for trial in trials if trial.crystal is not None]
    answers = list(energy(crystals)) if crystals else []
    if len(answers) != len(crystals):
        raise ConfigError(f"the energy function gave {len(answers)} answers to {len(crystals)} crystals; one each.")
    seconds, left = time.perf_counter() - began, iter(answers)
    outcomes = []
    for trial in trials:
        if trial.crystal is None:
            outcomes.append(TrialOutcome(trial, seconds=seconds))
            continue
        answer = next(left)
        value, crystal = answer if isinstance(answer, Answer) else (float(answer), trial.crystal)
        if crystal.composition != trial.crystal.composition:
            raise ConfigError("the energy function gave a crystal of another composition back than it was asked about.")
        outcomes.append(TrialOutcome(trial, value if math.isfinite(value) else math.nan, crystal, seconds))
    return outcomes


def _energy(outcome: TrialOutcome) -> float:
    return outcome.energy_per_atom


def _alike(kept: TrialOutcome, outcome: TrialOutcome) -> bool:
    if abs(outcome.energy_per_atom - kept.energy_per_atom) > SAME_ENERGY:
        return False
    assert outcome.crystal is not None
    assert kept.crystal is not None
    return matches(outcome.crystal, kept.crystal, STRICT)
