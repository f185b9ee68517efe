"""Success and energies with LCOMs for several values of tau and of the numbers of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from lcoms.benchmark.figures_descent import FIGURE_4_COMPOUNDS, energy_of, legend_below, panels_of, sweep_of
from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.benchmark.rows import Row
from lcoms.benchmark.success import CRITERIA, MATCH, by_run
from lcoms.evaluate.statistics import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def settings_figure(rows: Sequence[Row]) -> Figure | None:
    """Return success, and the energy of two compounds, against each swept setting."""
    swept: dict[str, dict[float, list[Row]]] = {}
    for row in rows:
        if row.group == PAPER_GROUP and (place := sweep_of(row)) is not None:
            swept.setdefault(place[0], {}).setdefault(place[1], []).append(row)
    if not swept:
        return None
    figure, panels = panels_of(2 * len(swept), per_line=2)
    for i, name in enumerate(sorted(swept)):
        values = sorted(swept[name])
        for criterion in (CRITERIA[0], CRITERIA[1], MATCH):
            hits = [by_run(swept[name][value], criterion, "answer") for value in values]
            shares = [Share(sum(h.values()), len(h), len({compound for compound, _ in h})) for h in hits]
            _draw_shares(panels[2 * i], values, shares, criterion.name)
        panels[2 * i].set_ylabel("share of runs, as answered")
        for compound in FIGURE_4_COMPOUNDS:
            _draw_excess(panels[2 * i + 1], values, swept[name], compound)
        panels[2 * i + 1].legend(fontsize="x-small")
        panels[2 * i + 1].set_ylabel("energy above known, eV/atom")
        for panel in panels[2 * i : 2 * i + 2]:
            panel.set_xlabel(name)
            panel.set_xscale("log")
            panel.set_xticks(values, [f"{value:g}" for value in values], minor=False, fontsize="x-small")
            panel.minorticks_off()
    legend_below(figure, panels[0], per_line=3)
    return figure


def _draw_shares(panel: Axes, values: Sequence[float], shares: Sequence[Share], label: str) -> None:
    kept = [(value, share) for value, share in zip(values, shares, strict=True) if share.trials]
    if kept:
        x, height = [value for value, _ in kept], np.array([share.value for _, share in kept])
        ends = np.abs(np.array([[share.low, share.high] for _, share in kept]).T - height)
        panel.errorbar(x, height, yerr=ends, marker="o", ms=3, capsize=2, linewidth=1, label=label)
    panel.set_ylim(-0.02, 1.02)


def _draw_excess(panel: Axes, values: Sequence[float], rows: Mapping[float, Sequence[Row]], compound: str) -> None:
    """Draw means over the seeds."""
    x, y = [], []
    for value in values:
        above = [
            energy - row.known.compared
            for row in rows[value]
            if row.compound == compound and row.known is not None and row.known.compared is not None
            if (energy := energy_of(row.answer)) is not None
        ]
        if above:
            x.append(value)
            y.append(mean(above))
    panel.plot(x, y, marker="o", ms=3, label=compound)
