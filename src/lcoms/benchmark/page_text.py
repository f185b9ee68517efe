"""How the tables of the results page write lines and shares."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.evaluate.statistics import Share


def lines_of(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a line feed at its end."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *lines])


def share(one: Share) -> str:
    """Successes, and the share with its 95 % Wilson interval."""
    return f"{one.successes}/{one.trials}: {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" if one.trials else ""
