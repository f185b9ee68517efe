"""Figures 2 to 4 of the paper: energies along the descent, the decrease from the start, and the effect of tau."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.benchmark.rows import Judged, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.2  # width of a panel, inches
N_COMPOUNDS = 6
COLOURS = {"lcoms": "C0", "sl": "C3"}
FIGURE_4_COMPOUNDS = ("SrS", "MgO")
NEARLY_ZERO = 0.05  # eV/atom
LINEAR_TO = 0.01  # height of bars beyond which their axis is logarithmic
FEW_NAMES = 30  # compounds whose names fit below the bars
NORMAL_95 = 1.96  # standard errors


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
    figure, panels = panels_of(min(N_COMPOUNDS, len(names)), per_line=3)
    for panel, name in zip(panels, names, strict=False):
        for method, colour in COLOURS.items():
            mine = [row for row in by_compound[name] if row.method == method]
            _draw_predicted(panel, mine, colour, f"{method}, predicted")
            _draw_judged(panel, mine, colour, f"{method}, judged")
        _complete(panel, name, by_compound[name])
    panels[0].legend(fontsize="x-small")
    return figure


def tau_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 4: judged energies along the descent for each tau, for two compounds."""
    judged = [row for row in rows if row.compound in FIGURE_4_COMPOUNDS and row.progress]
    swept: dict[float, list[Row]] = {}
    for row in judged:
        if (place := sweep_of(row)) is not None and place[0] == "tau":
            swept.setdefault(place[1], []).append(row)
    if not swept:
        return None
    figure, panels = panels_of(len(FIGURE_4_COMPOUNDS), per_line=2, width=1.4 * WIDTH)
    for panel, name in zip(panels, FIGURE_4_COMPOUNDS, strict=True):
        for i, tau in enumerate(sorted(swept)):
            _draw_judged(panel, [row for row in swept[tau] if row.compound == name], f"C{i}", f"tau {tau:g}")
        _complete(panel, name, [row for row in judged if row.compound == name])
    legend_below(figure, panels[0], per_line=4)
    return figure


def sweep_of(row: Row) -> tuple[str, float] | None:
    """Return the swept setting and its value, from a method's name such as `lcoms tau=0.5`; None for other rows."""
    method, _, setting = row.method.partition(" ")
    name, sign, value = setting.partition("=")
    try:
        return (name, float(value)) if method == "lcoms" and sign else None
    except ValueError:
        return None


def _complete(panel: Axes, name: str, rows: Iterable[Row]) -> None:
    """Add the energy of the known crystal, the title and the labels."""
    known = next((row.known.compared for row in rows if row.known is not None), None)
    if known is not None:
        panel.axhline(known, color="black", linewidth=0.8, linestyle=":", label="known")
    panel.set_title(name)
    panel.set_xlabel("step")
    panel.set_ylabel("energy, eV/atom")


def _draw_predicted(panel: Axes, rows: Sequence[Row], colour: str, label: str) -> None:
    """Draw the means over the seeds of the surrogate's energies."""
    paths = [row.descent for row in rows if row.descent]
    if paths and len({len(path) for path in paths}) == 1:
        panel.plot(np.mean(paths, axis=0), color=colour, linestyle="--", label=label)


def _draw_judged(panel: Axes, rows: Sequence[Row], colour: str, label: str) -> None:
    """Draw the means over the seeds of the judge's energies, with their 95 % intervals."""
    at: dict[int, list[float]] = {}
    for point in (point for row in rows for point in row.progress):
        if point.judged is not None and point.judged.compared is not None:
            at.setdefault(point.evaluations, []).append(point.judged.compared)
    steps = sorted(at)
    if steps:
        means = np.array([mean(at[s]) for s in steps])
        panel.plot(steps, means, color=colour, marker="o", ms=3, label=label)
        half = np.array([NORMAL_95 * stdev(at[s]) / len(at[s]) ** 0.5 if len(at[s]) > 1 else 0.0 for s in steps])
        panel.fill_between(steps, means - half, means + half, color=colour, alpha=0.15, linewidth=0)


def improvements(rows: Iterable[Row]) -> dict[str, tuple[float | None, float]]:
    """Return the mean decrease of the judge's energy from start to answer by compound: over |E(start)|, and in eV/atom.

    The first is None if the energy of a start is nearly zero, as for elements.
    """
    decreases: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        before, after = energy_of(row.start), energy_of(row.answer)
        if before is not None and after is not None:
            decreases.setdefault(row.compound, []).append((before, before - after))
    return {name: (_relative(some), mean(f for _, f in some)) for name, some in decreases.items()}


def _relative(decreases: Sequence[tuple[float, float]]) -> float | None:
    """Return the mean decrease relative to the initial energies."""
    return (
        mean(decrease / abs(e) for e, decrease in decreases)
        if all(abs(e) > NEARLY_ZERO for e, _ in decreases)
        else None
    )


def improvement_figure(rows: Sequence[Row]) -> Figure | None:
    """Return Figure 3: decrease of the judge's energy from the start, with and without conservatism, by compound."""
    groups = sorted({row.group for row in rows}, key=lambda name: (name != PAPER_GROUP, name))
    found = []
    for group in groups:
        mine = [row for row in rows if (row.group, row.track) == (group, "paper")]
        decreases = {method: improvements(row for row in mine if row.method == method) for method in COLOURS}
        if decreases["lcoms"]:
            found.append((group, {method: some for method, some in decreases.items() if some}))
    if not found:
        return None
    figure, panels = panels_of(2 * len(found), per_line=2, width=2 * WIDTH)
    for i, (group, decreases) in enumerate(found):
        for panel, place, unit in ((panels[2 * i], 0, " over |E(start)|"), (panels[2 * i + 1], 1, ", eV/atom")):
            values = {
                method: {name: decrease for name, both in some.items() if (decrease := both[place]) is not None}
                for method, some in decreases.items()
            }
            _draw_bars(panel, values)
            panel.set_ylabel(f"decrease{unit}")
            counts = (f"{method} {sum(v > 0 for v in some.values())} of {len(some)}" for method, some in values.items())
            panel.set_title(f"{group}, lower than the start: {', '.join(counts)}", fontsize="small")
    panels[0].legend(fontsize="x-small")
    return figure


def _draw_bars(panel: Axes, values: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a bar for each method beside one another, compounds in the order of the first."""
    first = next(iter(values.values()))
    names = sorted(first, key=lambda name: -first[name])
    width = 0.8 / len(values)
    for i, (method, some) in enumerate(values.items()):
        places = [at + (i - (len(values) - 1) / 2) * width for at, name in enumerate(names) if name in some]
        panel.bar(places, [some[name] for name in names if name in some], width, color=COLOURS[method], label=method)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_yscale("symlog", linthresh=LINEAR_TO)
    if len(names) <= FEW_NAMES:
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize="x-small")


def energy_of(judged: Judged | None) -> float | None:
    """Return the energy by which an answer is compared, eV/atom; None without one."""
    return None if judged is None else judged.compared


def panels_of(n: int, *, per_line: int, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels of a width in inches."""
    from matplotlib.figure import Figure

    lines = -(-n // per_line)
    figure = Figure(figsize=(width * min(n, per_line), 2.6 * lines), layout="constrained")
    panels = [figure.add_subplot(lines, min(n, per_line), i + 1) for i in range(n)]
    return figure, panels


def legend_below(figure: Figure, panel: Axes, *, per_line: int) -> None:
    """Place the legend of a panel below all panels, where it covers nothing."""
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=per_line, fontsize="x-small")
