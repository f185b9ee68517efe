"""Metrics, each a pure function of the rows that `lcoms.evaluate.judging` gives.

| metric | rule |
| --- | --- |
| match rate @k | one of the first k answers matches: StructureMatcher(0.3, 0.5, 10), `get_rms_dist` is not None |
| filtered | answers that fail SMACT, a distance of 0.5 angstrom or a volume of 0.1 angstrom^3 match nothing |
| truths filtered, too | as before, and known structures that fail the filter count as not matched (k = 1) |
| RMSE @k | mean over matches of the smallest rms among the first k; dimensionless, over (volume / atom)^(1/3) |
| METRe, cRMSE | a formula with K known structures has K answers; each takes its best match; cRMSE: 0.5 if none |
| strict @k | one of the first k matches at pymatgen's defaults (0.2, 0.3, 5) |
| strict + space group @k | one of the first k matches strictly and has the same space group at symprec 0.1 |

Every known structure counts, including those without an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lcoms.evaluate.judging import Row, Verdict
from lcoms.evaluate.statistics import Share
from lcoms.structure.matching import LOOSE


@dataclass(frozen=True)
class Score:
    """One metric.

    Attributes:
        name: of the metric.
        k: number of answers considered; 0 if it does not apply.
        rms: mean rms of the matches (cRMSE: of all); NaN if there are none or it has no meaning.
    """

    name: str
    k: int
    share: Share
    rms: float = float("nan")


def match_score(rows: Sequence[Row], k: int) -> Score:
    """Return match rate and RMSE, unfiltered."""
    return _match("match rate", rows, k, lambda _: True)


def filtered_score(rows: Sequence[Row], k: int) -> Score:
    """Return match rate and RMSE of answers that pass the filter."""
    return _match("match rate, filtered", rows, k, lambda verdict: not verdict.invalid)


def doubly_filtered_score(rows: Sequence[Row]) -> Score:
    """Return match rate and RMSE at k = 1, with both sides required to pass the filter."""
    valid = {id(verdict) for row in rows if not row.invalid for verdict in row.verdicts if not verdict.invalid}
    return _match("match rate, filtered, truths too", rows, 1, lambda verdict: id(verdict) in valid)


def metre_score(rows: Sequence[Row]) -> Score:
    """Return METRe and cRMSE."""
    found = [row.best_of_formula for row in rows]
    share = Share(sum(rms is not None for rms in found), len(found))
    return Score("METRe, with cRMSE", 0, share, _mean([LOOSE.stol if rms is None else rms for rms in found]))


def strict_score(rows: Sequence[Row], k: int, *, space_group: bool) -> Score:
    """Return the share of strict matches, with any or the same space group."""
    hits = [any(v.strict and (v.same_space_group or not space_group) for v in row.verdicts[:k]) for row in rows]
    return Score("strict match, space group" if space_group else "strict match", k, Share(sum(hits), len(hits)))


def all_scores(rows: Sequence[Row], ks: Sequence[int]) -> list[Score]:
    """Return every metric, in the order of the table above."""
    return [
        *(match_score(rows, k) for k in ks),
        *(filtered_score(rows, k) for k in ks),
        doubly_filtered_score(rows),
        metre_score(rows),
        *(strict_score(rows, k, space_group=False) for k in ks),
        *(strict_score(rows, k, space_group=True) for k in ks),
    ]


def _match(name: str, rows: Sequence[Row], k: int, counts: Callable[[Verdict], bool]) -> Score:
    least = []
    for row in rows:
        found = [verdict.rms for verdict in row.verdicts[:k] if verdict.rms is not None and counts(verdict)]
        least.append(min(found, default=None))
    matched = [rms for rms in least if rms is not None]
    return Score(name, k, Share(len(matched), len(rows)), _mean(matched))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
