"""The figures, drawn from the rows alone; each is left out if the rows are not sufficient.

Numbers follow the paper. Figure 2: energies along the descent. Figure 3: decrease of the energy from the start.
Figure 4: effect of tau and the numbers of steps. Success: against evaluations and seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.benchmark.rows import Judged, Row
from lcoms.benchmark.success import CRITERIA, MATCH, Criterion, by_run
from lcoms.benchmark.tables import Column, columns, without_label
from lcoms.evaluate.statistics import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.2  # width of a panel, inches
N_COMPOUNDS = 6
FIGURE_4_COMPOUNDS = ("SrS", "MgO")
COLOURS = {"lcoms": "C0", "sl": "C3"}
NEARLY_ZERO = 0.05  # eV/atom
LINEAR_TO = 0.01  # height of bars beyond which their axis is logarithmic
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


def descent_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 2: predicted and judged energies along the descent, with and without conservatism, 6 compounds."""
    judged = [row for row in rows if row.track == "paper" and row.method in COLOURS and row.progress]
    by_compound: dict[str, list[Row]] = {}
    for row in judged:
        by_compound.setdefault(row.compound, []).append(row)
    # Compounds that have both methods come first.
    names = sorted(by_compound, key=lambda name: (-len({row.method for row in by_compound[name]}), name))
    if not names:
        return None
    figure, panels = _panels(min(N_COMPOUNDS, len(names)), per_line=3)
    for panel, name in zip(panels, names, strict=False):
        for method in COLOURS:
            mine = [row for row in by_compound[name] if row.method == method]
            _draw_descents(panel, mine, method)
        known = next((row.known.compared for row in by_compound[name] if row.known is not None), None)
        if known is not None:
            panel.axhline(known, color="black", linewidth=0.8, linestyle=":", label="known")
        panel.set_title(name)
        panel.set_xlabel("step")
        panel.set_ylabel("energy, eV/atom")
    panels[0].legend(fontsize="x-small")
    return figure


def _draw_descents(panel: Axes, rows: Sequence[Row], method: str) -> None:
    """Draw means over the seeds."""
    paths = [row.descent for row in rows if row.descent]
    if paths and len({len(path) for path in paths}) == 1:
        panel.plot(np.mean(paths, axis=0), color=COLOURS[method], linestyle="--", label=f"{method}, predicted")
    at: dict[int, list[float]] = {}
    for point in (point for row in rows for point in row.progress):
        if point.judged is not None and point.judged.compared is not None:
            at.setdefault(point.evaluations, []).append(point.judged.compared)
    steps = sorted(at)
    if steps:
        panel.plot(
            steps, [mean(at[s]) for s in steps], color=COLOURS[method], marker="o", ms=3, label=f"{method}, judged"
        )


def improvements(rows: Iterable[Row]) -> dict[str, tuple[float | None, float]]:
    """Return the mean decrease of the judge's energy from start to answer by compound: over |E(start)|, and in eV/atom.

    The first is None if the energy of a start is nearly zero, as for elements.
    """
    falls: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        before, after = _energy(row.start), _energy(row.answer)
        if before is not None and after is not None:
            falls.setdefault(row.compound, []).append((before, before - after))
    return {name: (_relative(some), mean(f for _, f in some)) for name, some in falls.items()}


def _relative(falls: Sequence[tuple[float, float]]) -> float | None:
    """Return the mean decrease relative to the initial energies."""
    return mean(fall / abs(e) for e, fall in falls) if all(abs(e) > NEARLY_ZERO for e, _ in falls) else None


def improvement_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 3: decrease of the judge's energy from the start, by compound, for each set of compounds."""
    groups = sorted({row.group for row in rows}, key=lambda name: (name != PAPER_GROUP, name))
    found = [
        (group, improvements(row for row in rows if (row.group, row.track, row.method) == (group, "paper", "lcoms")))
        for group in groups
    ]
    found = [(group, falls) for group, falls in found if falls]
    if not found:
        return None
    figure, panels = _panels(2 * len(found), per_line=2, width=2 * WIDTH)
    for i, (group, falls) in enumerate(found):
        relative = {name: share for name, (share, _) in falls.items() if share is not None}
        absolute = {name: fall for name, (_, fall) in falls.items()}
        for panel, values, unit in (
            (panels[2 * i], relative, "over |E(start)|"),
            (panels[2 * i + 1], absolute, "eV/atom"),
        ):
            _draw_bars(panel, values)
            panel.set_ylabel(f"fall of the energy, {unit}")
            panel.set_title(f"{group}: {sum(v > 0 for v in values.values())} of {len(values)} fall")
    return figure


def _draw_bars(panel: Axes, values: Mapping[str, float]) -> None:
    names = sorted(values, key=lambda name: -values[name])
    panel.bar(range(len(names)), [values[name] for name in names], color="C0")
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_yscale("symlog", linthresh=LINEAR_TO)
    if len(names) <= 30:
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize="x-small")


def sweep_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 4: success, and the energy of two compounds, against each swept setting."""
    swept: dict[str, dict[float, list[Row]]] = {}
    for row in rows:
        if row.group == PAPER_GROUP and (place := sweep_of(row)) is not None:
            swept.setdefault(place[0], {}).setdefault(place[1], []).append(row)
    if not swept:
        return None
    figure, panels = _panels(2 * len(swept), per_line=2)
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
            if (energy := _energy(row.answer)) is not None
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
    figure, panels = _panels(4, per_line=2)
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


def _energy(judged: Judged | None) -> float | None:
    return None if judged is None else judged.compared


def _panels(n: int, *, per_line: int, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    lines = -(-n // per_line)
    figure = Figure(figsize=(width * min(n, per_line), 2.6 * lines), layout="constrained")
    panels = [figure.add_subplot(lines, min(n, per_line), i + 1) for i in range(n)]
    return figure, panels
