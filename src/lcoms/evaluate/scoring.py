"""One pass over predictions and known structures: pairing, comparisons, energies, metrics, and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lcoms import __version__
from lcoms.core.config import without_nan
from lcoms.core.errors import ConfigError
from lcoms.evaluate.answers import Answer, Known, read_answers, read_known
from lcoms.evaluate.energy_criterion import (
    Energies,
    EnergyRow,
    EnergyScore,
    FreeAtoms,
    energy_rows,
    energy_scores,
    oracle_energies,
    with_free_atoms,
)
from lcoms.evaluate.judging import TOO_SLOW, Row, judge
from lcoms.evaluate.pairing import Case, pair
from lcoms.evaluate.scores import Score, all_scores
from lcoms.evaluate.statistics import Share
from lcoms.oracles.base import EnergyOracle

LONGEST = 1_000_000  # seconds; the timers of the system have a limit, too


@dataclass(frozen=True)
class ScoreOptions:
    """Options of scoring.

    Attributes:
        ks: numbers of answers considered, ascending.
        timeout: seconds for one comparison.
        workers: number of processes.
    """

    ks: tuple[int, ...] = (1, 5, 10, 20)
    timeout: float = 30.0
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ConfigError("numbers of answers to look at (-k) must be 1 or more.")
        if not 0 < self.timeout <= LONGEST:
            raise ConfigError(f"the time limit must be positive, up to {LONGEST} s, not {self.timeout:g}.")
        if self.workers < 1:
            raise ConfigError(f"at least one worker is needed, not {self.workers}.")
        object.__setattr__(self, "ks", tuple(sorted(set(self.ks))))


@dataclass(frozen=True)
class Report:
    """Everything about a score.

    Attributes:
        by_id: whether the two sides share ids.
        rows: one for each known structure.
        scores, energy_scores: the metrics.
        energy_rows: one for each composition and kind of energy.
        missing: known structures without an answer.
        unreadable: answers without a crystal, with the reason.
        unknown: predictions that belong to no known structure.
        unreadable_known: rows of known structures that cannot be read, which are left out.
        notes: comparisons that failed or took too long, and missing energies.
    """

    by_id: bool
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    energy_rows: tuple[EnergyRow, ...]
    energy_scores: tuple[EnergyScore, ...]
    n_answers: int
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    unknown: tuple[str, ...]
    unreadable_known: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_too_slow(self) -> int:
        """Number of comparisons that took too long, each counted as no match."""
        return sum(verdict.note == TOO_SLOW for row in self.rows for verdict in row.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the report ready for JSON: NaN becomes null, shares include their intervals."""
        content = {"lcoms_version": __version__, **asdict(self), "too_slow": self.n_too_slow}
        for name, scores in (("scores", self.scores), ("energy_scores", self.energy_scores)):
            content[name] = [{**asdict(score), "share": _share(score.share)} for score in scores]
        content["rows"] = [{**asdict(row), **_first_ranks(row)} for row in self.rows]
        cleaned: dict[str, Any] = without_nan(content)
        return cleaned


def score_files(
    predictions: Path,
    truth: Path,
    options: ScoreOptions,
    *,
    oracle: EnergyOracle | None = None,
    free_atoms: FreeAtoms | None = None,
    on_case: Callable[[Sequence[Row]], None] | None = None,
) -> Report:
    """Score the predictions of a file or folder against the known structures of another.

    Args:
        oracle: computes the energies of both sides; None: those in the files are used.
        free_atoms: eV by atomic number, on the scale of the total energies; gives cohesive energies.

    Raises:
        DataError: one side cannot be read at all.
        OracleError: the oracle cannot handle the compositions.
    """
    known, unreadable_known = read_known(truth)
    return score(
        read_answers(predictions),
        known,
        options,
        oracle=oracle,
        free_atoms=free_atoms,
        unreadable_known=unreadable_known,
        on_case=on_case,
    )


def score(
    answers: Sequence[Answer],
    known: Sequence[Known],
    options: ScoreOptions,
    *,
    oracle: EnergyOracle | None = None,
    free_atoms: FreeAtoms | None = None,
    unreadable_known: Sequence[str] = (),
    on_case: Callable[[Sequence[Row]], None] | None = None,
) -> Report:
    """Score answers against known structures, both already read; arguments as of `score_files`."""
    pairing = pair(answers, known)
    k = max(options.ks)
    table, notes = _energies(pairing.cases, k, oracle, free_atoms or {})
    rows = judge(pairing.cases, k=k, timeout=options.timeout, workers=options.workers, on_case=on_case)
    of_compositions, left_out = energy_rows(pairing.cases, lambda one: table.get(id(one), {}), options.ks)
    notes += [f"{row.name}: {v.name}: {v.note}" for row in rows for v in row.verdicts if v.note and v.space_group]
    for kind, formulas in left_out.items():
        notes += [f"{formula}: no known {kind} energy, not counted" for formula in formulas]
    for energy_row in of_compositions:
        if energy_row.best[k] is None:
            notes.append(f"{energy_row.formula}: no answer with a {energy_row.kind} energy, counted as failed")
    return Report(
        by_id=pairing.by_id,
        rows=tuple(rows),
        scores=tuple(all_scores(rows, options.ks)),
        energy_rows=tuple(of_compositions),
        energy_scores=tuple(energy_scores(of_compositions, options.ks)),
        n_answers=len(answers),
        missing=tuple(f"{row.name} ({row.formula})" for row in rows if not row.n_answers),
        unreadable=tuple(_unreadable(answer) for answer in answers if answer.crystal is None),
        unknown=tuple(answer.name for answer in pairing.unknown),
        unreadable_known=tuple(unreadable_known),
        notes=tuple(notes),
    )


def _energies(
    cases: Sequence[Case], k: int, oracle: EnergyOracle | None, free_atoms: FreeAtoms
) -> tuple[dict[int, Energies], list[str]]:
    """Return the energies of known structures and first answers of the same composition, by id(), and failures."""
    wanted: list[Answer | Known] = []
    for case in cases:
        first = sorted({place for mine in case.own for place in mine[:k]})
        composition = case.known[0].crystal.composition.reduced
        wanted += case.known
        for answer in (case.answers[place] for place in first):
            if answer.crystal is not None and answer.crystal.composition.reduced == composition:
                wanted.append(answer)
    crystals = [one.crystal for one in wanted if one.crystal is not None]
    found = [(one.energies, "") for one in wanted] if oracle is None else oracle_energies(crystals, oracle)
    table: dict[int, Energies] = {}
    notes = []
    for one, crystal, (energies, why_not) in zip(wanted, crystals, found, strict=True):
        table[id(one)] = with_free_atoms(crystal.composition, energies, free_atoms)
        if why_not:
            notes.append(f"{one.name}: no energy: {why_not}")
    return table, notes


def _first_ranks(row: Row) -> dict[str, int | None]:
    """Return the ranks of the first match, strict match, and strict match with the same space group; None if none."""
    return {
        "matched_rank": next((v.rank for v in row.verdicts if v.rms is not None), None),
        "strict_rank": next((v.rank for v in row.verdicts if v.strict), None),
        "strict_space_group_rank": next((v.rank for v in row.verdicts if v.strict and v.same_space_group), None),
    }


def _unreadable(answer: Answer) -> str:
    place = f" (rank {answer.rank})" if answer.rank else ""
    return f"{answer.name}{place}: {answer.reason}"


def _share(share: Share) -> dict[str, float | int]:
    counts = {"successes": share.successes, "trials": share.trials}
    return {**counts, "value": share.value, "low": share.low, "high": share.high}
