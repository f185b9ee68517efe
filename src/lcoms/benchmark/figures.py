"""The figures, drawn from the rows alone; each is left out if the rows are not sufficient.

Numbers follow the paper. Figures 2 to 4 are in `benchmark.figures_descent`, the effect of single settings is in
`benchmark.figures_settings`. Success: against evaluations and seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lcoms.benchmark.figures_descent import descent_figure, improvement_figure, legend_below, panels_of, tau_figure
from lcoms.benchmark.figures_settings import settings_figure
from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.benchmark.rows import Judged, Row
from lcoms.benchmark.success import CRITERIA, MATCH, Criterion
from lcoms.benchmark.tables import Column, columns, without_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_COLOURS = 10
LINES = ("-", "--", "-.")  # repeated colours have another line style


def all_figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """Return the figures that can be drawn, by name."""
    figures = {
        "figure2": descent_figure(rows),
        "figure3": improvement_figure(rows),
        "figure4": tau_figure(rows),
        "settings": settings_figure(rows),
        "success-paper": success_figure(rows, "paper"),
        "success-formula": success_figure(rows, "formula"),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


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
    legend_below(figure, panels[0], per_line=4)
    return figure


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
