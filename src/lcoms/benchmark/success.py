"""Success by row and by compound, and comparison of methods: pure functions of rows.

Energies are compared as (E - E_known) / |E_known| (see `lcoms.evaluate.energy_criterion`), where E_known is the energy
of the known structure relaxed by the judge: formation energies, or total energies if the judge has no references, which
are meaningful only for oracles with isolated atoms as their zero, such as GPAW. Compounds to which a criterion does not
apply are excluded from it. A run without an answer, or whose answer has no credible energy, fails every criterion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeVar

from lcoms.benchmark.rows import Judged, Row
from lcoms.evaluate.energy_criterion import applies, is_within
from lcoms.evaluate.statistics import Share, mcnemar
from lcoms.structure.crystal import Composition

Stage = Literal["answer", "relaxed"]
Case = TypeVar("Case")
STAGES: tuple[Stage, ...] = ("answer", "relaxed")
STAGE_WORDS: Mapping[Stage, str] = {"answer": "as answered", "relaxed": "after relaxation by the judge"}


@dataclass(frozen=True)
class Criterion:
    """One criterion of success.

    Attributes:
        threshold: of the energy, as a fraction of |E_known| or in eV/atom; None for a match of structures.
        relative: whether the threshold is a fraction.
    """

    name: str
    threshold: float | None = None
    relative: bool = True

    def holds(self, judged: Judged | None, row: Row) -> bool | None:
        """Return whether a crystal succeeds; None if the criterion does not apply to the compound."""
        if self.threshold is None:
            return judged is not None and not judged.note and judged.strict and judged.same_group
        if not self.applies(row):
            return None
        energy = None if judged is None else judged.compared
        return energy is not None and self._within([energy], row)

    def of_compound(self, rows: Sequence[Row], stage: Stage) -> bool | None:
        """Return whether a method succeeds for a compound over all seeds; None if the criterion does not apply.

        Energies: by the mean over the seeds that have one, as in the paper, if more than half have one. Structures: if
        more than half of the seeds succeed.
        """
        if not self.applies(rows[0]):
            return None
        if self.threshold is None:
            return 2 * sum(bool(self.holds(getattr(row, stage), row)) for row in rows) > len(rows)
        judged = [getattr(row, stage) for row in rows]
        energies = [one.compared for one in judged if one is not None and one.compared is not None]
        return 2 * len(energies) > len(rows) and self._within(energies, rows[0])

    def applies(self, row: Row) -> bool:
        """Return whether the criterion applies to the compound of a row."""
        if self.threshold is None:
            return True
        if row.known is None:
            return False
        is_element = len(Composition.from_formula(row.formula).atomic_numbers) == 1
        is_formation = row.known.formation_energy is not None
        return applies(row.known.compared, is_element=is_element, is_formation=is_formation, relative=self.relative)

    def _within(self, energies: Sequence[float], row: Row) -> bool:
        assert row.known is not None
        assert row.known.compared is not None
        assert self.threshold is not None
        mean = sum(energies) / len(energies)
        return is_within(mean, row.known.compared, self.threshold, relative=self.relative)


MATCH = Criterion("strict match + space group")
CRITERIA = (
    Criterion("within 20 %", 0.20),
    Criterion("within 5 %", 0.05),
    Criterion("within 1 %", 0.01),
    MATCH,
    Criterion("within 10 %", 0.10),
    Criterion("within 0.1 eV/atom", 0.1, relative=False),
    Criterion("within 0.05 eV/atom", 0.05, relative=False),
    Criterion("within 0.02 eV/atom", 0.02, relative=False),
)
"""Criteria, the first four of which are those of Table 1."""
N_SHOWN = 4


@dataclass(frozen=True)
class Total:
    """Success rate of a method.

    Attributes:
        runs: over compounds and seeds; the interval follows from the number of compounds.
        compounds: over compounds, by `Criterion.of_compound`.
        p_runs, p_compounds: p-values of McNemar's exact test against another method, over cases that both have; None if
            there are none. Over runs it treats the seeds of a compound as independent, which they need not be.
    """

    runs: Share
    compounds: Share
    p_runs: float | None
    p_compounds: float | None


def total(rows: Sequence[Row], others: Sequence[Row], criterion: Criterion, stage: Stage) -> Total:
    """Return the total of a method, compared with the rows of another (empty: no comparison)."""
    runs, other_runs = by_run(rows, criterion, stage), by_run(others, criterion, stage)
    compounds, other_compounds = by_compound(rows, criterion, stage), by_compound(others, criterion, stage)
    return Total(
        Share(sum(runs.values()), len(runs), len(compounds)),
        Share(sum(compounds.values()), len(compounds)),
        paired(runs, other_runs),
        paired(compounds, other_compounds),
    )


def by_seed(rows: Iterable[Row], criterion: Criterion, stage: Stage) -> dict[int, Share]:
    """Return the success rate over compounds for each seed."""
    hits: dict[int, list[bool]] = {}
    for (_, seed), hit in by_run(rows, criterion, stage).items():
        hits.setdefault(seed, []).append(hit)
    return {seed: Share(sum(hits[seed]), len(hits[seed])) for seed in sorted(hits)}


def by_run(rows: Iterable[Row], criterion: Criterion, stage: Stage) -> dict[tuple[str, int], bool]:
    """Return success by compound and seed, if the criterion applies."""
    found = {(row.compound, row.seed): criterion.holds(getattr(row, stage), row) for row in rows}
    return {key: hit for key, hit in found.items() if hit is not None}


def by_compound(rows: Iterable[Row], criterion: Criterion, stage: Stage) -> dict[str, bool]:
    """Return success by compound, if the criterion applies."""
    ordered = sorted(rows, key=lambda row: (row.compound, row.seed))
    found = {
        name: criterion.of_compound(list(some), stage) for name, some in groupby(ordered, lambda row: row.compound)
    }
    return {name: hit for name, hit in found.items() if hit is not None}


def paired(first: Mapping[Case, bool], second: Mapping[Case, bool]) -> float | None:
    """Return McNemar's p-value over the cases that both have; None without any."""
    both = first.keys() & second.keys()
    if not both:
        return None
    return mcnemar(sum(first[k] and not second[k] for k in both), sum(second[k] and not first[k] for k in both))
