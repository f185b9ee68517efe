"""The figure of the results page: stated probabilities against fractions correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lcoms.benchmark.kept import Measurement
from lcoms.benchmark.page import binned, mean_probability
from lcoms.evaluate.statistics import Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, LEGEND = 3.6, 1.1  # inches


def calibration_figure(measurements: Sequence[Measurement]) -> Figure | None:
    """Return the fraction correct against the mean stated probability, with 95 % intervals; None without data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE, SIZE + LEGEND), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    for one in measurements:
        found = _points(one)
        if found:
            stated = [mean for mean, _ in found]
            values = [share.value for _, share in found]
            below = [share.value - share.low for _, share in found]
            above = [share.high - share.value for _, share in found]
            axes.errorbar(stated, values, [below, above], fmt="o", ms=4, lw=1, label=one.header.title)
    if len(axes.containers) == 0:
        return None
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="stated probability", ylabel="fraction correct", aspect="equal")
    figure.legend(fontsize=7, loc="outside lower center")
    return figure


def _points(measurement: Measurement) -> list[tuple[float, Share]]:
    """Return for each bin the mean stated probability, and the share of predictions that were correct."""
    found = []
    for some in binned(measurement.predictions):
        if some:
            n_right, names = sum(row.final.both == 1 for row in some), {row.name for row in some}
            found.append((mean_probability(some), Share(n_right, len(some), len(names))))
    return found
