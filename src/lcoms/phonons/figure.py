"""Figure of the phonon density of states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lcoms.phonons.harmonic import Phonons

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (6.0, 4.0)  # inches


def density_figure(phonons: Phonons, title: str) -> Figure:
    """Return a figure of the states per THz and primitive cell; imaginary frequencies are shown left of zero."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    x, y = phonons.frequencies, phonons.density
    axes.fill_between(x, y, where=(x >= 0).tolist(), color="#0071bc", alpha=0.3, lw=0)
    axes.fill_between(x, y, where=(x <= 0).tolist(), color="#c1272d", alpha=0.5, lw=0)
    axes.plot(x, y, lw=1, color="0.2")
    axes.axvline(0, lw=0.6, color="0.5")
    axes.set(xlabel="frequency (THz; imaginary below 0)", ylabel="states per THz and cell", title=title, ylim=(0, None))
    return figure
