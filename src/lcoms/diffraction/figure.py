"""Figure of a fit: pattern, fitted profile, difference, and tick marks at the line positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lcoms.diffraction.fit import PatternFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (9.0, 5.0)  # inches
FAINTEST_TICK = 0.1  # of 100


def fit_figure(fit: PatternFit, name: str = "") -> Figure:
    """Return `pattern_figure` with formula, name and Rwp in the title."""
    formula = fit.crystal.composition.reduced_formula
    return pattern_figure(fit, f"{', '.join(filter(None, (formula, name)))}: Rwp {fit.rwp:.3f}")


def pattern_figure(fit: PatternFit, title: str) -> Figure:
    """Return a figure of pattern and fit, with tick marks and difference below; strong unexplained lines are marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    x, top = fit.two_theta, float(fit.observed.max())
    axes.plot(x, fit.observed, ".", ms=2, color="0.45", label="measured", rasterized=True)
    axes.plot(x, fit.profile, lw=1, color="#c1272d", label="fitted")
    axes.plot(x, fit.background, lw=0.8, color="#0071bc", label="background")
    ticks = [tick.two_theta for tick in fit.ticks if tick.intensity >= FAINTEST_TICK]
    axes.vlines(ticks, -0.06 * top, -0.02 * top, lw=0.8, color="#006837", label="lines of the crystal")
    difference = fit.observed - fit.profile
    axes.plot(x, difference - 0.1 * top - max(float(difference.max()), 0.0), lw=0.7, color="0.2", label="difference")
    for number, peak in enumerate(fit.unexplained):
        height = float(np.interp(peak.two_theta, x, fit.observed)) + 0.03 * top
        label = "unexplained" if number == 0 else None
        axes.plot([peak.two_theta], [height], "v", ms=6, color="#f7931e", label=label)
    axes.set(xlabel="2θ (degrees)", ylabel="counts", title=title, xlim=(x[0], x[-1]))
    axes.legend(frameon=False, fontsize=8)
    return figure


def figure_svg(figure: Figure) -> str:
    """Return the figure as SVG; the same figure always gives the same text."""
    from io import StringIO

    from matplotlib import rc_context

    buffer = StringIO()
    with rc_context({"svg.hashsalt": "lcoms"}):
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return buffer.getvalue()
