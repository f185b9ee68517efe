"""The figures, drawn from the rows alone; each is left out if the rows are not sufficient.

Numbers follow the paper. Figures 2 and 3 are in `benchmark.figures_descent`. Figure 4: effect of tau and the numbers
of steps. Success: against evaluations and seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from lcoms.benchmark.figures_descent import descent_figure, energy_of, improvement_figure, panels_of
from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.benchmark.rows import Judged, Row
from lcoms.benchmark.success import CRITERIA, MATCH, Criterion, by_run
from lcoms.benchmark.tables import Column, columns, without_label
from lcoms.evaluate.statistics import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_4_COMPOUNDS = ("SrS", "MgO")
N_COLOURS = 10
LINES = ("-", "--", "-.")  # repeated colours have another line style


def all_figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """Return the figures that can be drawn, by name."""
    figures = {
        "figure2": descent_figure(rows),
        "figure3": improvement_figure(rows),
        "figure4": sweep_figure(rows),
        "success-paper": success_figure(rows, "paper"),
        "success-formula": success_figure(rows, "formula"),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def sweep_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 4: success, and the energy of two compounds, against each swept setting."""
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
    _legend_below(figure, panels[0], per_line=3)
    return figure


def sweep_of(row: Row) -> tuple[str, float] | None:
    """Return the swept setting and its value, from a method's name such as `lcoms tau=0.5`; None for other rows."""
    method, _, setting = row.method.partition(" ")
    name, sign, value = setting.partition("=")
    try:
        return (name, float(value)) if method == "lcoms" and sign else None
    except ValueError:
        return None


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


def success_figure(rows: Sequence[Row], track: str) -> Figure | None:
    """Return the shares of runs with the known structure and within 5 %, against evaluations and seconds.

    The current crystal of a run is used until there is a new one; none is relaxed by the judge.
    """
    mine = [row for row in rows if row.group == PAPER_GROUP and row.method == without_label(row.method)]
    some = [column for column in columns(mine) if column.track == track]
    if not some:
        return None
    figure, panels = panels_of(4, per_line=2)
    for line, criterion in enumerate((MATCH, CRITERIA[1])):
        for i, column in enumerate(some):
            for panel, of in ((panels[2 * line], "evaluations"), (panels[2 * line + 1], "seconds")):
                x, y = success_curve(column, criterion, of)
                (drawn,) = panel.plot(x, y, drawstyle="steps-post", label=column.method)
                drawn.set(color=f"C{i % N_COLOURS}", linestyle=LINES[i % len(LINES)])
                if len(x) == 1:
                    drawn.set_marker(".")
        for panel, label in zip(panels[2 * line : 2 * line + 2], ("evaluations", "seconds"), strict=True):
            panel.set_xlabel(f"{label} of the method")
            panel.set_ylabel(f"share of runs,\n{criterion.name}", fontsize="small")
            panel.set_xscale("symlog" if label == "evaluations" else "log")
            panel.set_ylim(-0.02, 1.02)
    _legend_below(figure, panels[0], per_line=4)
    return figure


def _legend_below(figure: Figure, panel: Axes, *, per_line: int) -> None:
    """Place the legend of a panel below all panels, where it covers nothing."""
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=per_line, fontsize="x-small")


def success_curve(column: Column, criterion: Criterion, of: str) -> tuple[list[float], list[float]]:
    """Return the points at which the share of successful runs changes, and the share from there on."""
    changes: list[tuple[float, int]] = []
    n = 0
    for row in column.rows:
        if not criterion.applies(row):
            continue
        n += 1
        held = False
        for place, judged in _way(row, of):
            now = bool(criterion.holds(judged, row))
            if now != held:
                changes.append((place, 1 if now else -1))
                held = now
    changes.sort()
    places = sorted({place for place, _ in changes})
    heights = [sum(change for at, change in changes if at <= place) / n for place in places]
    last = max((place for row in column.rows for place, _ in _way(row, of)), default=0.0)
    return [*places, last], [*heights, heights[-1] if heights else 0.0]


def _way(row: Row, of: str) -> list[tuple[float, Judged | None]]:
    """Return the intermediate points and crystals, the answer last."""
    start = row.seconds.get("start", 0.0)
    own = sum(seconds for part, seconds in row.seconds.items() if part not in ("start", "relax"))
    if of == "evaluations":
        return [*((float(p.evaluations), p.judged) for p in row.progress), (float(row.n_evaluations), row.answer)]
    return [*((start + p.seconds, p.judged) for p in row.progress), (max(start + own, 1e-3), row.answer)]
