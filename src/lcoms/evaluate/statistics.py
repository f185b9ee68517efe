"""Proportions with their uncertainties."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from math import sqrt

Z_95 = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Share:
    """The proportion of successes among trials, with its 95 % Wilson interval.

    Attributes:
        n_independent: number of independent trials, from which the interval follows, such as the number of compounds
            that were predicted with several seeds; None: all trials are independent.
        value: successes / trials; NaN without trials.
        low, high: ends of the interval (Wilson 1927).
    """

    successes: int
    trials: int
    n_independent: int | None = field(default=None, compare=False)

    @property
    def value(self) -> float:
        return self.successes / self.trials if self.trials else float("nan")

    @property
    def low(self) -> float:
        return self._interval()[0]

    @property
    def high(self) -> float:
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        n = self.trials if self.n_independent is None else self.n_independent
        if not n:
            return 0.0, 1.0
        p, z2 = self.value, Z_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share_within(ranks: Iterable[int | None], k: int, *, of: Iterable[Hashable] | None = None) -> Share:
    """Return the share of ranks that are k or better; None counts as not found.

    Args:
        of: what each rank belongs to, such as the name of a compound; equal ones, with other seeds, are not
            independent. None: all differ.
    """
    counted = list(ranks)
    return Share(
        sum(rank is not None and rank <= k for rank in counted), len(counted), None if of is None else len(set(of))
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test for a difference between two methods.

    Source: McNemar 1947, in its binomial form.

    Args:
        only_first: number of cases in which only the first method succeeded.
        only_second: number of cases in which only the second method succeeded.
    """
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n, 0.5).pvalue) if n else 1.0
