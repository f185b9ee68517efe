"""Wilson intervals compared with published and limiting values."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest

from lcoms.evaluate.statistics import Share, share_within


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (1, 29), (15, 148), (263, 1000), (24, 26)])
def test_intervals_equal_those_of_scipy(successes: int, trials: int) -> None:
    share = Share(successes, trials)
    exact = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=1e-6)
    assert share.value == successes / trials
    assert 0 <= share.low <= share.value <= share.high + 1e-12 <= 1 + 1e-12


def test_intervals_equal_newcombes_table() -> None:
    """Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for numbers, low, high in (((81, 263), 0.2553, 0.3662), ((15, 148), 0.0624, 0.1605), ((0, 20), 0.0, 0.1611),
                               ((1, 29), 0.0061, 0.1718)):  # fmt: skip
        share = Share(*numbers)
        assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_tried_says_nothing() -> None:
    share = Share(0, 0)
    assert math.isnan(share.value)
    assert (share.low, share.high) == (0.0, 1.0)


def test_seeds_of_a_compound_do_not_narrow_the_interval() -> None:
    """Three seeds with equal results are worth one."""
    ranks, names = [1, None, 2, 1], ["NaCl", "KCl", "CsCl", "MgO"]
    once, thrice = share_within(ranks, 1, of=names), share_within(ranks * 3, 1, of=names * 3)
    assert (thrice.successes, thrice.trials) == (6, 12)
    assert (thrice.low, thrice.high) == (once.low, once.high) == (Share(2, 4).low, Share(2, 4).high)
    assert share_within(ranks * 3, 1).low > thrice.low


def test_text() -> None:
    assert str(Share(81, 263)) == "0.308 [0.255, 0.366]"
