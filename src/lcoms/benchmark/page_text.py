"""Formatting of lines and shares in the tables of the results page."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.evaluate.statistics import Share


def lines_of(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that ends with a line feed."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *lines])


def share(one: Share) -> str:
    """Return the number of successes, and the share with its 95 % Wilson interval."""
    return f"{one.successes}/{one.trials}: {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" if one.trials else ""
