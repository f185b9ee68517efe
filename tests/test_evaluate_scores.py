"""A table of verdicts in which every value was computed by hand."""

from __future__ import annotations

from math import isnan

import pytest

from lcoms.evaluate.judging import Row, Verdict
from lcoms.evaluate.scores import (
    all_scores,
    doubly_filtered_score,
    filtered_score,
    match_score,
    metre_score,
    strict_score,
)


def verdict(
    rank: int, rms: float | None, *, strict: bool = False, same: bool = False, invalid: str = "", note: str = ""
) -> Verdict:
    return Verdict(f"answer {rank}", rank, rank, rms, strict, 225 if same else 1, same, invalid, note)


def row(name: str, *verdicts: Verdict, invalid: str = "", references: int = 1, best: float | None = None) -> Row:
    return Row(name, "NaCl", 225, invalid, verdicts, len(verdicts), references, best)


ROWS = [
    row("first", verdict(1, 0.10, strict=True, same=True), verdict(2, 0.02, strict=True), best=0.10),
    row("second", verdict(1, None), verdict(2, 0.30, same=True), verdict(3, 0.20, strict=True, same=True), best=None),
    row("invalid answer", verdict(1, 0.40, strict=True, invalid="too close"), verdict(2, 0.45), best=0.40),
    row("invalid truth", verdict(1, 0.06, strict=True), invalid="composition fails SMACT", best=0.06),
    row("no answer", best=None),
]


@pytest.mark.parametrize(
    ("k", "found", "rms"), [(1, 3, (0.10 + 0.40 + 0.06) / 3), (2, 4, (0.02 + 0.30 + 0.40 + 0.06) / 4),
                            (3, 4, (0.02 + 0.20 + 0.40 + 0.06) / 4), (20, 4, 0.17)],
)  # fmt: skip
def test_match_rate(k: int, found: int, rms: float) -> None:
    score = match_score(ROWS, k)
    assert (score.share.successes, score.share.trials) == (found, 5)
    assert score.rms == pytest.approx(rms)


def test_the_filter_takes_answers_out_and_if_asked_truths() -> None:
    one, two = filtered_score(ROWS, 1), filtered_score(ROWS, 2)
    assert (one.share.successes, one.share.trials) == (2, 5)
    assert one.rms == pytest.approx((0.10 + 0.06) / 2)
    assert two.share.successes == 4
    assert two.rms == pytest.approx((0.02 + 0.30 + 0.45 + 0.06) / 4)
    both = doubly_filtered_score(ROWS)
    assert (both.share.successes, both.share.trials, both.k) == (1, 5, 1)
    assert both.rms == pytest.approx(0.10)


def test_metre_counts_half_for_what_does_not_match() -> None:
    score = metre_score(ROWS)
    assert (score.share.successes, score.share.trials) == (3, 5)
    assert score.rms == pytest.approx((0.10 + 0.5 + 0.40 + 0.06 + 0.5) / 5)


def test_strict_and_space_group_have_to_hold_for_one_answer() -> None:
    assert [strict_score(ROWS, k, space_group=False).share.successes for k in (1, 2, 3)] == [3, 3, 4]
    # In the second row answer 2 has the group without the match; only answer 3 has both.
    assert [strict_score(ROWS, k, space_group=True).share.successes for k in (1, 2, 3)] == [1, 1, 2]


def test_every_figure_is_there_with_its_interval() -> None:
    scores = all_scores(ROWS, (1, 5))
    names = [(score.name, score.k) for score in scores]
    assert len(names) == len(set(names)) == 4 * 2 + 2
    assert all(score.share.trials == 5 and 0 <= score.share.low <= score.share.value for score in scores)
    # Wilson, 3 of 5, worked out with z = 1.959964: centre 0.556552, half-width 0.325857.
    assert scores[0].share.low == pytest.approx(0.2307, abs=1e-4)
    assert scores[0].share.high == pytest.approx(0.8824, abs=1e-4)


def test_without_matches_there_is_no_rmse() -> None:
    score = match_score([row("none", verdict(1, None))], 1)
    assert score.share.value == 0
    assert isnan(score.rms)
    assert metre_score([row("none", verdict(1, None))]).rms == 0.5
